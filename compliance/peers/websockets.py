"""websockets."""

import websockets
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from compliance.peers import websockets_api

websockets_api.main(websockets, websockets_api.offers(ClientPerMessageDeflateFactory))

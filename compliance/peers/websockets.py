"""websockets."""

import websockets

from compliance.peers import websockets_api

websockets_api.main(websockets)

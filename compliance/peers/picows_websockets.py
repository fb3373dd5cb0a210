"""picows behind its API compatible with websockets."""

import picows.websockets

from compliance.peers import websockets_api

websockets_api.main(picows.websockets)

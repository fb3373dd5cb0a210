"""trunkline. The environment says which engine carries the connections, and which build this has to be."""

import os
import sys

import trunkline
from compliance.peers import websockets_api
from trunkline.extensions.permessage_deflate import ClientPerMessageDeflateFactory

build = "compiled" if all(trunkline.engine_info()["compiled"].values()) else "interpreted"
if build != os.environ["COMPLIANCE_BUILD"]:
    sys.exit(f"{trunkline.__file__} is the {build} build, and the {os.environ['COMPLIANCE_BUILD']} one is to be tested")

offers = websockets_api.offers(ClientPerMessageDeflateFactory)
websockets_api.main(trunkline, offers, engine=os.environ["COMPLIANCE_ENGINE"])

from trunkline.asyncio.link import receive as receive

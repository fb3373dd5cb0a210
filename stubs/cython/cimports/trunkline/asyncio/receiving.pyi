from trunkline.asyncio.receiving import receive as receive

// Usage: node main.mjs CLIENT FORMAT URL TRUNKLINE_JS. Prints how each scenario went, as JSON.

import { Centrifuge } from "centrifuge";
import { Centrifuge as CentrifugeProtobuf } from "centrifuge/build/protobuf";
import { WebSocket } from "ws";

import { official, ours } from "./clients.mjs";
import { runAll } from "./scenarios.mjs";

const [client, format, url, trunklineJs] = process.argv.slice(2);
const endpoint = `${url.replace("http", "ws")}/connection/websocket`;
const open =
  client === "trunkline.js"
    ? ours((await import(trunklineJs)).Client, endpoint, WebSocket)
    : official(format === "json" ? Centrifuge : CentrifugeProtobuf, format, endpoint, WebSocket);
console.log(JSON.stringify(await runAll(open, { url })));

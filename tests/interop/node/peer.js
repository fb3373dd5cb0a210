// The ws package for Node. ../peers/dialogue.py tells the behaviour of a peer.
"use strict";

const readline = require("node:readline");
const { WebSocket, WebSocketServer } = require("ws");

const SUBPROTOCOL = "chat";
const OPTIONS = { maxPayload: 1 << 22, perMessageDeflate: false };

const commands = {
  close: (ws, code, reason) => ws.close(Number(code), reason),
  ping: (ws) => ws.ping("ping"),
  fragments: (ws) => {
    ws.send("frag", { fin: false });
    ws.send("ment", { fin: false });
    ws.send("ed", { fin: true });
  },
  subprotocol: (ws) => ws.send(ws.protocol),
  abort: (ws) => ws.terminate(),
};

function talk(ws) {
  ws.on("message", (data, isBinary) => {
    const text = isBinary ? "" : data.toString();
    if (!text.startsWith("!")) {
      ws.send(data, { binary: isBinary });
      return;
    }
    const [, name, code, reason] = text.match(/^!(\w+) ?(\d*) ?(.*)$/);
    commands[name](ws, code, reason);
  });
  ws.on("pong", () => ws.send("!pong"));
  ws.on("error", () => {});
}

if (process.argv[2] === "listen") {
  const handleProtocols = (offered) => (offered.has(SUBPROTOCOL) ? SUBPROTOCOL : false);
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0, handleProtocols, ...OPTIONS });
  server.on("connection", talk);
  server.on("listening", () => console.log(server.address().port));
  process.stdin.resume().on("end", () => process.exit());
} else {
  const input = readline.createInterface({ input: process.stdin });
  input.on("line", (uri) => talk(new WebSocket(uri, [SUBPROTOCOL], OPTIONS)));
  input.on("close", () => process.exit());
}

// The chat page: joins the room to what people see and type.

import { Client } from "/trunkline.js";
import * as messages from "./messages.js";
import * as outbox from "./outbox.js";
import * as people from "./people.js";
import * as stored from "./stored.js";

const HISTORY = 100; // messages to show on joining
const TYPING_EVERY = 3_000; // milliseconds between two signs that this member is typing
const QUIET_FROM = 50; // members of a room that is too large to show who is typing
const NAME = "trunkline.name";

const $ = (id) => document.getElementById(id);
const roomName = location.pathname.startsWith("/rooms/") ? decodeURIComponent(location.pathname.slice(7)) : "";
const channel = roomName ? `room:${encodeURIComponent(roomName)}` : "lobby";

$("name").value = stored.read(localStorage, NAME, "");
const data = { name: $("name").value };
const client = new Client("/connection/websocket", { data, timeout: 10_000, minDelay: 1_000 });
const room = client.subscribe(channel, { joinLeave: true });
const typing = client.subscribe(`typing:${channel}`);

// This member: one that takes another name connects anew, and recovers

let maxSize = Infinity; // bytes in a message

client.addEventListener("connected", ({ data }) => {
  $("name").placeholder = data.name;
  maxSize = data.max_size;
});

$("name").addEventListener("change", () => {
  data.name = $("name").value;
  stored.write(localStorage, NAME, data.name);
  reconnect();
});
$("name").addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault(); // Enter keeps the name; it does not send the message
  $("text").focus();
});

function reconnect() {
  client.disconnect();
  client.connect();
}

// Messages

const seen = new Set(); // ids of messages
let shown = { offset: 0, epoch: "" }; // position of the message shown last
let waiting = null; // publications that came while the history is under way

room.addEventListener("subscribed", async ({ recovered }) => {
  showState();
  if (recovered && shown.epoch)
    await null; // the missed publications follow this event at once
  else await catchUp();
  if (room.state === "subscribed") outbox.dispatchAll(); // what has arrived after all is confirmed by now
  messages.showWhetherEmpty();
});

room.addEventListener("publication", (publication) => (waiting ? waiting.push(publication) : show(publication)));

async function catchUp() {
  waiting = [];
  try {
    const { publications, offset, epoch } = await room.history({ limit: HISTORY, reverse: true });
    const oldest = publications.at(-1)?.offset ?? offset + 1;
    if (shown.epoch === epoch && oldest > shown.offset + 1)
      messages.note("More was said meanwhile than this page could get back.");
    if (shown.epoch && shown.epoch !== epoch)
      messages.note("The room has started anew. What was said just before may be missing.");
    shown = { offset, epoch };
    messages.silently(() => publications.reverse().forEach(show));
  } catch {
    shown = { offset: 0, epoch: "" }; // the connection is lost again; the next one asks again
  }
  const late = waiting;
  waiting = null;
  late.forEach(show);
}

function show({ data: { id, text = "", binary }, info, time, offset }) {
  if (offset > shown.offset) shown.offset = offset;
  if (seen.has(id)) return;
  seen.add(id);
  if (seen.size > 1000) seen.delete(seen.values().next().value);
  outbox.confirm(id);
  people.stopTyping(info.client);
  messages.show({ name: nameOf(info), text, size: binary && atob(binary).length, time, own: outbox.isOwn(id) });
}

const nameOf = (info) => info.connInfo?.name ?? "";

// What I say

const inFlight = new Set();

async function send(message) {
  const frame = { id: client.id, publish: { channel, data: message } }; // a little longer than the real one
  const size = new TextEncoder().encode(JSON.stringify(frame)).length;
  if (size > maxSize) return outbox.refuse(message.id, `too long: ${size} bytes, and ${maxSize} are allowed`);
  if (inFlight.has(message.id)) return;
  inFlight.add(message.id);
  try {
    await room.publish(message);
  } catch (error) {
    // Where no answer came, the message stays in the outbox. Whether it has arrived the next connection tells.
    if (error.code >= 100) outbox.refuse(message.id, error.message);
    else if (client.state === "connected") reconnect();
  } finally {
    inFlight.delete(message.id);
  }
}

let lastSign = 0;

function showThatITypeNow() {
  if (room.state !== "subscribed" || people.count() > QUIET_FROM || Date.now() - lastSign < TYPING_EVERY) return;
  lastSign = Date.now();
  typing.publish({}).catch(() => {}); // not worth a word
}

function fitText() {
  $("text").style.height = "auto";
  $("text").style.height = `${$("text").scrollHeight}px`;
}

$("text").addEventListener("input", () => {
  fitText();
  if ($("text").value.trim()) showThatITypeNow();
});
$("text").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("composer").requestSubmit();
});
$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("text").value;
  if (text.trim()) {
    outbox.add(text);
    messages.showWhetherEmpty();
    messages.scrollToEnd();
    lastSign = 0;
  }
  $("text").value = "";
  fitText();
  $("text").focus();
});

// Members

let changes = null; // who came and went while the list is under way

room.addEventListener("subscribed", async () => {
  const current = (changes = []);
  try {
    const here = Object.values(await room.presence()).map((info) => [info.client, nameOf(info)]);
    if (current !== changes) return;
    people.showAll(here, client.id);
    changes.forEach((change) => change());
  } catch {
    // the connection is lost again; the next one asks again
  }
});
room.addEventListener("join", ({ info }) => changed(() => people.join(info.client, nameOf(info))));
room.addEventListener("leave", ({ info }) => changed(() => people.leave(info.client)));
typing.addEventListener("publication", ({ info }) => people.type(info.client));
typing.addEventListener("subscribing", people.stopAllTyping);

function changed(change) {
  change();
  changes?.push(change);
}

// The connection

const STATES = {
  connecting: "Connecting",
  reconnecting: "Reconnecting",
  waiting: "Reconnecting",
  offline: "Offline",
  connected: "Connected",
  closed: "Disconnected",
};
let wasConnected = false;
let retryAt = 0;
let ticking = 0;

function stateNow(delay) {
  if (client.state === "disconnected" || room.state === "unsubscribed") return "closed";
  if (delay) return navigator.onLine ? "waiting" : "offline";
  if (room.state === "subscribed") return "connected";
  return wasConnected ? "reconnecting" : "connecting";
}

function showState({ delay = 0, reason = "" } = {}) {
  const state = stateNow(delay);
  wasConnected ||= state === "connected";
  $("state").dataset.state = state;
  $("state-text").textContent = state === "closed" && reason ? `${STATES.closed}: ${reason}` : STATES[state];
  retryAt = Date.now() + delay;
  clearInterval(ticking);
  ticking = delay ? setInterval(showCountdown, 250) : 0;
  showCountdown();
  if (!delay && document.activeElement === $("retry")) $("text").focus();
  $("retry").hidden = !delay && client.state !== "disconnected";
  outbox.showOutbox();
}

function showCountdown() {
  $("countdown").textContent = ticking ? `in ${Math.max(1, Math.ceil((retryAt - Date.now()) / 1000))} s` : "";
}

for (const type of ["connecting", "connected", "disconnected"]) client.addEventListener(type, showState);
room.addEventListener("unsubscribed", showState);
$("retry").addEventListener("click", () => client.connect());
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && client.state === "connecting") client.connect(); // the reader is waiting
});

$("elsewhere").addEventListener("submit", (event) => {
  event.preventDefault();
  location.assign(`/rooms/${encodeURIComponent($("other-room").value)}`);
});

messages.entitle(roomName || "Lobby");
$("room").textContent = roomName || "Lobby";
$("address").textContent =
  `trunkline connect ${location.protocol.replace("http", "ws")}//${location.host}${location.pathname}`;
outbox.open(send, () => room.state === "subscribed");
client.connect();
if (matchMedia("(pointer: fine)").matches) $("text").focus(); // on a phone this would open the keyboard

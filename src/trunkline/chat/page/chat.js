// The chat page: what people see and type. What others send is only ever shown as text.

import { Line } from "./line.js";

const PATIENCE = 10_000; // milliseconds that a message may stay unconfirmed before the connection counts as dead
const MESSAGES_SHOWN = 500;
const GROUPED_WITHIN = 180; // seconds between two messages that still share one name
const NEAR_THE_END = 80; // pixels
const HUES = [15, 50, 90, 135, 170, 210, 245, 280, 310, 345];

const $ = (id) => document.getElementById(id);
const room = location.pathname.startsWith("/rooms/") ? decodeURIComponent(location.pathname.slice(7)) : "Lobby";
const address = `${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}${location.pathname}`;
const line = new Line(address, "trunkline.chat");

// What survives a reload: the name everywhere, what this tab sent and what it has yet to send in this room.

const stored = {
  read(storage, key, fallback) {
    try {
      return JSON.parse(storage.getItem(key)) ?? fallback;
    } catch {
      return fallback; // storage is forbidden, or somebody else wrote there
    }
  },
  write(storage, key, value) {
    try {
      storage.setItem(key, JSON.stringify(value));
    } catch {
      // forbidden or full: the page works without
    }
  },
};
const SENT = `trunkline.sent:${location.pathname}`;
const OUTBOX = `trunkline.outbox:${location.pathname}`;
const sent = new Set(stored.read(sessionStorage, SENT, [])); // ids of our own messages
const outbox = new Map(stored.read(sessionStorage, OUTBOX, [])); // id -> { text, refused }: not yet confirmed

function saveOutbox() {
  stored.write(sessionStorage, OUTBOX, [...outbox]);
}

// Messages that arrive

const seen = new Set();
let last = null; // the message shown last
let unread = 0;

function show(message) {
  if (seen.has(message.id)) return;
  seen.add(message.id);
  const follow = isAtEnd();
  confirm(message.id);
  showDay(message);
  $("messages").append(messageElement(message));
  last = message;
  $("empty").hidden = true;
  forgetTheOldest();
  if (follow || sent.has(message.id)) scrollToEnd();
  if ((!follow || document.hidden) && !sent.has(message.id)) countUnread(unread + 1);
}

function messageElement({ id, name, text, size, time }) {
  const element = $("message-template").content.cloneNode(true).firstElementChild;
  const date = new Date(time * 1000);
  element.classList.toggle("own", sent.has(id));
  element.classList.toggle("continued", last?.name === name && time - last.time < GROUPED_WITHIN && isSameDay(last, { time }));
  element.style.setProperty("--hue", hue(name));
  element.querySelector(".name").textContent = name;
  element.querySelector(".text").textContent = text ?? `sent ${size} bytes that are not text`;
  element.classList.toggle("binary", text === undefined);
  const clock = element.querySelector("time");
  clock.dateTime = date.toISOString();
  clock.title = date.toLocaleString();
  clock.textContent = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return element;
}

function isSameDay(one, other) {
  return new Date(one.time * 1000).toDateString() === new Date(other.time * 1000).toDateString();
}

function showDay(message) {
  if (last && isSameDay(last, message)) return;
  const day = document.createElement("p");
  day.className = "day";
  day.textContent = new Date(message.time * 1000).toLocaleDateString([], { weekday: "long", day: "numeric", month: "long" });
  $("messages").append(day);
}

function forgetTheOldest() {
  while ($("messages").childElementCount > MESSAGES_SHOWN) $("messages").firstElementChild.remove();
  if (seen.size > 2 * MESSAGES_SHOWN) seen.delete(seen.values().next().value);
}

function hue(name) {
  let hash = 0;
  for (const char of name) hash = (hash * 31 + char.codePointAt(0)) >>> 0;
  return HUES[hash % HUES.length];
}

// Where the reader is

function isAtEnd() {
  const log = $("log");
  return log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_THE_END;
}

function scrollToEnd() {
  $("log").scrollTop = $("log").scrollHeight;
}

function countUnread(count) {
  unread = count;
  document.title = `${count ? `(${count}) ` : ""}${room} · trunkline`;
  $("unread").hidden = count === 0;
  $("unread").textContent = count === 1 ? "1 new message" : `${count} new messages`;
}

function readTheEnd() {
  if (!document.hidden && isAtEnd()) countUnread(0);
}

$("log").addEventListener("scroll", readTheEnd, { passive: true });
document.addEventListener("visibilitychange", readTheEnd);
$("unread").addEventListener("click", () => {
  scrollToEnd();
  countUnread(0);
  $("text").focus();
});
new ResizeObserver(() => unread === 0 && scrollToEnd()).observe($("log")); // the keyboard of a phone takes its half

// Messages that leave: each stays in the outbox until it comes back from the room

let patience = 0;

function say(text) {
  // Not crypto.randomUUID: that is missing on plain http:// anywhere but on localhost.
  const id = Array.from(crypto.getRandomValues(new Uint32Array(4)), (word) => word.toString(36)).join("");
  outbox.set(id, { text, refused: "" });
  sent.add(id);
  stored.write(sessionStorage, SENT, [...sent].slice(-MESSAGES_SHOWN));
  dispatch(id);
  scrollToEnd();
}

function dispatch(id) {
  const entry = outbox.get(id);
  entry.refused = tooLong(id, entry.text);
  if (line.connected && !entry.refused) {
    line.send({ type: "message", id, text: entry.text });
    clearTimeout(patience);
    patience = setTimeout(giveUpOnSilence, PATIENCE);
  }
  saveOutbox();
  showOutbox();
}

function giveUpOnSilence() {
  if ([...outbox.values()].some(({ refused }) => !refused)) line.reconnect();
}

function confirm(id) {
  if (!outbox.delete(id)) return;
  saveOutbox();
  showOutbox();
}

function refuse(id, reason) {
  const entry = outbox.get(id);
  if (!entry) return tell(reason);
  entry.refused = reason;
  saveOutbox();
  showOutbox();
}

let maxSize = Infinity; // bytes in an envelope, as the room told us

function tooLong(id, text) {
  const size = new TextEncoder().encode(JSON.stringify({ type: "message", id, text })).length;
  return size > maxSize ? `too long: ${size} bytes, and ${maxSize} are allowed` : "";
}

function showOutbox() {
  $("outbox").replaceChildren(...[...outbox].map(([id, entry]) => outgoingElement(id, entry)));
  if (outbox.size) $("empty").hidden = true;
}

function outgoingElement(id, { text, refused }) {
  const element = $("outgoing-template").content.cloneNode(true).firstElementChild;
  const again = element.querySelector(".again");
  const discard = element.querySelector(".discard");
  element.classList.toggle("refused", Boolean(refused));
  if (refused) element.querySelector(".fate").setAttribute("role", "alert");
  element.querySelector(".text").textContent = text;
  element.querySelector(".why").textContent = refused || (line.connected ? "Sending" : "Will be sent when connected");
  again.hidden = discard.hidden = !refused;
  again.addEventListener("click", () => act(() => dispatch(id)));
  discard.addEventListener("click", () => act(() => confirm(id)));
  return element;
}

// Do what a button asks for that is about to disappear: leave the focus where people go on.
function act(action) {
  action();
  $("text").focus();
}

// Who is here

let me = 0;

function showPeople({ people, count }) {
  const names = [...people].sort((one, other) => one.name.localeCompare(other.name));
  $("people").replaceChildren(...names.map(personElement));
  for (const shown of document.querySelectorAll(".people-count")) shown.textContent = count;
  $("people-more").hidden = count === people.length;
  $("people-more").textContent = `and ${count - people.length} more`;
}

function personElement({ id, name }) {
  const element = document.createElement("li");
  const shown = document.createElement("bdi");
  shown.textContent = name;
  element.append(shown);
  element.style.setProperty("--hue", hue(name));
  if (id === me) {
    const you = document.createElement("span");
    you.className = "you";
    you.textContent = "you";
    element.className = "me";
    element.append(" ", you);
  }
  return element;
}

function openPeople(open) {
  document.body.classList.toggle("people-open", open);
  $("people-toggle").setAttribute("aria-expanded", String(open));
}

$("people-toggle").addEventListener("click", () => openPeople(!document.body.classList.contains("people-open")));
addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !document.body.classList.contains("people-open")) return;
  openPeople(false);
  $("people-toggle").focus();
});

// My name

$("name").value = stored.read(localStorage, "trunkline.name", "");

function introduce() {
  if (line.connected) line.send({ type: "hello", name: $("name").value });
}

$("name").addEventListener("change", () => {
  stored.write(localStorage, "trunkline.name", $("name").value);
  introduce();
});
$("name").addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault(); // Enter keeps the name; it does not send the message
  $("text").focus();
});

// What I type

function tell(problem) {
  $("problem").textContent = problem;
  $("problem").hidden = !problem;
}

function fitText() {
  $("text").style.height = "auto";
  $("text").style.height = `${$("text").scrollHeight}px`;
}

$("text").addEventListener("input", () => {
  tell("");
  fitText();
});
$("text").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("composer").requestSubmit();
});
$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("text").value;
  if (text.trim()) say(text);
  $("text").value = "";
  fitText();
  $("text").focus();
});

// The connection

const STATES = { connecting: "Connecting", connected: "Connected", waiting: "Reconnecting", offline: "Offline" };
let retryAt = 0;
let ticking = 0;

function showState({ state, delay }) {
  $("state").dataset.state = state;
  $("state-text").textContent = STATES[state];
  $("retry").hidden = delay === 0;
  retryAt = Date.now() + delay;
  clearInterval(ticking);
  $("countdown").textContent = "";
  if (delay) {
    ticking = setInterval(showCountdown, 250);
    showCountdown();
  } else if (document.activeElement === $("retry")) {
    $("text").focus();
  }
  showOutbox();
}

function showCountdown() {
  $("countdown").textContent = `in ${Math.max(1, Math.ceil((retryAt - Date.now()) / 1000))} s`;
}

const RECEIVED = {
  welcome({ you, name, max_size, history }) {
    me = you;
    maxSize = max_size;
    $("name").placeholder = name;
    $("log").setAttribute("aria-live", "off"); // what was said before is there to be read, not to be read out
    history.forEach(show);
    setTimeout(() => $("log").removeAttribute("aria-live"));
    // The history has confirmed what had arrived after all. The rest is sent again, in the order of typing.
    [...outbox].filter(([, { refused }]) => !refused).forEach(([id]) => dispatch(id));
  },
  message: show,
  binary: show,
  presence: showPeople,
  error({ id, reason }) {
    refuse(id, reason);
  },
};

line.addEventListener("open", introduce);
line.addEventListener("state", ({ detail }) => showState(detail));
line.addEventListener("envelope", ({ detail }) => RECEIVED[detail.type]?.(detail));
$("retry").addEventListener("click", () => line.connect());

$("room").textContent = room;
$("address").textContent = `trunkline connect ${address}`;
countUnread(0);
showOutbox();
line.connect();
if (matchMedia("(pointer: fine)").matches) $("text").focus(); // on a phone this would open the keyboard

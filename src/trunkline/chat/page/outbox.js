// Messages that leave: each stays in the outbox until it comes back from the room.

import * as stored from "./stored.js";

const SENT_REMEMBERED = 500;
const SENT = `trunkline.sent:${location.pathname}`;
const OUTBOX = `trunkline.outbox:${location.pathname}`;

const $ = (id) => document.getElementById(id);
const sent = new Set(stored.read(sessionStorage, SENT, [])); // ids of what this tab has sent
const outbox = new Map(stored.read(sessionStorage, OUTBOX, [])); // id -> { text, refused }

let send = () => {};
let isConnected = () => false;

/** Say how to send a message, { id, text }, and whether that works now; show what a reload left here. */
export function open(how, now) {
  send = how;
  isConnected = now;
  showOutbox();
}

/** A new message. */
export function add(text) {
  // Not crypto.randomUUID: that is missing on plain http:// anywhere but on localhost.
  const id = Array.from(crypto.getRandomValues(new Uint32Array(4)), (word) => word.toString(36)).join("");
  outbox.set(id, { text, refused: "" });
  sent.add(id);
  stored.write(sessionStorage, SENT, [...sent].slice(-SENT_REMEMBERED));
  dispatch(id);
}

/** Whether this tab sent the message. */
export function isOwn(id) {
  return sent.has(id);
}

/** The message came back from the room. */
export function confirm(id) {
  if (!outbox.delete(id)) return;
  save();
  showOutbox();
}

/** The room does not want the message: keep it, and say why. */
export function refuse(id, reason) {
  if (!outbox.has(id)) return;
  outbox.get(id).refused = reason;
  save();
  showOutbox();
}

/** Send what has not arrived, in the order of typing. */
export function dispatchAll() {
  [...outbox].filter(([, { refused }]) => !refused).forEach(([id]) => dispatch(id));
}

/** Show again what waits, and for what. */
export function showOutbox() {
  $("outbox").replaceChildren(...[...outbox].map(([id, entry]) => outgoingElement(id, entry)));
}

function dispatch(id) {
  const entry = outbox.get(id);
  entry.refused = "";
  save();
  showOutbox();
  if (isConnected()) send({ id, text: entry.text });
}

function save() {
  stored.write(sessionStorage, OUTBOX, [...outbox]);
}

function outgoingElement(id, { text, refused }) {
  const element = $("outgoing-template").content.cloneNode(true).firstElementChild;
  const again = element.querySelector(".again");
  const discard = element.querySelector(".discard");
  element.classList.toggle("refused", Boolean(refused));
  if (refused) element.querySelector(".fate").setAttribute("role", "alert");
  element.querySelector(".text").textContent = text;
  element.querySelector(".why").textContent = refused || (isConnected() ? "Sending" : "Will be sent when connected");
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

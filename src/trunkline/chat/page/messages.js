// The log of messages, and where in it the reader is. The page only ever shows messages of others as text.

import { hue } from "./hue.js";

const MESSAGES_SHOWN = 500;
const GROUPED_WITHIN = 180_000; // milliseconds between two messages that still share one name
const NEAR_THE_END = 80; // pixels

const $ = (id) => document.getElementById(id);
const clock = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat([], { weekday: "long", day: "numeric", month: "long" });

let last = null; // the message shown last
let unread = 0;
let title = "";

/** Append a message: { name, text, size, time, own }. One that is no text has a size, in bytes. */
export function show(message) {
  const follow = message.own || isAtEnd();
  if (!isSameDay(last, message)) $("messages").append(dayElement(message));
  $("messages").append(messageElement(message));
  last = message;
  showWhetherEmpty();
  while ($("messages").childElementCount > MESSAGES_SHOWN) $("messages").firstElementChild.remove();
  if (follow) scrollToEnd();
  if ((!follow || document.hidden) && !message.own) countUnread(unread + 1);
}

/** Say so if nothing has been said, nor is about to be. */
export function showWhetherEmpty() {
  $("empty").hidden = $("messages").hasChildNodes() || $("outbox").hasChildNodes();
}

/** Append a line of the page itself. */
export function note(text) {
  const element = document.createElement("p");
  element.className = "note";
  element.textContent = text;
  const follow = isAtEnd();
  $("messages").append(element);
  last = null;
  if (follow) scrollToEnd();
}

/** Do what adds many messages at once: what was said before is there to be read, not to be read out. */
export function silently(action) {
  $("log").setAttribute("aria-live", "off");
  action();
  setTimeout(() => $("log").removeAttribute("aria-live"));
}

/** Name the page after its room. */
export function entitle(room) {
  title = `${room} · trunkline`;
  countUnread(unread);
}

function messageElement({ name, text, size, time, own }) {
  const element = $("message-template").content.cloneNode(true).firstElementChild;
  const date = new Date(time);
  const continued = last?.name === name && time - last.time < GROUPED_WITHIN && isSameDay(last, { time });
  element.classList.toggle("own", own);
  element.classList.toggle("continued", continued);
  element.classList.toggle("binary", size !== undefined);
  element.style.setProperty("--hue", hue(name));
  element.querySelector(".name").textContent = name;
  element.querySelector(".text").textContent = size === undefined ? text : `sent ${size} bytes that are not text`;
  const shown = element.querySelector("time");
  shown.dateTime = date.toISOString();
  shown.title = date.toLocaleString();
  shown.textContent = clock.format(date);
  return element;
}

function dayElement({ time }) {
  const element = document.createElement("p");
  element.className = "day";
  element.textContent = day.format(time);
  return element;
}

function isSameDay(one, other) {
  return one !== null && new Date(one.time).toDateString() === new Date(other.time).toDateString();
}

function isAtEnd() {
  const log = $("log");
  return log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_THE_END;
}

export function scrollToEnd() {
  $("log").scrollTop = $("log").scrollHeight;
}

function countUnread(count) {
  unread = count;
  document.title = `${count ? `(${count}) ` : ""}${title}`;
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

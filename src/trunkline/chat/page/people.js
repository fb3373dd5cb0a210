// The members who are here, and those who are typing.

import { hue } from "./hue.js";

const NAMES_SHOWN = 200;
const TYPING_LASTS = 5_000; // milliseconds after the last sign of it

const $ = (id) => document.getElementById(id);
const people = new Map(); // client id -> name
const typing = new Map(); // client id -> timer
let me = "";
let due = 0;

/** All members, as [client id, name], and which of them is this page. */
export function showAll(entries, myself) {
  people.clear();
  for (const [id, name] of entries) people.set(id, name);
  me = myself;
  draw();
}

export function join(id, name) {
  people.set(id, name);
  drawSoon();
}

export function leave(id) {
  people.delete(id);
  stopTyping(id);
  drawSoon();
}

/** How many are here. */
export const count = () => people.size;

/** A member is writing a message. */
export function type(id) {
  if (id === me) return;
  clearTimeout(typing.get(id));
  typing.set(
    id,
    setTimeout(() => stopTyping(id), TYPING_LASTS),
  );
  drawTyping();
}

/** The member has sent it, or thought better of it. */
export function stopTyping(id) {
  if (!typing.has(id)) return;
  clearTimeout(typing.get(id));
  typing.delete(id);
  drawTyping();
}

/** No member is known to be typing any more. */
export function stopAllTyping() {
  [...typing.keys()].forEach(stopTyping);
}

// In a large room many come and go at the same time.
function drawSoon() {
  due ||= setTimeout(draw, people.size);
}

function draw() {
  clearTimeout(due);
  due = 0;
  const named = [...people].sort(([, one], [, other]) => one.localeCompare(other));
  $("people").replaceChildren(...named.slice(0, NAMES_SHOWN).map(personElement));
  for (const shown of document.querySelectorAll(".people-count")) shown.textContent = people.size;
  $("people-more").hidden = people.size <= NAMES_SHOWN;
  $("people-more").textContent = `and ${people.size - NAMES_SHOWN} more`;
  drawTyping();
}

function personElement([id, name]) {
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

function drawTyping() {
  const names = [...typing.keys()].map((id) => people.get(id)).filter(Boolean);
  const shown =
    names.length > 2 ? `${names.length} people are typing` : `${names.join(" and ")} ${names[1] ? "are" : "is"} typing`;
  $("typing").textContent = names.length ? `${shown}…` : "";
}

function openPanel(open) {
  document.body.classList.toggle("people-open", open);
  $("people-toggle").setAttribute("aria-expanded", String(open));
}

$("people-toggle").addEventListener("click", () => openPanel(!document.body.classList.contains("people-open")));
addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !document.body.classList.contains("people-open")) return;
  openPanel(false);
  $("people-toggle").focus();
});

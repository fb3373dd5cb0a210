// A WebSocket that comes back. It knows nothing of chat and nothing of the page.

const FIRST_DELAY = 1_000; // milliseconds
const LONGEST_DELAY = 30_000;

// Exponential backoff with full jitter: after a restart of the server its clients must not all return at once.
export function backoff(attempt, random = Math.random) {
  return random() * Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** attempt);
}

// Events: "open"; "envelope", whose detail is what arrived; "state", whose detail is { state, delay }. States are
// "connecting", "connected", "waiting" (for the next attempt, in `delay` milliseconds) and "offline" (waiting, and the
// browser says that there is no network).
export class Line extends EventTarget {
  #url;
  #protocol;
  #socket = null;
  #attempt = 0;
  #timer = 0;

  constructor(url, protocol) {
    super();
    this.#url = url;
    this.#protocol = protocol;
    addEventListener("online", () => this.connect());
  }

  get connected() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  // Connect now, unless connected or about to be.
  connect() {
    if (this.#socket) return;
    clearTimeout(this.#timer);
    this.#announce("connecting");
    const socket = (this.#socket = new WebSocket(this.#url, this.#protocol));
    socket.addEventListener("open", () => {
      this.#announce("connected");
      this.dispatchEvent(new Event("open"));
    });
    socket.addEventListener("message", ({ data }) => {
      this.#attempt = 0; // only now: a server that accepts and hangs up is no server yet
      this.dispatchEvent(new CustomEvent("envelope", { detail: JSON.parse(data) }));
    });
    socket.addEventListener("close", () => this.#lost(socket));
  }

  send(envelope) {
    this.#socket.send(JSON.stringify(envelope));
  }

  // Give up on a connection that seems dead. Its closing handshake would wait for the dead, so do not wait for that.
  reconnect() {
    const socket = this.#socket;
    socket?.close();
    this.#lost(socket);
  }

  #lost(socket) {
    if (this.#socket !== socket) return;
    this.#socket = null;
    const delay = backoff(this.#attempt++);
    this.#timer = setTimeout(() => this.connect(), delay);
    this.#announce(navigator.onLine ? "waiting" : "offline", delay);
  }

  #announce(state, delay = 0) {
    this.dispatchEvent(new CustomEvent("state", { detail: { state, delay } }));
  }
}

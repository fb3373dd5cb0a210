// Rooms that resume: a client of trunkline.realtime, and of any server that speaks the Centrifuge client protocol v2
// as JSON. No dependencies and no build step:
//
//     import { Client } from "/trunkline.js";
//
//     const client = new Client("/connection/websocket");
//     const room = client.subscribe("chat:lobby");
//     room.addEventListener("publication", ({ data }) => console.log(data));
//     client.connect();
//     await room.publish({ text: "hello" });
//
// The client mends a broken connection: it reconnects, subscribes again, and fetches what was published meanwhile.

/**
 * @typedef {object} ClientOptions
 * @property {string} [token] JWT of the connection.
 * @property {() => string | null | Promise<string | null>} [getToken] Fetches a token: before the first connection
 *   if there is no `token`, and whenever one expires. `null` or "" means: this user may not connect. If it throws, the
 *   client tries again later.
 * @property {unknown} [data] Data for the connect hook of the server.
 * @property {number} [timeout] Milliseconds that the server may take to answer. Default 5,000.
 * @property {number} [minDelay] Milliseconds, the longest pause before the first attempt to reconnect. Default 500.
 * @property {number} [maxDelay] Milliseconds, the longest pause before any attempt. Default 20,000.
 * @property {number} [pingDelay] Milliseconds that a ping of the server may be late. Default 10,000.
 * @property {typeof WebSocket} [WebSocket] Default: that of the browser. Node.js before 22 has none; pass that of `ws`.
 * @property {() => number} [random] Number from 0 to 1, for the jitter. Default Math.random.
 * @property {{ setTimeout: Function, clearTimeout: Function }} [clock] Default: that of the browser.
 *
 * @typedef {object} SubscriptionOptions
 * @property {string} [token] JWT of the subscription.
 * @property {(channel: string) => string | null | Promise<string | null>} [getToken] As in ClientOptions.
 * @property {unknown} [data] Data for the subscribe hook of the server.
 * @property {StreamPosition} [since] Begin with what was published after this position.
 * @property {boolean} [recoverable] Ask for recovery, where the channel does not offer it anyway.
 * @property {boolean} [positioned] Ask the server to watch that nothing gets lost on the way.
 * @property {boolean} [joinLeave] Ask for the events "join" and "leave".
 *
 * @typedef {{ offset: number, epoch: string }} StreamPosition Where in the history of a channel.
 * @typedef {{ user: string, client: string, connInfo?: unknown, chanInfo?: unknown }} ClientInfo
 * @typedef {{ data: unknown, offset?: number, info?: ClientInfo, tags?: Record<string, string>, time?: number }}
 *   Publication
 */

const LONGEST_TIMER = 2 ** 31 - 1; // milliseconds; setTimeout takes what is longer for 0

// Errors of the client itself, beside those that the server answers with (100 and above).
const [TIMEOUT, CONNECTION_LOST, DISCONNECTED, UNSUBSCRIBED] = [1, 2, 3, 7];

const TOKEN_EXPIRED = 109; // answer of the server to a token that was good once
const RESUBSCRIBE_FROM = 2500; // an unsubscribe push with such a code asks to subscribe again

/** Whether a connection that was closed with this code must stay closed: 3500-3999, and 4500-4999 of applications. */
const isTerminal = (code) => (code >= 3500 && code < 4000) || (code >= 4500 && code < 5000);

/** Why a call failed, or why something did not work for now. */
export class RealtimeError extends Error {
  /**
   * @param {number} code 100 and above: the server's. 1: timeout. 2: connection lost. 3: disconnected.
   *   7: unsubscribed.
   * @param {string} message
   * @param {boolean} [temporary] Whether it may work later.
   */
  constructor(code, message, temporary = code < 100) {
    super(message);
    this.name = "RealtimeError";
    this.code = code;
    this.temporary = temporary;
  }
}

/** The common part of a client and a subscription: a state that they try to reach, and a token that may expire. */
class Stateful extends EventTarget {
  #goal; // "connected" or "subscribed"
  #rest; // "disconnected" or "unsubscribed"
  #waiting = new Set();
  #timers = new Map();
  #attempt = 0;
  #turn = 0;

  constructor(rest, goal, settings, { token, getToken }) {
    super();
    /** @type {string} */
    this.state = rest;
    this.#rest = rest;
    this.#goal = goal;
    this._settings = settings;
    this._token = token;
    this._getToken = getToken;
  }

  /**
   * Wait until this is connected, or subscribed.
   * @param {number} [timeout] Milliseconds.
   * @returns {Promise<void>} Rejected with a RealtimeError after the timeout, or when there will be no further attempt.
   */
  async ready(timeout = this._settings.timeout) {
    if (this.state === this.#goal) return;
    if (this.state === this.#rest) throw this._restError();
    await new Promise((resolve, reject) => {
      const giveUp = () => {
        this.#waiting.delete(waiter);
        reject(new RealtimeError(TIMEOUT, `not ${this.#goal} within ${timeout} ms`));
      };
      const timer = this._settings.clock.setTimeout(giveUp, timeout);
      const waiter = (error) => {
        this._settings.clock.clearTimeout(timer);
        error ? reject(error) : resolve();
      };
      this.#waiting.add(waiter);
    });
  }

  _emit(type, fields) {
    this.dispatchEvent(Object.assign(new Event(type), fields));
  }

  // Enter a state: tell those who wait for it, and those who listen.
  _move(state, fields) {
    this.state = state;
    if (state === this.#goal) this.#attempt = 0;
    if (state === this.#goal || state === this.#rest) {
      const error = state === this.#rest ? this._restError(fields) : undefined;
      this.#waiting.forEach((waiter) => waiter(error));
      this.#waiting.clear();
    }
    this._emit(state, fields);
  }

  // One timer of each name; a new one replaces it.
  _after(name, milliseconds, action) {
    this._cancel(name);
    const act = () => {
      this.#timers.delete(name);
      action();
    };
    this.#timers.set(name, this._settings.clock.setTimeout(act, Math.min(milliseconds, LONGEST_TIMER)));
  }

  _isDue(name) {
    return this.#timers.has(name);
  }

  _cancel(name) {
    this._settings.clock.clearTimeout(this.#timers.get(name));
    this.#timers.delete(name);
  }

  // Nothing that was begun goes on.
  _stop() {
    this.#turn++;
    [...this.#timers.keys()].forEach((name) => this._cancel(name));
  }

  // Exponential backoff with full jitter: after a restart of the server its clients must not all return at once.
  _backoff() {
    const { random, minDelay, maxDelay } = this._settings;
    return random() * Math.min(maxDelay, minDelay * 2 ** this.#attempt++);
  }

  // Call `use` when there is a token: at once, not even a microtask later, if there is one or none is needed.
  _withToken(use, failed) {
    const turn = ++this.#turn;
    if (this._token || !this._getToken) return use();
    const current = (action) => (value) => turn === this.#turn && action(value);
    Promise.resolve(this.channel)
      .then(this._getToken)
      .then(
        current((token) => {
          this._token = token;
          token ? use() : this._end(1, "unauthorized: getToken gave no token");
        }),
        current((error) => {
          this._emit("error", { error });
          failed(`getToken failed: ${error?.message ?? error}`);
        }),
      );
  }

  // The server did not let us in.
  _refused(error) {
    if (error.code === TOKEN_EXPIRED && this._getToken) this._token = "";
    else if (!error.temporary) return this._end(error.code, error.message);
    this._emit("error", { error });
    this._retry(error.code, error.message);
  }

  // The token lasts for `ttl` seconds: then fetch another, and show it to the server.
  _refreshLater({ expires, ttl }, refresh) {
    if (!expires || !this._getToken) return;
    const again = () => this._after("refresh", this._backoff(), attempt);
    const attempt = () => {
      this._token = "";
      this._withToken(() => refresh(answered), again);
    };
    const answered = (error, result) => {
      if (error?.code === CONNECTION_LOST) return; // the next connection shows the new token anyway
      if (error && !error.temporary && error.code !== TOKEN_EXPIRED) return this._end(error.code, error.message);
      if (error) {
        this._emit("error", { error });
        return again();
      }
      this.#attempt = 0;
      this._refreshLater(result, refresh);
    };
    this._after("refresh", ttl * 1000, attempt);
  }
}

/** Publications of one channel, for those who listen at `target`, and how far they have come. */
class Feed {
  constructor(target, channel, { offset = 0, epoch = "" } = {}, recoverable = false) {
    Object.assign(this, { target, channel, offset, epoch, recoverable });
  }

  // The request for everything after the last publication.
  request() {
    return this.recoverable ? { recover: true, offset: this.offset, epoch: this.epoch } : {};
  }

  // Take over the position. The publications that were missed come in `replay`, when all listeners know the state.
  accept({ recoverable = false, offset = 0, epoch = "" }) {
    Object.assign(this, { recoverable, offset, epoch });
  }

  // A listener may leave meanwhile: what it did not get then lies behind the position, and can be recovered.
  replay(publications = [], isWanted) {
    for (const pub of publications) if (isWanted()) this.push({ pub });
  }

  push({ pub, join, leave }) {
    const { target, channel } = this;
    if (pub) {
      if (pub.offset) this.offset = pub.offset;
      target._emit("publication", { channel, ...publication(pub) });
    } else if (join) target._emit("join", { channel, info: clientInfo(join.info) });
    else if (leave) target._emit("leave", { channel, info: clientInfo(leave.info) });
  }
}

const clientInfo = (info) =>
  info && { user: info.user ?? "", client: info.client ?? "", connInfo: info.conn_info, chanInfo: info.chan_info };

const publication = ({ data, offset, info, tags, time }) => ({ data, offset, info: clientInfo(info), tags, time });

const subscribed = (channel, result) => ({
  channel,
  data: result.data,
  recoverable: Boolean(result.recoverable),
  positioned: Boolean(result.positioned),
  wasRecovering: Boolean(result.was_recovering),
  recovered: Boolean(result.recovered),
});

/**
 * One channel. Made by `client.subscribe`.
 *
 * States, each an event too: "subscribing" and "unsubscribed", with `code` and `reason`, and "subscribed", with `data`,
 * `recoverable`, `positioned`, `wasRecovering` and `recovered`. If it was recovering and has not recovered, the history
 * of the channel did not reach back far enough: something is missing.
 *
 * Further events: "publication" (see Publication), "join" and "leave" (with `info`, see ClientInfo), "error".
 */
export class Subscription extends Stateful {
  #client;
  #feed;
  #isKnown = false; // to the server, or about to be

  constructor(client, channel, options) {
    super("unsubscribed", "subscribed", client._settings, options);
    /** @readonly */
    this.channel = channel;
    this.#client = client;
    this._options = options;
    this.#feed = new Feed(this, channel, options.since, Boolean(options.since));
    this.state = "subscribing";
  }

  /** @returns {StreamPosition} Of the last publication; `since` of a later subscription. */
  get position() {
    return { offset: this.#feed.offset, epoch: this.#feed.epoch };
  }

  /** Leave the channel for good. To come back, call `client.subscribe` again. */
  unsubscribe() {
    if (this.state !== "unsubscribed") this._end(0, "unsubscribe called");
  }

  /** Like those of the client, but they wait until the subscription is there. */
  publish = (data) => this.#whenSubscribed(() => this.#client.publish(this.channel, data));
  presence = () => this.#whenSubscribed(() => this.#client.presence(this.channel));
  presenceStats = () => this.#whenSubscribed(() => this.#client.presenceStats(this.channel));
  history = (options) => this.#whenSubscribed(() => this.#client.history(this.channel, options));

  async #whenSubscribed(call) {
    await this.ready();
    return call();
  }

  // The client is connected: subscribe.
  _start() {
    const { data, recoverable, positioned, joinLeave } = this._options;
    const subscribe = () => {
      const options = { token: this._token, data, recoverable, positioned, join_leave: joinLeave };
      const request = { channel: this.channel, ...options, ...this.#feed.request() };
      this.#isKnown = true;
      this.#client._request("subscribe", request, (error, result) => this.#answered(error, result));
    };
    this._withToken(subscribe, (reason) => this._retry(CONNECTION_LOST, reason));
  }

  #answered(error, result) {
    if (this.state !== "subscribing") return;
    if (error?.code === TIMEOUT) return this.#client._reconnect(3, "subscribe timeout");
    if (error?.code === CONNECTION_LOST) return; // the client starts us again
    if (error) {
      this.#isKnown = false;
      return this._refused(error);
    }
    this.#feed.accept(result);
    this._refreshLater(result, (done) =>
      this.#client._request("sub_refresh", { channel: this.channel, token: this._token }, done),
    );
    this._move("subscribed", subscribed(this.channel, result));
    this.#feed.replay(result.publications, () => this.state === "subscribed");
  }

  _push(push) {
    if (this.state !== "subscribed") return; // left over from an earlier subscription
    if (!push.unsubscribe) return this.#feed.push(push);
    this.#isKnown = false;
    const { code = 0, reason = "" } = push.unsubscribe;
    if (code < RESUBSCRIBE_FROM) return this._end(code, reason);
    this._lost(code, reason);
    this._start();
  }

  // Not subscribed any more, but about to be again.
  _lost(code, reason) {
    this._stop();
    this.#isKnown = false;
    if (this.state === "subscribed") this._move("subscribing", { channel: this.channel, code, reason });
  }

  _retry(code, reason) {
    this._lost(code, reason);
    this._after("retry", this._backoff(), () => this.#client.state === "connected" && this._start());
  }

  _end(code, reason) {
    this._stop();
    if (this.#isKnown) this.#client._unsubscribe(this.channel);
    this.#isKnown = false;
    this.#client._forget(this);
    this._move("unsubscribed", { channel: this.channel, code, reason });
  }

  _restError({ code, reason } = {}) {
    const why = code ? `: ${reason} (${code})` : "";
    return new RealtimeError(code >= 100 ? code : UNSUBSCRIBED, `not subscribed to ${this.channel}${why}`, false);
  }
}

/**
 * A connection that comes back.
 *
 * Each state is an event, too. The event "connecting" has `code`, `reason`, and `delay` in milliseconds until the next
 * attempt, 0 when it begins. The event "connected" has `client` and `data`. The event "disconnected" has `code` and
 * `reason`; the client makes no further attempt until `connect` is called.
 *
 * Further events are "message" (with `data`) and "error" (with `error`, a fault that belongs to no call). In channels
 * that the server subscribed us to, there are the events of a Subscription, with `channel`: "subscribed",
 * "unsubscribed", "publication", "join" and "leave".
 */
export class Client extends Stateful {
  #url;
  #data;
  #socket = null;
  #lastId = 0;
  #calls = new Map(); // id -> what to do with the reply
  #subscriptions = new Map();
  #feeds = new Map(); // of channels that the server subscribed us to
  #silence = 0; // milliseconds after which the server counts as dead; 0: never
  #pong = false; // whether the server wants its pings answered

  /**
   * @param {string} url ws:, wss:, http: or https:, or a path on the server of this page.
   * @param {ClientOptions} [options]
   */
  constructor(url, options = {}) {
    const { timeout = 5_000, minDelay = 500, maxDelay = 20_000, pingDelay = 10_000, random = Math.random } = options;
    const clock = options.clock ?? {
      setTimeout: (action, milliseconds) => setTimeout(action, milliseconds),
      clearTimeout: (timer) => clearTimeout(timer),
    };
    super("disconnected", "connected", { timeout, minDelay, maxDelay, pingDelay, random, clock }, options);
    this.#url = new URL(url, globalThis.location?.href);
    this.#url.protocol = this.#url.protocol.replace("http", "ws");
    this.#data = options.data;
    this._WebSocket = options.WebSocket ?? globalThis.WebSocket;
    if (!this._WebSocket)
      throw new TypeError("there is no WebSocket here: pass one in the options, such as that of ws");
    /** Identifier of this connection, as in presence. @type {string} */
    this.id = "";
  }

  /** Connect now, unless connected or just connecting. During a pause between two attempts, make the next at once. */
  connect() {
    if (this.state !== "disconnected" && !this._isDue("retry")) return;
    globalThis.addEventListener?.("online", this.#online);
    this.#dial(0, "connect called");
  }

  /** Disconnect, and stay disconnected. Subscriptions wait for the next `connect`, and recover then. */
  disconnect() {
    if (this.state !== "disconnected") this._end(0, "disconnect called");
  }

  /**
   * Subscribe to a channel, as soon as and whenever the client is connected.
   * @param {string} channel
   * @param {SubscriptionOptions} [options]
   * @returns {Subscription}
   * @throws {TypeError} There is a subscription to this channel.
   */
  subscribe(channel, options = {}) {
    if (this.#subscriptions.has(channel)) throw new TypeError(`there is a subscription to ${channel} already`);
    const subscription = new Subscription(this, channel, options);
    this.#subscriptions.set(channel, subscription);
    if (this.state === "connected") subscription._start();
    return subscription;
  }

  /** Publish to a channel. @param {string} channel @param {unknown} data @returns {Promise<void>} */
  async publish(channel, data) {
    await this.#call("publish", { channel, data });
  }

  /** Call a function of the server. @param {string} method @param {unknown} [data] @returns {Promise<unknown>} */
  async rpc(method, data) {
    return (await this.#call("rpc", { method, data })).data;
  }

  /** Send a message to the server, which does not answer. @param {unknown} data @returns {Promise<void>} */
  async send(data) {
    await this.ready();
    this.#socket?.send(JSON.stringify({ send: { data } })); // if it is lost, then like any message that is not answered
  }

  /** The members of a channel, by connection. @param {string} channel @returns {Promise<Record<string, ClientInfo>>} */
  async presence(channel) {
    const { presence = {} } = await this.#call("presence", { channel });
    return Object.fromEntries(Object.entries(presence).map(([client, info]) => [client, clientInfo(info)]));
  }

  /** How many are in a channel. @param {string} channel @returns {Promise<{ clients: number, users: number }>} */
  async presenceStats(channel) {
    const { num_clients: clients = 0, num_users: users = 0 } = await this.#call("presence_stats", { channel });
    return { clients, users };
  }

  /**
   * The publications of a channel.
   * @param {string} channel
   * @param {{ limit?: number, since?: StreamPosition, reverse?: boolean }} [options] `limit` 0, the default, asks for
   *   the position only, and -1 for as much as the server gives.
   * @returns {Promise<{ publications: Publication[], offset: number, epoch: string }>}
   */
  async history(channel, { limit = 0, since, reverse } = {}) {
    const result = await this.#call("history", { channel, limit, since, reverse });
    const { offset = 0, epoch = "" } = result;
    return { publications: (result.publications ?? []).map(publication), offset, epoch };
  }

  // The server answers, or this promise is rejected: no caller waits for ever.
  async #call(method, params) {
    await this.ready();
    return new Promise((resolve, reject) =>
      this._request(method, params, (error, result) => (error ? reject(error) : resolve(result))),
    );
  }

  // Send a command; `done` is called with an error or a result. It is called while the reply is read, so that it knows
  // of the reply before other code knows of the pushes that follow.
  _request(method, params, done) {
    const { clock, timeout } = this._settings;
    const id = ++this.#lastId;
    const timer = clock.setTimeout(() => {
      this.#calls.delete(id);
      done(new RealtimeError(TIMEOUT, `no answer to ${method} within ${timeout} ms`));
    }, timeout);
    this.#calls.set(id, (reply) => {
      clock.clearTimeout(timer);
      this.#calls.delete(id);
      if (reply instanceof Error) return done(reply);
      const { error } = reply;
      if (error) done(new RealtimeError(error.code, error.message, Boolean(error.temporary) || error.code < 100));
      else done(undefined, reply[method] ?? {});
    });
    this.#socket?.send(JSON.stringify({ id, [method]: params }));
  }

  #dial(code, reason) {
    this._stop();
    const open = () => {
      const socket = (this.#socket = new this._WebSocket(this.#url.href));
      const current = (action) => (event) => this.#socket === socket && action(event);
      socket.onopen = current(() => this.#greet());
      socket.onmessage = current(({ data }) => this.#receive(data, socket));
      socket.onclose = current((event) => this.#closed(event.code, event.reason));
      socket.onerror = () => {}; // close follows, and knows more
      this._after("silence", this._settings.timeout, () => this._reconnect(TIMEOUT, "the server does not answer"));
    };
    this._withToken(open, (problem) => this._reconnect(CONNECTION_LOST, problem));
    this._move("connecting", { code, reason, delay: 0 });
  }

  #greet() {
    const recover = [...this.#feeds].filter(([, feed]) => feed.recoverable);
    const subs = Object.fromEntries(recover.map(([channel, feed]) => [channel, feed.request()]));
    const request = { token: this._token, data: this.#data, name: "trunkline.js", subs };
    this._request("connect", request, (error, result) => {
      if (!error) this.#connected(result);
      else if (error.code !== CONNECTION_LOST) this._refused(error);
    });
  }

  #connected(result) {
    this.id = result.client;
    this.#pong = Boolean(result.pong);
    this.#silence = result.ping ? result.ping * 1000 + this._settings.pingDelay : 0;
    this._cancel("silence");
    this.#heard();
    this._refreshLater(result, (done) => this._request("refresh", { token: this._token }, done));
    this.state = "connected"; // for subscriptions first: listeners that hear of it below may subscribe and publish
    this.#subscriptions.forEach((subscription) => subscription._start());
    this._move("connected", { client: result.client, data: result.data });
    const subs = result.subs ?? {};
    for (const channel of this.#feeds.keys())
      if (!(channel in subs)) this.#unsubscribed(channel, 0, "not subscribed again");
    for (const [channel, sub] of Object.entries(subs)) this.#subscribed(channel, sub);
  }

  #receive(frame, socket) {
    let replies;
    try {
      const lines = frame.trim().split("\n");
      replies = lines.map((line) => JSON.parse(line));
    } catch {
      return this._end(2, "bad protocol: what arrived is not JSON");
    }
    this.#heard();
    for (const reply of replies) {
      if (this.#socket !== socket) return; // a listener that heard of the reply before this one has left
      if (reply.id) this.#calls.get(reply.id)?.(reply);
      else if (reply.push) this.#push(reply.push);
      else if (this.#pong) socket.send("{}"); // an empty reply is a ping, and an empty command its answer
    }
  }

  // A sign of life.
  #heard() {
    if (this.#silence) this._after("silence", this.#silence, () => this._reconnect(2, "no ping"));
  }

  #push({ channel = "", ...push }) {
    if (push.message) return this._emit("message", { data: push.message.data });
    if (push.disconnect) return this.#closed(push.disconnect.code, push.disconnect.reason);
    if (push.subscribe) return this.#subscribed(channel, push.subscribe);
    const subscription = this.#subscriptions.get(channel);
    if (subscription) return subscription._push(push);
    if (push.unsubscribe) return this.#unsubscribed(channel, push.unsubscribe.code, push.unsubscribe.reason);
    this.#feeds.get(channel)?.push(push);
  }

  #subscribed(channel, result) {
    const feed = this.#feeds.get(channel) ?? new Feed(this, channel);
    this.#feeds.set(channel, feed);
    feed.accept(result);
    this._emit("subscribed", subscribed(channel, result));
    feed.replay(result.publications, () => this.#feeds.get(channel) === feed && this.state === "connected");
  }

  #unsubscribed(channel, code = 0, reason = "") {
    if (this.#feeds.delete(channel)) this._emit("unsubscribed", { channel, code, reason });
  }

  #closed(code = 0, reason = "") {
    if (code === 1009)
      this._end(3, "message size limit"); // and so would the next connection
    else if (isTerminal(code)) this._end(code, reason);
    else this._reconnect(code, reason || "connection closed");
  }

  // Give up on the connection, and try again after a pause.
  _reconnect(code, reason) {
    this.#drop();
    const delay = this._backoff();
    this._after("retry", delay, () => this.#dial(code, reason));
    this._move("connecting", { code, reason, delay });
    this.#subscriptions.forEach((subscription) => subscription._lost(1, "connection lost"));
  }

  _retry(code, reason) {
    this._reconnect(code, reason);
  }

  // Disconnected, and no further attempt.
  _end(code, reason) {
    globalThis.removeEventListener?.("online", this.#online);
    this.#drop();
    this._move("disconnected", { code, reason });
    this.#subscriptions.forEach((subscription) => subscription._lost(1, "connection lost"));
  }

  // Be without a connection. The closing handshake of a dead one would wait for the dead, so the client doesn't wait for that.
  #drop() {
    this._stop();
    const socket = this.#socket;
    this.#socket = null;
    this.#silence = 0;
    socket?.close();
    const error = new RealtimeError(CONNECTION_LOST, "the connection was lost before the server answered");
    this.#calls.forEach((answer) => answer(error));
  }

  // The browser says that there is a network again. A connection from before may be dead, and a ping tells.
  #online = () => {
    if (this.state === "connecting") return this.connect();
    this._request("ping", {}, (error) => error?.code === TIMEOUT && this._reconnect(2, "no ping"));
  };

  _unsubscribe(channel) {
    if (this.state !== "connected") return;
    this._request("unsubscribe", { channel }, (error) => {
      // We cannot know what the server thinks, so begin anew.
      if (error && error.code !== CONNECTION_LOST) this._reconnect(4, "unsubscribe error");
    });
  }

  _forget(subscription) {
    if (this.#subscriptions.get(subscription.channel) === subscription)
      this.#subscriptions.delete(subscription.channel);
  }

  _restError({ code, reason } = {}) {
    const why = code ? `: ${reason} (${code})` : "; call connect() first";
    return new RealtimeError(code >= 100 ? code : DISCONNECTED, `disconnected${why}`, false);
  }
}

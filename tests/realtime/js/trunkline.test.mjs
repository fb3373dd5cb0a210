// trunkline.js against a scripted server: a WebSocket that only does what the test says, and a clock that stands still.
// TRUNKLINE_JS names the module under test.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

const { Client, RealtimeError } = await import(process.env.TRUNKLINE_JS);

const sockets = []; // all that the client opened, oldest first

class ScriptedSocket {
  constructor(url) {
    this.url = url;
    this.sent = [];
    this.closed = false;
    sockets.push(this);
  }
  send(text) {
    this.sent.push(JSON.parse(text));
  }
  close() {
    this.closed = true;
  }
  // The acts of the server in the test:
  open() {
    this.onopen({});
  }
  receive(...replies) {
    this.onmessage({ data: replies.map((reply) => JSON.stringify(reply)).join("\n") });
  }
  hangUp(code = 1006, reason = "") {
    this.onclose({ code, reason });
  }
  last(method) {
    return this.sent.findLast((command) => method in command);
  }
  answer(method, result = {}) {
    this.receive({ id: this.last(method).id, [method]: result });
  }
  refuse(method, code, temporary = false) {
    this.receive({ id: this.last(method).id, error: { code, message: "refused", temporary } });
  }
}

class Clock {
  now = 0;
  timers = new Map();
  lastId = 0;
  setTimeout = (action, milliseconds) => {
    this.timers.set(++this.lastId, { at: this.now + milliseconds, action });
    return this.lastId;
  };
  clearTimeout = (id) => this.timers.delete(id);
  advance(milliseconds) {
    const end = this.now + milliseconds;
    for (;;) {
      const due = [...this.timers].filter(([, timer]) => timer.at <= end).sort(([, a], [, b]) => a.at - b.at)[0];
      if (!due) break;
      this.timers.delete(due[0]);
      this.now = due[1].at;
      due[1].action();
    }
    this.now = end;
  }
}

let clock;
let random;

beforeEach(() => {
  sockets.length = 0;
  clock = new Clock();
  random = 1;
});

const EVENTS = [
  "connecting",
  "connected",
  "disconnected",
  "message",
  "error",
  "subscribing",
  "subscribed",
  "unsubscribed",
  "publication",
  "join",
  "leave",
];

// Every event of a client or a subscription, as [type, the fields named].
function record(target, ...fields) {
  const events = [];
  for (const type of EVENTS) {
    target.addEventListener(type, (event) => events.push([type, ...fields.map((field) => event[field])]));
  }
  return events;
}

function newClient(options) {
  return new Client("ws://server/", { WebSocket: ScriptedSocket, clock, random: () => random, ...options });
}

const socket = () => sockets.at(-1);
const turns = () => new Promise(setImmediate); // let promises that are settled be heard of

function connected(options, result = {}) {
  const client = newClient(options);
  client.connect();
  accept(result);
  return client;
}

function accept(result = {}) {
  socket().open();
  socket().answer("connect", { client: "me", ...result });
}

function subscribed(client, channel, result = {}, options = {}) {
  const subscription = client.subscribe(channel, options);
  socket().answer("subscribe", result);
  return subscription;
}

const rejects = (promise, code) =>
  assert.rejects(promise, (error) => error instanceof RealtimeError && error.code === code);

// Connecting

test("connects with token and data", () => {
  const client = newClient({ token: "t", data: { a: 1 } });
  const events = record(client, "client", "data");
  client.connect();
  client.connect();
  assert.equal(sockets.length, 1);
  assert.deepEqual(socket().sent, []);
  socket().open();
  const { id, connect } = socket().sent[0];
  assert.ok(id > 0);
  assert.deepEqual(connect, { token: "t", data: { a: 1 }, name: "trunkline.js", subs: {} });
  socket().answer("connect", { client: "me", data: 5 });
  assert.equal(client.state, "connected");
  assert.equal(client.id, "me");
  assert.deepEqual(events, [
    ["connecting", undefined, undefined],
    ["connected", "me", 5],
  ]);
});

test("needs a WebSocket, and a URL", () => {
  assert.throws(() => new Client("/path", { WebSocket: ScriptedSocket }), TypeError);
  if (!globalThis.WebSocket) assert.throws(() => new Client("ws://server/"), /pass one in the options/);
});

test("takes the URL of a page for that of a WebSocket", () => {
  const client = new Client("https://server/rooms?a=b", { WebSocket: ScriptedSocket, clock });
  client.connect();
  assert.equal(socket().url, "wss://server/rooms?a=b");
  client.disconnect();
});

test("waits longer after each failure, at random, and from the beginning once it was connected", () => {
  const client = newClient({ minDelay: 100, maxDelay: 1000 });
  const delays = [];
  client.addEventListener("connecting", ({ delay }) => delay && delays.push(delay));
  client.connect();
  for (random of [1, 1, 0.5, 1, 1, 1]) {
    socket().hangUp();
    const before = sockets.length;
    clock.advance(delays.at(-1) - 1);
    assert.equal(sockets.length, before);
    clock.advance(1);
    assert.equal(sockets.length, before + 1);
  }
  assert.deepEqual(delays, [100, 200, 200, 800, 1000, 1000]);
  accept();
  socket().hangUp();
  assert.equal(delays.at(-1), 100);
});

test("does not wait when told to connect, nor when there is a network again", () => {
  const listeners = new Map();
  globalThis.addEventListener = (type, listener) => listeners.set(type, listener);
  globalThis.removeEventListener = (type) => listeners.delete(type);
  try {
    const client = connected();
    socket().hangUp();
    client.connect();
    assert.equal(sockets.length, 2);
    socket().hangUp();
    listeners.get("online")();
    assert.equal(sockets.length, 3);
    listeners.get("online")(); // is connecting already
    assert.equal(sockets.length, 3);
    accept();
    listeners.get("online")(); // the old connection may be dead: ask
    assert.ok(socket().last("ping"));
    clock.advance(5000);
    assert.equal(client.state, "connecting");
    assert.ok(socket().closed);
    client.disconnect();
    assert.equal(listeners.size, 0);
  } finally {
    delete globalThis.addEventListener;
    delete globalThis.removeEventListener;
  }
});

test("does not wait for ever for a server that does not answer", () => {
  const client = newClient({ timeout: 1000 });
  client.connect();
  clock.advance(999);
  assert.equal(socket().closed, false);
  clock.advance(1);
  assert.equal(socket().closed, true);
  clock.advance(500);
  socket().open(); // takes the connection and says nothing
  clock.advance(1000);
  assert.equal(sockets[1].closed, true);
  assert.equal(client.state, "connecting");
});

for (const [code, state] of [
  [1000, "connecting"],
  [1001, "connecting"],
  [1006, "connecting"],
  [3008, "connecting"],
  [4000, "connecting"],
  [4499, "connecting"],
  [5000, "connecting"],
  [3500, "disconnected"],
  [3999, "disconnected"],
  [4500, "disconnected"],
  [4999, "disconnected"],
  [1009, "disconnected"],
]) {
  test(`is ${state} after a close with ${code}`, () => {
    const client = connected();
    const events = record(client, "code", "reason");
    socket().hangUp(code, "because");
    assert.equal(client.state, state);
    assert.deepEqual(events[0], [state, ...(code === 1009 ? [3, "message size limit"] : [code, "because"])]);
    clock.advance(60_000);
    assert.equal(sockets.length > 1, state === "connecting");
  });
}

test("an error in answer to connect is final, unless it is temporary", () => {
  const client = newClient();
  const events = record(client, "code");
  client.connect();
  socket().open();
  socket().refuse("connect", 100, true);
  assert.equal(client.state, "connecting");
  clock.advance(500);
  socket().open();
  socket().refuse("connect", 101);
  assert.equal(client.state, "disconnected");
  assert.deepEqual(events.at(-1), ["disconnected", 101]);
  assert.ok(sockets.every((each) => each.closed));
});

test("a disconnect push is obeyed like a close", () => {
  const client = connected();
  socket().receive({ push: { disconnect: { code: 3503, reason: "banned" } } });
  assert.equal(client.state, "disconnected");
});

test("what is not JSON ends the connection", () => {
  const client = connected();
  socket().onmessage({ data: "hello" });
  assert.equal(client.state, "disconnected");
  assert.ok(socket().closed);
});

test("an old connection has nothing to say any more", () => {
  const client = connected();
  const events = record(client, "data");
  const old = socket();
  client.disconnect();
  client.connect();
  accept();
  old.receive({ push: { message: { data: 1 } } });
  old.hangUp(3500);
  assert.equal(client.state, "connected");
  assert.ok(!events.some(([type]) => type === "message"));
});

// Pings

test("answers pings where the server wants it", () => {
  connected({}, { ping: 25, pong: true });
  socket().receive({}, { push: { message: { data: 1 } } }, {});
  assert.deepEqual(socket().sent.slice(1), [{}, {}]);
  connected({}, { ping: 25 });
  socket().receive({});
  assert.deepEqual(socket().sent.slice(1), []);
});

test("leaves a server that is silent for too long", () => {
  const client = connected({}, { ping: 25 });
  for (let i = 0; i < 3; i++) {
    clock.advance(34_999);
    assert.equal(client.state, "connected");
    socket().receive(i === 1 ? { push: { message: { data: 1 } } } : {}); // any sign of life will do
  }
  clock.advance(35_000);
  assert.equal(client.state, "connecting");
  assert.ok(sockets[0].closed);
});

test("does not expect pings where the server sends none", () => {
  const client = connected();
  clock.advance(1e9);
  assert.equal(client.state, "connected");
});

// Calls

test("publish, rpc, send, presence, presenceStats, history", async () => {
  const client = connected();
  const call = async (promise, method, params, result) => {
    await turns();
    assert.deepEqual(socket().last(method)[method], params);
    socket().answer(method, result);
    return promise;
  };
  assert.equal(await call(client.publish("c", { a: 1 }), "publish", { channel: "c", data: { a: 1 } }), undefined);
  assert.equal(await call(client.rpc("add", [1, 2]), "rpc", { method: "add", data: [1, 2] }, { data: 3 }), 3);
  const info = { user: "u", client: "x", conn_info: { a: 1 } };
  assert.deepEqual(await call(client.presence("c"), "presence", { channel: "c" }, { presence: { x: info } }), {
    x: { user: "u", client: "x", connInfo: { a: 1 }, chanInfo: undefined },
  });
  const stats = { num_clients: 2, num_users: 1 };
  assert.deepEqual(await call(client.presenceStats("c"), "presence_stats", { channel: "c" }, stats), {
    clients: 2,
    users: 1,
  });
  const since = { offset: 1, epoch: "e" };
  const history = { publications: [{ data: 1, offset: 2, time: 5 }], offset: 2, epoch: "e" };
  const { publications, offset, epoch } = await call(
    client.history("c", { limit: 10, since, reverse: true }),
    "history",
    { channel: "c", limit: 10, since, reverse: true },
    history,
  );
  assert.deepEqual([offset, epoch], [2, "e"]);
  assert.deepEqual(publications, [{ data: 1, offset: 2, info: undefined, tags: undefined, time: 5 }]);
  await client.send("hi");
  assert.deepEqual(socket().sent.at(-1), { send: { data: "hi" } });
});

test("a call fails with the server's error", async () => {
  const client = connected();
  const call = client.publish("c", 1);
  await turns();
  socket().refuse("publish", 103);
  await rejects(call, 103);
});

test("a call waits for a connection, and not for ever", async () => {
  const client = newClient({ timeout: 1000 });
  await rejects(client.publish("c", 1), 3);
  client.connect();
  const inTime = client.rpc("a");
  accept();
  await turns();
  socket().answer("rpc", { data: 1 });
  assert.equal(await inTime, 1);
  socket().hangUp();
  const late = client.rpc("b");
  const gone = client.ready(100_000);
  clock.advance(1000);
  await rejects(late, 1);
  client.disconnect();
  await rejects(gone, 3);
});

test("a call in flight fails when the connection is lost, and when no answer comes", async () => {
  const client = connected({ timeout: 1000 });
  const lost = client.rpc("a");
  await turns();
  socket().hangUp();
  await rejects(lost, 2);
  clock.advance(500);
  accept();
  const unanswered = client.rpc("b");
  await turns();
  clock.advance(1000);
  await rejects(unanswered, 1);
  assert.equal(client.state, "connected");
});

// Tokens

test("fetches a token before it connects, and tries again where that fails", async () => {
  const tokens = [() => Promise.reject(new Error("no network")), () => "good"];
  const client = newClient({ getToken: () => tokens.shift()() });
  const events = record(client, "error", "reason");
  client.connect();
  await turns();
  assert.equal(sockets.length, 0);
  assert.equal(events[1][1].message, "no network");
  clock.advance(500);
  await turns();
  socket().open();
  assert.equal(socket().last("connect").connect.token, "good");
});

test("without a token there is no connection", async () => {
  const client = newClient({ getToken: () => null });
  const ready = assert.rejects((client.connect(), client.ready()), /unauthorized/);
  await turns();
  assert.equal(client.state, "disconnected");
  await ready;
});

test("fetches another token when the server says that one has expired", async () => {
  const tokens = ["new"];
  const client = newClient({ token: "old", getToken: async () => tokens.shift() });
  client.connect();
  socket().open();
  socket().refuse("connect", 109);
  assert.equal(client.state, "connecting");
  clock.advance(500);
  await turns();
  socket().open();
  assert.equal(socket().last("connect").connect.token, "new");
});

test("shows a new token before the old one expires", async () => {
  const tokens = ["second", "third", "fourth"];
  const client = connected({ token: "first", getToken: async () => tokens.shift() }, { expires: true, ttl: 60 });
  clock.advance(60_000);
  await turns();
  assert.deepEqual(socket().last("refresh").refresh, { token: "second" });
  socket().answer("refresh", { expires: true, ttl: 3 * 30 * 24 * 3600 }); // longer than a timer can be
  clock.advance(2 ** 31 - 2);
  await turns();
  assert.equal(tokens.length, 2);
  clock.advance(1);
  await turns();
  socket().refuse("refresh", 100, true);
  assert.equal(client.state, "connected");
  clock.advance(500);
  await turns();
  assert.deepEqual(socket().last("refresh").refresh, { token: "fourth" });
  socket().refuse("refresh", 103);
  assert.equal(client.state, "disconnected");
});

test("disconnect while a token is fetched", async () => {
  let give;
  const client = newClient({ getToken: () => new Promise((resolve) => (give = resolve)) });
  client.connect();
  await turns();
  client.disconnect();
  give("late");
  await turns();
  assert.equal(sockets.length, 0);
  assert.equal(client.state, "disconnected");
});

// Subscriptions

test("subscribes once connected, and with every connection", () => {
  const client = newClient();
  const subscription = client.subscribe("c", { data: 7, joinLeave: true });
  assert.throws(() => client.subscribe("c"), /already/);
  const events = record(subscription, "code");
  client.connect();
  accept();
  assert.deepEqual(socket().last("subscribe").subscribe, { channel: "c", data: 7, join_leave: true });
  socket().answer("subscribe");
  socket().hangUp();
  assert.equal(subscription.state, "subscribing");
  clock.advance(500);
  accept();
  socket().answer("subscribe");
  assert.equal(subscription.state, "subscribed");
  assert.deepEqual(events, [
    ["subscribed", undefined],
    ["subscribing", 1],
    ["subscribed", undefined],
  ]);
});

test("publications that follow the answer in the same frame are heard", () => {
  const client = connected();
  const subscription = client.subscribe("c");
  const events = record(subscription, "data", "channel");
  const { id } = socket().last("subscribe");
  socket().receive(
    { id, subscribe: {} },
    { push: { channel: "c", pub: { data: 1 } } },
    { push: { channel: "c", join: { info: { user: "u", client: "x" } } } },
    { push: { channel: "other", pub: { data: 2 } } },
  );
  assert.deepEqual(events, [
    ["subscribed", undefined, "c"],
    ["publication", 1, "c"],
    ["join", undefined, "c"],
  ]);
});

test("recovers from where it was", () => {
  const client = connected();
  const subscription = subscribed(client, "c", { recoverable: true, offset: 5, epoch: "e" });
  socket().receive({ push: { channel: "c", pub: { data: "six", offset: 6 } } });
  assert.deepEqual(subscription.position, { offset: 6, epoch: "e" });
  socket().hangUp();
  const events = record(subscription, "data", "wasRecovering", "recovered");
  clock.advance(500);
  accept();
  assert.deepEqual(socket().last("subscribe").subscribe, { channel: "c", recover: true, offset: 6, epoch: "e" });
  const publications = [
    { data: "seven", offset: 7 },
    { data: "eight", offset: 8 },
  ];
  socket().answer("subscribe", {
    recoverable: true,
    offset: 6,
    epoch: "e",
    was_recovering: true,
    recovered: true,
    publications,
  });
  assert.deepEqual(events, [
    ["subscribed", undefined, true, true],
    ["publication", "seven", undefined, undefined],
    ["publication", "eight", undefined, undefined],
  ]);
  assert.deepEqual(subscription.position, { offset: 8, epoch: "e" });
});

test("takes over the position where it could not recover", () => {
  const client = connected();
  const subscription = subscribed(client, "c", { recoverable: true, offset: 5, epoch: "e" });
  socket().hangUp();
  const events = record(subscription, "wasRecovering", "recovered");
  clock.advance(500);
  accept();
  socket().answer("subscribe", { recoverable: true, offset: 2, epoch: "f", was_recovering: true });
  assert.deepEqual(events, [["subscribed", true, false]]);
  assert.deepEqual(subscription.position, { offset: 2, epoch: "f" });
});

test("begins where told", () => {
  const client = connected();
  client.subscribe("c", { since: { offset: 3, epoch: "e" } });
  assert.deepEqual(socket().last("subscribe").subscribe, { channel: "c", recover: true, offset: 3, epoch: "e" });
});

test("a refusal is final, unless it is temporary", async () => {
  const client = connected();
  const subscription = client.subscribe("c");
  const events = record(subscription, "code");
  socket().refuse("subscribe", 100, true);
  assert.equal(subscription.state, "subscribing");
  clock.advance(500);
  const published = rejects(subscription.publish(1), 103);
  socket().refuse("subscribe", 103);
  assert.deepEqual(events, [
    ["error", undefined],
    ["unsubscribed", 103],
  ]);
  await published;
  await rejects(subscription.ready(), 7);
  client.subscribe("c"); // may be asked again
  assert.equal(client.state, "connected");
});

test("an unanswered subscribe is a dead connection", () => {
  const client = connected({ timeout: 1000 });
  client.subscribe("c");
  clock.advance(1000);
  assert.equal(client.state, "connecting");
});

test("an unsubscribe push is final below 2500, and a fresh start from there", () => {
  const client = connected();
  const subscription = subscribed(client, "c", { recoverable: true, offset: 5, epoch: "e" });
  const events = record(subscription, "code");
  socket().receive({ push: { channel: "c", unsubscribe: { code: 2500, reason: "insufficient state" } } });
  assert.deepEqual(socket().last("subscribe").subscribe, { channel: "c", recover: true, offset: 5, epoch: "e" });
  socket().answer("subscribe", { recoverable: true, offset: 5, epoch: "e" });
  socket().receive({ push: { channel: "c", unsubscribe: { code: 2000, reason: "server" } } });
  assert.deepEqual(events, [
    ["subscribing", 2500],
    ["subscribed", undefined],
    ["unsubscribed", 2000],
  ]);
});

test("unsubscribe leaves, and a later subscription does not hear what was meant for the earlier", () => {
  const client = connected();
  const first = subscribed(client, "c");
  first.unsubscribe();
  first.unsubscribe();
  assert.equal(first.state, "unsubscribed");
  assert.equal(socket().sent.filter((command) => command.unsubscribe).length, 1);
  const second = client.subscribe("c");
  const events = record(second, "data");
  socket().receive({ push: { channel: "c", pub: { data: "old" } } });
  socket().answer("unsubscribe");
  socket().answer("subscribe");
  socket().receive({ push: { channel: "c", pub: { data: "new" } } });
  assert.deepEqual(events, [
    ["subscribed", undefined],
    ["publication", "new"],
  ]);
});

test("an unsubscribe that the server does not confirm begins anew", () => {
  const client = connected({ timeout: 1000 });
  subscribed(client, "c").unsubscribe();
  clock.advance(1000);
  assert.equal(client.state, "connecting");
});

test("calls of a subscription wait for it", async () => {
  const client = connected();
  const subscription = client.subscribe("c");
  const published = subscription.publish("x");
  await turns();
  assert.equal(socket().last("publish"), undefined);
  socket().answer("subscribe");
  await turns();
  await turns();
  assert.deepEqual(socket().last("publish").publish, { channel: "c", data: "x" });
  socket().answer("publish");
  await published;
});

test("subscriptions have tokens, too", async () => {
  const asked = [];
  const tokens = ["first", "second", "third"];
  const getToken = async (channel) => (asked.push(channel), tokens.shift());
  const client = connected();
  const subscription = client.subscribe("c", { getToken });
  await turns();
  assert.equal(socket().last("subscribe").subscribe.token, "first");
  socket().refuse("subscribe", 109);
  clock.advance(500);
  await turns();
  assert.equal(socket().last("subscribe").subscribe.token, "second");
  socket().answer("subscribe", { expires: true, ttl: 10 });
  clock.advance(10_000);
  await turns();
  assert.deepEqual(socket().last("sub_refresh").sub_refresh, { channel: "c", token: "third" });
  socket().answer("sub_refresh", {});
  assert.equal(subscription.state, "subscribed");
  assert.deepEqual(asked, ["c", "c", "c"]);
});

test("a subscription whose new token is refused ends, on both sides", async () => {
  const tokens = ["late", "wrong"];
  const client = connected();
  const subscription = client.subscribe("c", { token: "first", getToken: async () => tokens.shift() });
  const events = record(subscription, "code");
  socket().answer("subscribe", { expires: true, ttl: 10 });
  clock.advance(10_000);
  await turns();
  socket().refuse("sub_refresh", 109); // has expired on its way
  clock.advance(500);
  await turns();
  assert.deepEqual(socket().last("sub_refresh").sub_refresh, { channel: "c", token: "wrong" });
  socket().refuse("sub_refresh", 103);
  assert.deepEqual(events, [
    ["subscribed", undefined],
    ["error", undefined],
    ["unsubscribed", 103],
  ]);
  assert.deepEqual(socket().last("unsubscribe").unsubscribe, { channel: "c" });
});

test("what the server does not know of need not be taken back", async () => {
  const client = connected();
  client.subscribe("a", { getToken: () => new Promise(() => {}) }).unsubscribe();
  client.subscribe("b");
  socket().refuse("subscribe", 103);
  subscribed(client, "c");
  socket().receive({ push: { channel: "c", unsubscribe: { code: 2000, reason: "server" } } });
  assert.equal(socket().last("unsubscribe"), undefined);
  client.subscribe("d").unsubscribe(); // is on its way
  assert.deepEqual(socket().last("unsubscribe").unsubscribe, { channel: "d" });
});

test("subscriptions made by the server", () => {
  const client = newClient();
  const events = record(client, "channel", "data");
  client.connect();
  accept({ subs: { a: { recoverable: true, offset: 1, epoch: "e", publications: [{ data: 1, offset: 2 }] }, b: {} } });
  socket().receive({ push: { channel: "a", pub: { data: 2, offset: 3 } } });
  socket().receive({ push: { channel: "c", subscribe: { recoverable: true, offset: 9, epoch: "f" } } });
  socket().receive({ push: { channel: "b", unsubscribe: { code: 2000, reason: "" } } });
  socket().receive({ push: { message: { data: "hi" } } });
  socket().hangUp();
  clock.advance(500);
  socket().open();
  assert.deepEqual(socket().last("connect").connect.subs, {
    a: { recover: true, offset: 3, epoch: "e" },
    c: { recover: true, offset: 9, epoch: "f" },
  });
  socket().answer("connect", { client: "again", subs: { a: { recoverable: true, offset: 3, epoch: "e" } } });
  const heard = events.filter(([type]) => !type.startsWith("connect"));
  assert.deepEqual(heard, [
    ["subscribed", "a", undefined],
    ["publication", "a", 1],
    ["subscribed", "b", undefined],
    ["publication", "a", 2],
    ["subscribed", "c", undefined],
    ["unsubscribed", "b", undefined],
    ["message", undefined, "hi"],
    ["unsubscribed", "c", undefined],
    ["subscribed", "a", undefined],
  ]);
});

// Listeners that act

test("a listener may subscribe, leave and disconnect", () => {
  const client = newClient();
  client.addEventListener("connected", () => client.subscribe("c"), { once: true });
  client.connect();
  accept();
  assert.equal(socket().sent.filter((command) => command.subscribe).length, 1);
  client.addEventListener("connecting", () => client.disconnect(), { once: true });
  socket().hangUp();
  assert.equal(client.state, "disconnected");
  clock.advance(60_000);
  assert.equal(sockets.length, 1);
  const other = connected();
  const subscription = other.subscribe("d");
  let heard = 0;
  subscription.addEventListener("publication", () => (heard++, other.disconnect()));
  const { id } = socket().last("subscribe");
  const pub = { push: { channel: "d", pub: { data: 1 } } };
  socket().receive({ id, subscribe: {} }, pub, pub);
  assert.equal(heard, 1);
});

test("what a listener did not get because it left can be recovered", () => {
  const client = connected();
  const subscription = subscribed(client, "c", { recoverable: true, offset: 5, epoch: "e" });
  socket().hangUp();
  const events = record(subscription, "data");
  subscription.addEventListener("publication", () => subscription.unsubscribe(), { once: true });
  clock.advance(500);
  accept();
  const publications = [
    { data: "six", offset: 6 },
    { data: "seven", offset: 7 },
  ];
  socket().answer("subscribe", { recoverable: true, offset: 5, epoch: "e", recovered: true, publications });
  assert.deepEqual(
    events.map(([type]) => type),
    ["subscribed", "publication", "unsubscribed"],
  );
  client.subscribe("c", { since: subscription.position });
  assert.deepEqual(socket().last("subscribe").subscribe, { channel: "c", recover: true, offset: 6, epoch: "e" });
});

test("nothing is left behind", () => {
  const client = connected({ token: "t", getToken: () => "x" }, { ping: 25, expires: true, ttl: 60 });
  subscribed(client, "c", { expires: true, ttl: 60 }, { token: "t", getToken: () => "y" });
  client.disconnect();
  assert.equal(clock.timers.size, 0);
});

// Scenarios of a client library with our server: each scenario throws where something is not as it must be. `open` makes a
// client (see clients.mjs), and `channel` is new for each run. The server is tests/support/realtime.py.

function equal(actual, expected, what) {
  const [got, wanted] = [actual, expected].map((value) => JSON.stringify(value));
  if (got !== wanted) throw new Error(`${what}: expected ${wanted}, got ${got}`);
}

// Waits until `condition` holds; asks again at every event of the targets.
function until(condition, what, ...targets) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`waited in vain: ${what}`)), 15_000);
    const check = () => condition() && (clearTimeout(timer), resolve());
    for (const target of targets) for (const type of EVENTS) target.on(type, () => queueMicrotask(check));
    check();
  });
}

const EVENTS = [
  "connecting",
  "connected",
  "disconnected",
  "message",
  "subscribing",
  "subscribed",
  "unsubscribed",
  "publication",
  "join",
  "leave",
  "error",
];

// All events of a client or a subscription from now on.
function record(target) {
  const events = [];
  for (const type of EVENTS) target.on(type, (event) => events.push({ type, event }));
  const all = (type) => events.filter((each) => each.type === type).map((each) => each.event);
  const data = () => all("publication").map((event) => event.data);
  // Earlier events may differ: on a slow machine the first attempt to connect fails.
  const typesAfter = (first) =>
    events.slice(events.findIndex(({ type }) => type === first) + 1).map(({ type }) => type);
  return { all, data, typesAfter };
}

async function failure(promise) {
  try {
    await promise;
  } catch (error) {
    return error.code;
  }
  throw new Error("this should have failed");
}

// The server closes the connection before it could answer.
const kick = (client, order) => client.rpc("kick", order).catch(() => {});

const range = (from, to) => Array.from({ length: to - from + 1 }, (_, index) => from + index);

export const scenarios = {
  async connect(open) {
    const client = open({ data: { user: "ada" } });
    const heard = record(client);
    client.connect();
    await client.ready();
    const [connected] = heard.all("connected");
    equal(connected.data, { hello: "ada" }, "data of the connect hook");
    equal(typeof connected.client, "string", "client id");
    client.disconnect();
    equal(heard.typesAfter("connected"), ["disconnected"], "events");
  },

  async "connect refused"(open) {
    const client = open({ data: { user: "nobody" } });
    const heard = record(client);
    client.connect();
    await until(() => heard.all("disconnected").length, "disconnected", client);
    equal(heard.all("disconnected")[0].code, 101, "code");
  },

  async "publish and subscribe"(open, channel) {
    const [ada, bo] = ["ada", "bo"].map((user) => open({ data: { user } }));
    const rooms = [ada, bo].map((client) => client.subscribe(`room:${channel}`));
    const heard = rooms.map(record);
    ada.connect();
    bo.connect();
    await Promise.all(rooms.map((room) => room.ready()));
    for (const text of ["one", "two", "你好 \u{1f44b}"]) await rooms[0].publish({ text });
    await ada.publish(`room:${channel}`, { text: "four" });
    await until(() => heard.every(({ data }) => data().length === 4), "publications", ...rooms);
    for (const { all, data } of heard) {
      equal(
        data().map(({ text }) => text),
        ["one", "two", "你好 \u{1f44b}", "four"],
        "texts",
      );
      equal(
        all("publication").map(({ offset }) => offset),
        [1, 2, 3, 4],
        "offsets",
      );
      equal(
        all("publication").map(({ info }) => info.user),
        ["ada", "ada", "ada", "ada"],
        "users",
      );
    }
    rooms[1].unsubscribe();
    await rooms[0].publish({ text: "five" });
    await until(() => heard[0].data().length === 5, "fifth", rooms[0]);
    equal(heard[1].data().length, 4, "publications after unsubscribe");
  },

  async "bad publications are refused"(open, channel) {
    const client = open();
    const room = client.subscribe(`room:${channel}`);
    client.connect();
    await room.ready();
    equal(await failure(room.publish({ no: "text" })), 107, "code");
    equal(await failure(room.publish({ text: 5 })), 107, "code");
  },

  async rpc(open) {
    const client = open();
    client.connect();
    equal(await client.rpc("echo", { a: [1, "ü"] }), { a: [1, "ü"] }, "answer");
    equal(await failure(client.rpc("nothing", {})), 104, "unknown method");
    equal(await failure(client.rpc("fail", { code: 444 })), 444, "refusal by the hook");
    equal(await failure(client.rpc("crash", {})), 100, "a hook that raises");
    equal(await client.rpc("echo", 1), 1, "answer after a failure");
  },

  async messages(open) {
    const client = open();
    const heard = record(client);
    client.connect();
    await client.ready();
    await client.send({ say: "hi" });
    await until(() => heard.all("message").length, "message", client);
    equal(heard.all("message")[0].data, { heard: { say: "hi" } }, "answer");
  },

  async presence(open, channel) {
    const [ada, bo] = ["ada", "bo"].map((user) => open({ data: { user } }));
    const room = ada.subscribe(`room:${channel}`, { joinLeave: true });
    const heard = record(room);
    ada.connect();
    await room.ready();
    const other = bo.subscribe(`room:${channel}`);
    bo.connect();
    await other.ready();
    await until(() => heard.all("join").some(({ info }) => info.user === "bo"), "join", room);
    const users = Object.values(await room.presence()).map(({ user }) => user);
    equal(users.sort(), ["ada", "bo"], "presence");
    equal(await other.presenceStats(), { clients: 2, users: 2 }, "presence stats");
    bo.disconnect();
    await until(() => heard.all("leave").some(({ info }) => info.user === "bo"), "leave", room);
    equal(await room.presenceStats(), { clients: 1, users: 1 }, "presence stats afterwards");
  },

  async history(open, channel) {
    const client = open();
    const room = client.subscribe(`room:${channel}`);
    client.connect();
    await room.ready();
    for (const number of range(1, 5)) await room.publish({ text: `${number}` });
    const texts = ({ publications }) => publications.map(({ data }) => data.text);
    const position = await room.history();
    equal([position.publications.length, position.offset], [0, 5], "position only");
    const { epoch } = position;
    equal(texts(await room.history({ limit: -1 })), ["1", "2", "3", "4", "5"], "all");
    equal(texts(await room.history({ limit: 2 })), ["1", "2"], "first two");
    equal(texts(await room.history({ limit: 2, reverse: true })), ["5", "4"], "last two");
    equal(texts(await room.history({ limit: 2, since: { offset: 3, epoch } })), ["4", "5"], "since");
    equal(await failure(room.history({ limit: 2, since: { offset: 3, epoch: "other" } })), 112, "another epoch");
  },

  async "subscriptions refused"(open) {
    const client = open();
    const [secret, unknown] = ["secret:x", "nowhere:x"].map((channel) => client.subscribe(channel));
    const heard = [secret, unknown].map(record);
    client.connect();
    await until(() => heard.every(({ all }) => all("unsubscribed").length), "unsubscribed", secret, unknown);
    equal(
      heard.map(({ all }) => all("unsubscribed")[0].code),
      [103, 102],
      "codes",
    );
    equal(await client.rpc("echo", 1), 1, "the connection goes on");
  },

  async recovery(open, channel) {
    const client = open({ data: { user: `user ${channel}` } });
    const room = client.subscribe(`room:${channel}`);
    const heard = record(room);
    client.connect();
    await room.ready();
    for (let round = 0; round < 3; round++) {
      await room.publish({ text: "before" });
      await kick(client, { code: 3011, channel: `room:${channel}`, publish: 3 });
      await until(() => heard.all("subscribed").length === round + 2, "subscribed again", room);
      const { wasRecovering, recovered } = heard.all("subscribed").at(-1);
      equal([wasRecovering, recovered], [true, true], "recovered");
      await until(() => heard.data().length === 4 * (round + 1), "missed publications", room);
    }
    equal(
      heard.all("publication").map(({ offset }) => offset),
      range(1, 12),
      "offsets",
    );
    equal(heard.all("subscribing").length, 3, "times lost");
  },

  async "too much was missed"(open, channel) {
    const client = open({ data: { user: `user ${channel}` } });
    const room = client.subscribe(`short:${channel}`);
    const heard = record(room);
    client.connect();
    await room.ready();
    await kick(client, { code: 3011, channel: `short:${channel}`, publish: 5 });
    await until(() => heard.all("subscribed").length === 2, "subscribed again", room);
    const { wasRecovering, recovered } = heard.all("subscribed")[1];
    equal([wasRecovering, recovered], [true, false], "recovered");
    await room.publish({ text: "after" });
    await until(() => heard.data().length, "publication", room);
    equal(
      heard.data().map(({ text }) => text),
      ["after"],
      "texts",
    );
  },

  async "kicked for good"(open, channel) {
    const client = open({ data: { user: `user ${channel}` } });
    const heard = record(client);
    client.connect();
    await client.ready();
    await kick(client, { code: 3503 });
    await until(() => heard.all("disconnected").length, "disconnected", client);
    equal(heard.all("disconnected")[0].code, 3503, "code");
  },

  async "kicked for good by the application"(open, channel) {
    const client = open({ data: { user: `user ${channel}` } });
    const heard = record(client);
    client.connect();
    await client.ready();
    await kick(client, { code: 4500 }); // without a reason
    await until(() => heard.all("disconnected").length, "disconnected", client);
    equal(heard.all("disconnected")[0].code, 4500, "code");
  },

  async "kicked, to come back, for a reason that is JSON"(open, channel) {
    const client = open({ data: { user: `user ${channel}` } });
    const heard = record(client);
    client.connect();
    await client.ready();
    await kick(client, { code: 4001, reason: "7" });
    await until(() => heard.all("connected").length === 2, "connected again", client);
    equal(heard.all("disconnected"), [], "disconnected");
  },

  async "half an emoji"(open, channel) {
    const client = open({ data: { user: `user ${channel}` } });
    const room = client.subscribe(`room:${channel}`);
    const heard = record(client);
    client.connect();
    await room.ready();
    const half = { text: "well done \u{1f600}".slice(0, 11) };
    const said = [{ text: "1" }, half, { text: "2" }].map((text) => room.publish(text));
    equal(await failure(said[1]), 107, "code");
    await Promise.all([said[0], said[2]]);
    equal(heard.typesAfter("connected"), [], "events");
  },

  async "unsubscribed by the server"(open, channel) {
    const client = open({ data: { user: `user ${channel}` } });
    const room = client.subscribe(`room:${channel}`);
    const heard = record(room);
    client.connect();
    await room.ready();
    await client.rpc("unsubscribe", { channel: `room:${channel}`, code: 2500 });
    await until(() => heard.all("subscribed").length === 2, "subscribed again", room);
    equal(heard.all("subscribed")[1].recovered, true, "recovered");
    await client.rpc("unsubscribe", { channel: `room:${channel}`, code: 2000 });
    await until(() => heard.all("unsubscribed").length, "unsubscribed", room);
    equal(heard.all("unsubscribed")[0].code, 2000, "code");
  },

  async "subscribed by the server"(open, channel) {
    const client = open({ data: { user: `user ${channel}`, channels: [`room:${channel}`] } });
    const heard = record(client);
    client.connect();
    await until(() => heard.all("subscribed").length, "subscribed", client);
    await client.publish(`room:${channel}`, { text: "1" });
    await kick(client, { code: 3011, channel: `room:${channel}`, publish: 3 });
    await until(() => heard.data().length === 4, "missed publications", client);
    equal(
      heard.all("publication").map(({ offset }) => offset),
      range(1, 4),
      "offsets",
    );
    equal(heard.all("subscribed")[1].recovered, true, "recovered");
    await client.rpc("subscribe", { channel: `room:${channel}2` });
    await until(() => heard.all("subscribed").length === 3, "subscribed by push", client);
    await client.publish(`room:${channel}2`, { text: "5" });
    await until(() => heard.data().length === 5, "publication", client);
    equal(heard.all("publication")[4].channel, `room:${channel}2`, "channel");
    await client.rpc("unsubscribe", { channel: `room:${channel}2`, code: 2000 });
    await until(() => heard.all("unsubscribed").length, "unsubscribed", client);
  },

  async "what the server had subscribed comes back, after a kick and after a gap"(open, channel) {
    const client = open({ data: { user: `user ${channel}` } });
    const heard = record(client);
    client.connect();
    await client.ready();
    await client.rpc("subscribe", { channel: `room:${channel}` });
    await until(() => heard.all("subscribed").length === 1, "subscribed", client);
    await kick(client, { code: 3011, channel: `room:${channel}`, publish: 2 });
    await until(() => heard.data().length === 2, "missed publications", client);
    await client.rpc("unsubscribe", { channel: `room:${channel}`, code: 2500 }).catch(() => {});
    await until(() => heard.all("subscribed").length === 3, "subscribed after the gap", client);
    equal(
      heard.all("subscribed").map(({ recovered }) => !!recovered),
      [false, true, true],
      "recovered",
    );
    equal(heard.all("connecting").at(-1).code, 3010, "code");
    equal(heard.all("unsubscribed"), [], "unsubscribed");
  },

  async "connection tokens"(open, channel, { url }) {
    let fetched = 0;
    const fetchToken = async () => (fetched++, (await fetch(`${url}/token?user=ada&ttl=2`)).text());
    const client = open({ getToken: fetchToken });
    const heard = record(client);
    client.connect();
    await client.ready();
    equal((await client.rpc("whoami", {})).user, "ada", "user");
    await new Promise((resolve) => setTimeout(resolve, 4500));
    equal(heard.typesAfter("connected"), [], "events");
    if (fetched < 2) throw new Error(`the token was fetched ${fetched} times`);
    const late = open({ token: await (await fetch(`${url}/token?user=bo&ttl=-60`)).text(), getToken: fetchToken });
    late.connect();
    await late.ready(10_000); // the server says 109, and the client fetches another
    const forged = open({ token: "a.b.c" });
    const end = record(forged);
    forged.connect();
    await until(() => end.all("disconnected").length, "disconnected", forged);
    equal(end.all("disconnected")[0].code, 3500, "code");
  },

  async "subscription tokens"(open, channel, { url }) {
    let fetched = 0;
    const name = `private:${channel}`;
    const getToken = async () => (
      fetched++,
      (await fetch(`${url}/token?user=ada&ttl=2&channel=${encodeURIComponent(name)}`)).text()
    );
    const client = open({ data: { user: "ada" } });
    const room = client.subscribe(name, { getToken });
    const heard = record(room);
    client.connect();
    await room.ready();
    await new Promise((resolve) => setTimeout(resolve, 4500));
    equal(heard.all("subscribed").length, 1, "times subscribed");
    if (fetched < 2) throw new Error(`the token was fetched ${fetched} times`);
    room.unsubscribe();
    const refused = open({ data: { user: "ada" } });
    const without = refused.subscribe(name);
    const end = record(without);
    refused.connect();
    await until(() => end.all("unsubscribed").length, "unsubscribed", without);
    equal(end.all("unsubscribed")[0].code, 103, "code");
  },

  async "tokens that have expired when they come"(open, channel, { url }) {
    const token = async (query) => (await fetch(`${url}/token?user=ada&${new URLSearchParams(query)}`)).text();
    // Short ones until all is well for the first time, then an old one, then good ones.
    const ttls = (isWell, old = 1) => () => (isWell() ? (old-- > 0 ? -60 : 600) : 2);
    const ttl = ttls(() => heard.all("connected").length);
    const client = open({ getToken: () => token({ ttl: ttl() }) });
    const heard = record(client);
    client.connect();
    await until(() => heard.all("connected").length === 2, "connected again", client);
    const codes = heard.all("connecting").map(({ code }) => code);
    equal(codes.includes(3005), true, `3005 is among ${codes}`);
    const name = `private:${channel}`;
    let subscribed = 0;
    const ttlOfRoom = ttls(() => subscribed);
    const room = client.subscribe(name, { getToken: () => token({ channel: name, ttl: ttlOfRoom() }) });
    const inRoom = record(room);
    room.on("subscribed", () => subscribed++);
    await until(() => subscribed === 2, "subscribed again", room);
    equal([inRoom.all("unsubscribed"), heard.all("disconnected")], [[], []], "ends");
  },

  async "pings keep a connection"(open) {
    const client = open();
    const heard = record(client);
    client.connect();
    await client.ready();
    await new Promise((resolve) => setTimeout(resolve, 3500)); // the server pings every second, and wants answers
    equal(heard.typesAfter("connected"), [], "events");
  },
};

// Runs all of them, at the same time, and returns how each went: null, or what was wrong.
export async function runAll(open, environment) {
  const results = {};
  const run = async ([name, scenario]) => {
    const clients = [];
    const tracked = (options) => (clients.push(open(options)), clients.at(-1));
    try {
      await scenario(tracked, Math.random().toString(36).slice(2), environment);
      results[name] = null;
    } catch (error) {
      results[name] = `${error.message ?? JSON.stringify(error)}\n${error.stack ?? ""}`;
    }
    clients.forEach((client) => client.disconnect());
  };
  await Promise.all(Object.entries(scenarios).map(run));
  return results;
}

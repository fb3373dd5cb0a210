// One face for all clients under test: on(event, listener), connect, disconnect, ready, rpc, send, publish, history
// and subscribe. A subscription has on, ready, publish, presence, presenceStats, history and unsubscribe.

const COMMON = ["connect", "disconnect", "ready", "publish", "presenceStats"];

// The npm package centrifuge. Its payloads are bytes in Protobuf; the server expects JSON in them.
export function official(Centrifuge, format, url, WebSocket) {
  const bytes = format === "protobuf";
  const encode = (data) => (bytes ? new TextEncoder().encode(JSON.stringify(data)) : data);
  const decode = (data) => (bytes && data?.length ? JSON.parse(new TextDecoder().decode(data)) : data);
  const readable = (context) => {
    const { info, error } = context;
    const fields = { ...context, data: decode(context.data), error };
    if (info) fields.info = { ...info, connInfo: decode(info.connInfo), chanInfo: decode(info.chanInfo) };
    return fields;
  };
  const history = async (target, ...args) => {
    const { publications, offset, epoch } = await target.history(...args);
    return { publications: publications.map(readable), offset, epoch };
  };
  return (options = {}) => {
    const settings = { ...options, websocket: WebSocket ?? null, minReconnectDelay: 20 };
    if (bytes) settings.protocol = "protobuf";
    if ("data" in options) settings.data = encode(options.data);
    const client = new Centrifuge(url, settings);
    return {
      ...delegate(client, COMMON),
      on: (type, listener) => client.on(type, (context) => listener(readable(context))),
      rpc: async (method, data) => decode((await client.rpc(method, encode(data))).data),
      send: (data) => client.send(encode(data)),
      publish: (channel, data) => client.publish(channel, encode(data)),
      history: (channel, options) => history(client, channel, options),
      subscribe(channel, options = {}) {
        const subscription = client.newSubscription(channel, options);
        subscription.subscribe();
        return {
          ...delegate(subscription, ["ready", "presenceStats", "unsubscribe"]),
          on: (type, listener) => subscription.on(type, (context) => listener(readable(context))),
          publish: (data) => subscription.publish(encode(data)),
          presence: async () => (await subscription.presence()).clients,
          presenceStats: async () => {
            const { numClients: clients, numUsers: users } = await subscription.presenceStats();
            return { clients, users };
          },
          history: (options) => history(subscription, options),
        };
      },
    };
  };
}

// trunkline.js.
export function ours(Client, url, WebSocket) {
  return (options = {}) => {
    const client = new Client(url, { WebSocket, minDelay: 20, ...options });
    return {
      ...delegate(client, [...COMMON, "rpc", "send", "history"]),
      on: (type, listener) => client.addEventListener(type, listener),
      subscribe(channel, options) {
        const subscription = client.subscribe(channel, options);
        return {
          ...delegate(subscription, ["ready", "publish", "presence", "presenceStats", "history", "unsubscribe"]),
          on: (type, listener) => subscription.addEventListener(type, listener),
        };
      },
    };
  };
}

const delegate = (target, names) => Object.fromEntries(names.map((name) => [name, (...args) => target[name](...args)]));

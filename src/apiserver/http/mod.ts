// What stands between sockets and the API; loaded only where there are sockets.
export { KubeletClient } from "../kubelet/client.ts";
export { Connect } from "../kubelet/connect.ts";
export { App } from "./app.ts";
export { Incoming } from "./incoming.ts";
export { InFlight } from "./inflight.ts";
export { Listener } from "./listener.ts";
export { contentOf } from "./reply.ts";

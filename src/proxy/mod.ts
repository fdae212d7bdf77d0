export { cleanup, KubeProxy as Proxy, type ProxyOptions } from "./proxy.ts";

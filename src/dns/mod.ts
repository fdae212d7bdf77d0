export { DnsServer, type DnsServerOptions } from "./dns-server.ts";
export { parseUpstream } from "./resolv-conf.ts";

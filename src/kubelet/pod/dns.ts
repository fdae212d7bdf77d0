// The name resolution of a pod: its resolv.conf by policy (Kubernetes
// documentation, "DNS for Services and Pods").
import type * as coreV1 from "../../api/gen/core/v1.ts";

export interface DnsConfig {
  servers: string[];
  searches: string[];
  options: string[];
}

export interface DnsSettings {
  clusterDns: readonly string[];
  clusterDomain: string;
  /** Of the node. */
  host: DnsConfig;
}

/** Parses the text of a resolv.conf. */
export function parseResolvConf(text: string): DnsConfig {
  const config: DnsConfig = { servers: [], searches: [], options: [] };
  for (const line of text.split("\n")) {
    const [word, ...rest] = line
      .replace(/[#;].*$/, "")
      .trim()
      .split(/\s+/);
    if (word === "nameserver" && rest[0]) config.servers.push(rest[0]);
    else if (word === "search" || word === "domain") config.searches = rest.map((s) => (s === "." ? s : s.replace(/\.$/, "")));
    else if (word === "options") config.options = rest;
  }
  return config;
}

const unique = (items: string[]) => [...new Set(items)];

export function podDns(pod: coreV1.Pod, settings: DnsSettings): DnsConfig {
  const policy = pod.spec.dnsPolicy ?? "ClusterFirst";
  const cluster =
    settings.clusterDns.length > 0 && (policy === "ClusterFirstWithHostNet" || (policy === "ClusterFirst" && !pod.spec.hostNetwork));
  let config: DnsConfig;
  if (policy === "None") config = { servers: [], searches: [], options: [] };
  else if (cluster) {
    const domain = settings.clusterDomain;
    const own = domain ? [`${pod.metadata.namespace}.svc.${domain}`, `svc.${domain}`, domain] : [];
    config = { servers: [...settings.clusterDns], searches: unique([...own, ...settings.host.searches]), options: ["ndots:5"] };
  } else config = { servers: [...settings.host.servers], searches: [...settings.host.searches], options: [...settings.host.options] };

  const extra = pod.spec.dnsConfig;
  if (!extra) return config;
  const options = new Map(config.options.map((o) => [o.split(":")[0]!, o]));
  for (const o of extra.options ?? [])
    if (o.name) options.set(o.name, o.value === undefined || o.value === "" ? o.name : `${o.name}:${o.value}`);
  return {
    servers: unique([...config.servers, ...(extra.nameservers ?? [])]),
    searches: unique([...config.searches, ...(extra.searches ?? [])]),
    options: [...options.values()],
  };
}

/** The host name of a pod, and its domain where it has one. */
export function podHostname(pod: coreV1.Pod, clusterDomain: string): { hostname: string; domain: string } {
  const name = pod.spec.hostname || (pod.metadata.name ?? "");
  // The kernel takes 63 characters; a name must not end with a dash or dot.
  const hostname = name.length > 63 ? name.slice(0, 63).replace(/[-.]+$/, "") : name;
  if (pod.spec.hostnameOverride) return { hostname: pod.spec.hostnameOverride, domain: "" };
  const domain = pod.spec.subdomain ? `${pod.spec.subdomain}.${pod.metadata.namespace}.svc.${clusterDomain}` : "";
  return { hostname, domain };
}

/** What `hostname` prints in the pod. */
export function kernelHostname(pod: coreV1.Pod, clusterDomain: string, nodeHostname: string): string {
  if (pod.spec.hostNetwork && !pod.spec.hostnameOverride) return nodeHostname;
  const { hostname, domain } = podHostname(pod, clusterDomain);
  return pod.spec.setHostnameAsFQDN && domain ? `${hostname}.${domain}` : hostname;
}

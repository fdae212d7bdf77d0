import type * as coreV1 from "../../api/gen/core/v1.ts";
import { podHostname } from "./dns.ts";

/**
 * The text of a pod's /etc/hosts. On the host's network it is the node's own
 * file with the aliases added.
 */
export function hostsFile(pod: coreV1.Pod, ips: readonly string[], clusterDomain: string, nodeHosts: string): string {
  let text: string;
  if (pod.spec.hostNetwork) text = `# Kubernetes-managed hosts file (host network).\n${nodeHosts}`;
  else {
    const { hostname, domain } = podHostname(pod, clusterDomain);
    const lines = [
      "# Kubernetes-managed hosts file.",
      "127.0.0.1\tlocalhost",
      "::1\tlocalhost ip6-localhost ip6-loopback",
      "fe00::0\tip6-localnet",
      "fe00::0\tip6-mcastprefix",
      "fe00::1\tip6-allnodes",
      "fe00::2\tip6-allrouters",
      ...ips.map((ip) => (domain ? `${ip}\t${hostname}.${domain}\t${hostname}` : `${ip}\t${hostname}`)),
    ];
    text = `${lines.join("\n")}\n`;
  }
  const aliases = pod.spec.hostAliases ?? [];
  if (aliases.length === 0) return text;
  return `${text}\n# Entries added by HostAliases.\n${aliases.map((a) => `${a.ip}\t${(a.hostnames ?? []).join("\t")}\n`).join("")}`;
}

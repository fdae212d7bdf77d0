// Objects that a cluster of `up` has besides what the apiserver makes itself:
// the name server's Service and the RuntimeClass of pods without an image.
import type { KubeObject } from "../../api/object.ts";
import { isAlreadyExists, isNotFound } from "../../api/status.ts";
import type { ApiTransport, Target } from "../../client/transport.ts";

interface Addon {
  target: Target & { name: string };
  object: KubeObject & Record<string, unknown>;
}

export interface AddonOptions {
  /** Service address of the name server. */
  dnsIp: string;
  /** Where the name server listens. */
  dns: { host: string; port: number };
}

const DNS = "kube-dns";

const dnsLabels = { "k8s-app": DNS, "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS" };

const ports = (port: number) => [
  { name: "dns", protocol: "UDP", port },
  { name: "dns-tcp", protocol: "TCP", port },
];

function addons(o: AddonOptions): Addon[] {
  const inSystem = { namespace: "kube-system", name: DNS };
  return [
    {
      target: { group: "node.k8s.io", version: "v1", resource: "runtimeclasses", name: "bun" },
      object: { apiVersion: "node.k8s.io/v1", kind: "RuntimeClass", metadata: { name: "bun" }, handler: "bun" },
    },
    {
      target: { group: "", version: "v1", resource: "services", ...inSystem },
      object: {
        apiVersion: "v1",
        kind: "Service",
        metadata: { name: DNS, namespace: "kube-system", labels: dnsLabels },
        // Without a selector: the name server is a process of the node, and its slice stands below.
        spec: { clusterIP: o.dnsIp, ports: ports(53) },
      },
    },
    {
      target: { group: "discovery.k8s.io", version: "v1", resource: "endpointslices", ...inSystem },
      object: {
        apiVersion: "discovery.k8s.io/v1",
        kind: "EndpointSlice",
        metadata: {
          name: DNS,
          namespace: "kube-system",
          labels: { "kubernetes.io/service-name": DNS, "endpointslice.kubernetes.io/managed-by": "kubun.dev" },
        },
        addressType: "IPv4",
        endpoints: [{ addresses: [o.dns.host], conditions: { ready: true, serving: true, terminating: false } }],
        ports: ports(o.dns.port),
      },
    },
  ];
}

async function ensure(api: ApiTransport, { target, object }: Addon): Promise<void> {
  const { name: _, ...collection } = target;
  try {
    const live = await api.get<KubeObject & Record<string, unknown>>(target);
    const same =
      JSON.stringify(live.endpoints) === JSON.stringify(object.endpoints) && JSON.stringify(live.ports) === JSON.stringify(object.ports);
    // Only the slice's addresses change from one start to the next; what a user changed in the others stays.
    if (target.resource === "endpointslices" && !same) {
      await api.update(target, { ...object, metadata: { ...object.metadata, resourceVersion: live.metadata.resourceVersion } });
    }
  } catch (e) {
    if (!isNotFound(e)) throw e;
    await api.create(collection, object).catch((e: unknown) => {
      if (!isAlreadyExists(e)) throw e;
    });
  }
}

/** Creates what is missing and corrects the name server's address. */
export async function ensureAddons(api: ApiTransport, options: AddonOptions): Promise<void> {
  await Promise.all(addons(options).map((a) => ensure(api, a)));
}

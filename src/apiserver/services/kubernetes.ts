// The service "kubernetes" by which pods reach the apiservers.
import { deepEqual } from "../../api/equal.ts";
import type { KubeObject } from "../../api/object.ts";
import { isAlreadyExists, isConflict, isNotFound, isReason } from "../../api/status.ts";
import { get } from "../registry/read.ts";
import type { Registry } from "../registry/registry.ts";
import type { Fresh } from "../registry/strategy.ts";
import { create, update } from "../registry/write.ts";
import { loopback } from "../request.ts";
import { formatAddress, type Network } from "./ip.ts";

export const SERVICE = { name: "kubernetes", namespace: "default" };
const context = { user: loopback, fieldManager: "kube-apiserver" };
const { name, namespace } = SERVICE;
/** Milliseconds for which other servers may come between. */
const patience = 10_000;

/** Creates an object, or gives the one that is there the same content. */
export async function ensure(
  registry: Registry,
  group: string,
  plural: string,
  wanted: KubeObject & Record<string, unknown>,
  fields: string[],
): Promise<void> {
  const resource = registry.resources.need(group, "v1", plural);
  const copy = () => structuredClone(wanted) as Fresh;
  const once = async () => {
    try {
      const { object } = await get(resource, wanted.metadata.namespace, wanted.metadata.name!);
      const found = object as unknown as Record<string, unknown>;
      if (fields.every((f) => deepEqual(found[f], wanted[f]))) return;
      await update(registry, resource, context, wanted.metadata.namespace, wanted.metadata.name!, (current) => ({
        ...(structuredClone(current) as Fresh),
        ...Object.fromEntries(fields.map((f) => [f, structuredClone(wanted[f])])),
      }));
    } catch (error) {
      if (!isNotFound(error)) throw error;
      await create(registry, resource, context, wanted.metadata.namespace, copy());
    }
  };
  const deadline = performance.now() + patience;
  for (;;) {
    try {
      return await once();
    } catch (error) {
      // Another server that starts now does the same, or has half done it.
      const taken = isAlreadyExists(error) || isConflict(error) || isReason(error, "Invalid");
      if (!taken || performance.now() > deadline) throw error;
      await Bun.sleep(20 + Math.random() * 80);
    }
  }
}

/** Sees to the service network and the service. */
export async function ensureKubernetesService(registry: Registry, networks: readonly Network[], port: number): Promise<void> {
  const [first] = networks;
  const serviceIp = formatAddress(first!.family, first!.base + 1n);
  await ensure(
    registry,
    "networking.k8s.io",
    "servicecidrs",
    { kind: "ServiceCIDR", apiVersion: "networking.k8s.io/v1", metadata: { name }, spec: { cidrs: networks.map((n) => n.text) } },
    [],
  );
  await ensure(
    registry,
    "",
    "services",
    {
      kind: "Service",
      apiVersion: "v1",
      metadata: { name, namespace, labels: { component: "apiserver", provider: "kubernetes" } },
      spec: {
        type: "ClusterIP",
        clusterIP: serviceIp,
        clusterIPs: [serviceIp],
        sessionAffinity: "None",
        ipFamilies: [first!.family],
        ipFamilyPolicy: "SingleStack",
        internalTrafficPolicy: "Cluster",
        ports: [{ name: "https", protocol: "TCP", port: 443, targetPort: port }],
      },
    },
    [],
  );
}

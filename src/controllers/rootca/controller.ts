// Every namespace has a ConfigMap kube-root-ca.crt, by which its pods know the apiserver.
import { isAlreadyExists } from "../../api/status.ts";
import { configMaps, keyOf, namespaces } from "../../client/resources.ts";
import { WorkQueue } from "../../client/workqueue.ts";
import { type Controller, type ControllerContext, execute, isNamespaceTerminating, queueOptions } from "../framework/context.ts";
import { create, update } from "../framework/write.ts";

const name = "kube-root-ca.crt";
const annotations = {
  "kubernetes.io/description":
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.",
};

export function rootCaPublisher(ctx: ControllerContext, pem: string): Controller {
  const sink = ctx.events("root-ca-cert-publisher");
  const all = ctx.informers.for(namespaces);
  const maps = ctx.informers.for(configMaps, { fieldSelector: `metadata.name=${name}` });
  const queue = new WorkQueue(
    "root_ca_cert_publisher",
    async (namespace) => {
      const ns = all.lister.get(namespace);
      if (!ns || ns.metadata.deletionTimestamp) return;
      const present = maps.lister.get(`${namespace}/${name}`);
      const data = { "ca.crt": pem };
      try {
        if (!present) {
          const metadata = { name, namespace, annotations };
          await execute(ctx.transport, sink, create(configMaps, { apiVersion: "v1", kind: "ConfigMap", metadata, data }));
        } else if (present.data?.["ca.crt"] !== pem || Object.keys(present.data).length !== 1) {
          const metadata = { ...present.metadata, annotations: { ...present.metadata.annotations, ...annotations } };
          await execute(ctx.transport, sink, update(configMaps, { ...present, metadata, data }));
        }
      } catch (error) {
        if (!isAlreadyExists(error) && !isNamespaceTerminating(error)) throw error;
      }
    },
    queueOptions(ctx, 4),
  );
  all.on({ add: (n) => queue.add(keyOf(n)), update: (_, n) => queue.add(keyOf(n)) });
  maps.on({ update: (_, m) => queue.add(m.metadata.namespace ?? ""), delete: (m) => queue.add(m.metadata.namespace ?? "") });
  return { start: () => queue.start(), stop: () => queue.stop() };
}

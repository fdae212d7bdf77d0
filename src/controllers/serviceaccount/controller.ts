// Every namespace has a ServiceAccount "default", which pods run as that name none.
import { isAlreadyExists } from "../../api/status.ts";
import { keyOf, namespaces, serviceAccounts } from "../../client/resources.ts";
import { WorkQueue } from "../../client/workqueue.ts";
import { type Controller, type ControllerContext, execute, isNamespaceTerminating, queueOptions } from "../framework/context.ts";
import { create } from "../framework/write.ts";

const account = "default";

export function serviceAccountController(ctx: ControllerContext): Controller {
  const sink = ctx.events("serviceaccount-controller");
  const all = ctx.informers.for(namespaces);
  const accounts = ctx.informers.for(serviceAccounts);
  const queue = new WorkQueue(
    "serviceaccount",
    async (name) => {
      const namespace = all.lister.get(name);
      if (!namespace || namespace.metadata.deletionTimestamp || accounts.lister.get(`${name}/${account}`)) return;
      try {
        await execute(
          ctx.transport,
          sink,
          create(serviceAccounts, { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: account, namespace: name } }),
        );
      } catch (error) {
        if (!isAlreadyExists(error) && !isNamespaceTerminating(error)) throw error;
      }
    },
    queueOptions(ctx, 4),
  );
  all.on({ add: (n) => queue.add(keyOf(n)), update: (_, n) => queue.add(keyOf(n)) });
  accounts.on({
    delete: (a) => {
      if (a.metadata.name === account) queue.add(a.metadata.namespace ?? "");
    },
  });
  return { start: () => queue.start(), stop: () => queue.stop() };
}

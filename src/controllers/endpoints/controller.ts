// The shell of classic Endpoints.

import { isNotFound } from "../../api/status.ts";
import type { EventSink } from "../../client/events.ts";
import { endpoints, keyOf, pods, services, splitKey } from "../../client/resources.ts";
import { matchesLabels } from "../../client/selector.ts";
import { WorkQueue } from "../../client/workqueue.ts";
import { wakeServices } from "../endpointslice/wake.ts";
import { type Controller, type ControllerContext, execute, isNamespaceTerminating, queueOptions } from "../framework/context.ts";
import { remove } from "../framework/write.ts";
import { reconcileEndpoints } from "./core.ts";

export function endpointsController(ctx: ControllerContext, workers: number): Controller {
  const sink: EventSink = ctx.events("endpoint-controller");
  const allServices = ctx.informers.for(services);
  const allPods = ctx.informers.for(pods);
  const allEndpoints = ctx.informers.for(endpoints);

  const queue = new WorkQueue(
    "endpoint",
    async (key) => {
      const service = allServices.lister.get(key);
      const present = allEndpoints.lister.get(key);
      try {
        if (!service) {
          if (present?.metadata.labels?.["endpoints.kubernetes.io/managed-by"])
            await execute(ctx.transport, sink, remove(endpoints, present));
          return;
        }
        const selector = service.spec?.selector;
        if (service.spec?.type === "ExternalName" || !selector || Object.keys(selector).length === 0) return;
        const matching = allPods.lister.list(splitKey(key).namespace).filter((p) => matchesLabels(selector, p.metadata.labels));
        const write = reconcileEndpoints(service, matching, present);
        if (write) await execute(ctx.transport, sink, write);
      } catch (error) {
        if (!isNamespaceTerminating(error) && !isNotFound(error)) throw error;
      }
    },
    queueOptions(ctx, workers),
  );
  const enqueue = (o: { metadata: { name?: string; namespace?: string } }) => queue.add(keyOf(o));
  allServices.on({ add: enqueue, update: (_, s) => enqueue(s), delete: enqueue });
  allEndpoints.on({
    // One left over from a Service that was deleted while nobody watched.
    add: (e) => {
      if (e.metadata.labels?.["endpoints.kubernetes.io/managed-by"]) enqueue(e);
    },
    delete: enqueue,
  });
  wakeServices(allPods, allServices, (key) => queue.add(key));
  return { start: () => queue.start(), stop: () => queue.stop() };
}

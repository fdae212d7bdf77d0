// The shell of EndpointSlices: watches Services, pods, nodes and its slices.
import type * as coreV1 from "../../api/gen/core/v1.ts";
import type * as discoveryV1 from "../../api/gen/discovery/v1.ts";
import type { EventSink } from "../../client/events.ts";
import type { Informer } from "../../client/informer.ts";
import { endpointSlices, keyOf, nodes, pods, services } from "../../client/resources.ts";
import { matchesLabels } from "../../client/selector.ts";
import { type Outcome, WorkQueue } from "../../client/workqueue.ts";
import { type Controller, type ControllerContext, execute, isNamespaceTerminating, queueOptions } from "../framework/context.ts";
import { Unseen } from "../framework/seen.ts";
import { reconcileSlices } from "./core.ts";
import { labels, sliceManager } from "./endpoints.ts";
import { wakeServices } from "./wake.ts";

const serviceIndex = "service";

export function endpointSliceController(ctx: ControllerContext, workers: number): Controller {
  return new EndpointSliceController(ctx, workers);
}

class EndpointSliceController implements Controller {
  readonly #ctx: ControllerContext;
  readonly #events: EventSink;
  readonly #queue: WorkQueue;
  readonly #services: Informer<coreV1.Service>;
  readonly #pods: Informer<coreV1.Pod>;
  readonly #slices: Informer<discoveryV1.EndpointSlice>;
  readonly #nodes: Informer<coreV1.Node>;
  readonly #unseen: Unseen;

  constructor(ctx: ControllerContext, workers: number) {
    this.#ctx = ctx;
    this.#events = ctx.events("endpoint-slice-controller");
    this.#unseen = new Unseen(ctx.clock);
    this.#queue = new WorkQueue("endpoint_slice", (key) => this.#reconcile(key), queueOptions(ctx, workers));
    this.#services = ctx.informers.for(services);
    this.#pods = ctx.informers.for(pods);
    this.#nodes = ctx.informers.for(nodes);
    this.#slices = ctx.informers.for(endpointSlices).addIndex(serviceIndex, (s) => (serviceKey(s) ? [serviceKey(s)!] : []));
    const enqueue = (s: coreV1.Service) => this.#queue.add(keyOf(s));
    this.#services.on({ add: enqueue, update: (_, s) => enqueue(s), delete: enqueue });
    wakeServices(this.#pods, this.#services, (key) => this.#queue.add(key));
    const wake = (slice: discoveryV1.EndpointSlice) => {
      const key = serviceKey(slice);
      if (key) this.#queue.add(key);
    };
    this.#slices.on({
      add: wake,
      update: (before, after) => {
        wake(before);
        wake(after);
      },
      delete: (slice) => {
        this.#unseen.gone(serviceKey(slice) ?? "", slice);
        wake(slice);
      },
    });
    this.#nodes.on({
      update: (before, after) => {
        if (before.metadata.labels?.[labels.zone] !== after.metadata.labels?.[labels.zone])
          for (const s of this.#services.lister.list()) enqueue(s);
      },
    });
  }

  start(): void {
    this.#queue.start();
  }

  stop(): Promise<void> {
    return this.#queue.stop();
  }

  async #reconcile(key: string): Promise<Outcome> {
    const service = this.#services.lister.get(key);
    if (!service) {
      this.#unseen.forget(key);
      return; // Its slices go with it, by their owner reference.
    }
    const selector = service.spec?.selector;
    if (service.spec?.type === "ExternalName" || !selector || Object.keys(selector).length === 0 || service.metadata.deletionTimestamp)
      return;
    const slices = this.#slices.lister.byIndex(serviceIndex, key);
    const behind = this.#unseen.behind(key, slices);
    if (behind !== undefined) return { requeueAfter: behind };
    const writes = reconcileSlices({
      service,
      pods: this.#pods.lister.list(service.metadata.namespace).filter((p) => matchesLabels(selector, p.metadata.labels)),
      slices,
      node: (name) => this.#nodes.lister.get(name),
    });
    for (const write of writes) {
      try {
        const done = await execute(this.#ctx.transport, this.#events, write);
        if (done) this.#unseen.wrote(key, done);
        else if (write.op === "delete") this.#unseen.deleted(key, write.on);
      } catch (error) {
        if (isNamespaceTerminating(error)) return;
        throw error;
      }
    }
    return;
  }
}

/** The Service of a slice that this controller manages. */
function serviceKey(slice: discoveryV1.EndpointSlice): string | undefined {
  const name = slice.metadata.labels?.[labels.serviceName];
  return name && slice.metadata.labels?.[labels.managedBy] === sliceManager ? `${slice.metadata.namespace}/${name}` : undefined;
}

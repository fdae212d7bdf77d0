// What every controller is given, and how its writes are carried out.
import type { KubeObject } from "../../api/object.ts";
import { isNotFound, StatusError } from "../../api/status.ts";
import type { Clock } from "../../client/clock.ts";
import { type EventSink, referenceTo } from "../../client/events.ts";
import type { InformerFactory } from "../../client/informer.ts";
import type { ApiTransport } from "../../client/transport.ts";
import type { QueueMetrics, QueueOptions } from "../../client/workqueue.ts";
import type { Logger } from "../../platform/log.ts";
import type { Write } from "./write.ts";

export interface Controller {
  /** Begins to work; its informers are synced. */
  start(): void;
  stop(): Promise<void>;
}

export interface ControllerContext {
  readonly transport: ApiTransport;
  readonly informers: InformerFactory;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics?: QueueMetrics;
  /** The event recorder of one controller, by upstream's component name. */
  events(component: string): EventSink;
}

/** How a controller's queue works: so many keys at once, by the context's clock. */
export const queueOptions = ({ clock, log, metrics }: ControllerContext, workers: number): QueueOptions => ({
  workers,
  clock,
  log,
  metrics,
});

/** The name under which managedFields show what the controllers own. */
export const fieldManager = "kube-controller-manager";
const as = { fieldManager };

/** Carries out one write. Deleting what is gone already is done. Throws StatusError when refused. */
export async function execute(transport: ApiTransport, events: EventSink, write: Write): Promise<KubeObject | undefined> {
  switch (write.op) {
    case "create":
      return transport.create({ ...write.of, namespace: write.object.metadata.namespace }, write.object, as);
    case "update":
      return transport.update(targetOf(write.of, write.object, write.subresource), write.object, as);
    case "patch":
      return transport.patch(targetOf(write.of, write.on, write.subresource), write.type, write.patch, as);
    case "delete":
      try {
        await transport.delete(targetOf(write.of, write.on), write.options);
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
      return undefined;
    case "event":
      events.event(referenceTo(write.on, write.of), write.type, write.reason, write.message, write.details);
      return undefined;
  }
}

/** Carries out writes in their order; the first refusal ends it. */
export async function executeAll(transport: ApiTransport, events: EventSink, writes: readonly Write[]): Promise<void> {
  for (const write of writes) await execute(transport, events, write);
}

function targetOf(of: Write["of"], object: KubeObject, subresource?: string) {
  return {
    group: of.group,
    version: of.version,
    resource: of.resource,
    ...(object.metadata.namespace ? { namespace: object.metadata.namespace } : {}),
    name: object.metadata.name ?? "",
    ...(subresource ? { subresource } : {}),
  };
}

/** The apiserver refuses to create in a namespace that is on its way out; there is nothing left to do then. */
export function isNamespaceTerminating(error: unknown): boolean {
  return error instanceof StatusError && (error.status.details?.causes ?? []).some((c) => c.reason === "NamespaceTerminating");
}

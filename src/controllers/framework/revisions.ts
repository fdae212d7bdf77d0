// The part of history that talks to the apiserver: which revisions an owner
// has, and what to do when a name is taken.
import { deepEqual } from "../../api/equal.ts";
import type * as appsV1 from "../../api/gen/apps/v1.ts";
import type { KubeObject } from "../../api/object.ts";
import { isAlreadyExists } from "../../api/status.ts";
import type { EventSink } from "../../client/events.ts";
import type { Informer } from "../../client/informer.ts";
import { controllerRevisions } from "../../client/resources.ts";
import { type ControllerContext, execute } from "./context.ts";
import type { History } from "./history.ts";
import { byController, isControlledBy } from "./owners.ts";

export class Revisions<T extends KubeObject> {
  readonly #ctx: ControllerContext;
  readonly #events: EventSink;
  readonly #informer: Informer<appsV1.ControllerRevision>;

  constructor(ctx: ControllerContext, events: EventSink) {
    this.#ctx = ctx;
    this.#events = events;
    this.#informer = ctx.informers.for(controllerRevisions).addIndex(byController.name, byController.values);
  }

  of(owner: T): appsV1.ControllerRevision[] {
    return this.#informer.lister.byIndex(byController.name, owner.metadata.uid ?? "");
  }

  /** Writes what the history wants. Returns "collision" when another's revision has the name. */
  async commit(owner: T, history: History): Promise<"done" | "collision"> {
    for (const write of history.writes) {
      try {
        await execute(this.#ctx.transport, this.#events, write);
      } catch (error) {
        if (write.op !== "create" || !isAlreadyExists(error)) throw error;
        const { namespace, name = "" } = write.object.metadata;
        const found = await this.#ctx.transport.get<appsV1.ControllerRevision>({ ...controllerRevisions, namespace, name });
        const same = isControlledBy(found, owner) && deepEqual(found.data, (write.object as appsV1.ControllerRevision).data);
        if (!same) return "collision";
      }
    }
    return "done";
  }
}

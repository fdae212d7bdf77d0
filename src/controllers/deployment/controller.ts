// The shell of Deployments: watches them, their ReplicaSets and, for Recreate,
// their pods, and carries out what the core decides.
import type * as appsV1 from "../../api/gen/apps/v1.ts";
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { isAlreadyExists } from "../../api/status.ts";
import { type EventSink, referenceTo } from "../../client/events.ts";
import type { Informer } from "../../client/informer.ts";
import { deployments, keyOf, pods, replicaSets } from "../../client/resources.ts";
import { labelMatcher } from "../../client/selector.ts";
import { type Outcome, WorkQueue } from "../../client/workqueue.ts";
import {
  type Controller,
  type ControllerContext,
  execute,
  executeAll,
  isNamespaceTerminating,
  queueOptions,
} from "../framework/context.ts";
import { byController, claim, controllerOf, isControlledBy } from "../framework/owners.ts";
import { updateStatus, type Write } from "../framework/write.ts";
import { reconcileDeployment } from "./core.ts";
import { sameTemplate } from "./hash.ts";
import { hasProgressDeadline } from "./numbers.ts";
import { newCondition, reasons, withCondition } from "./status.ts";

export function deploymentController(ctx: ControllerContext, workers: number): Controller {
  return new DeploymentController(ctx, workers);
}

class DeploymentController implements Controller {
  readonly #ctx: ControllerContext;
  readonly #events: EventSink;
  readonly #deployments: Informer<appsV1.Deployment>;
  readonly #sets: Informer<appsV1.ReplicaSet>;
  readonly #pods: Informer<coreV1.Pod>;
  readonly #queue: WorkQueue;

  constructor(ctx: ControllerContext, workers: number) {
    this.#ctx = ctx;
    this.#events = ctx.events("deployment-controller");
    this.#queue = new WorkQueue("deployment", (key) => this.#reconcile(key), queueOptions(ctx, workers));
    this.#deployments = ctx.informers.for(deployments);
    this.#sets = ctx.informers.for(replicaSets).addIndex(byController.name, byController.values);
    this.#pods = ctx.informers.for(pods).addIndex(byController.name, byController.values);
    const enqueue = (d: appsV1.Deployment) => this.#queue.add(keyOf(d));
    this.#deployments.on({ add: enqueue, update: (_, d) => enqueue(d), delete: enqueue });
    this.#sets.on({
      add: (rs) => this.#setChanged(rs),
      update: (before, after) => {
        if (controllerOf(before)?.uid !== controllerOf(after)?.uid) this.#setChanged(before);
        this.#setChanged(after);
      },
      delete: (rs) => this.#setChanged(rs),
    });
    this.#pods.on({ delete: (pod) => this.#podGone(pod) });
  }

  start(): void {
    this.#queue.start();
  }

  stop(): Promise<void> {
    return this.#queue.stop();
  }

  #ownerOf(rs: appsV1.ReplicaSet): appsV1.Deployment | undefined {
    const ref = controllerOf(rs);
    if (ref?.kind !== deployments.kind) return undefined;
    const d = this.#deployments.lister.get(`${rs.metadata.namespace}/${ref.name}`);
    return d?.metadata.uid === ref.uid ? d : undefined;
  }

  #setChanged(rs: appsV1.ReplicaSet): void {
    if (controllerOf(rs)) {
      const d = this.#ownerOf(rs);
      if (d) this.#queue.add(keyOf(d));
      return;
    }
    for (const d of this.#deployments.lister.list(rs.metadata.namespace))
      if (labelMatcher(d.spec.selector)(rs.metadata.labels)) this.#queue.add(keyOf(d));
  }

  /** Recreate waits for the last old pod to be gone, and not just for its set to say so. */
  #podGone(pod: coreV1.Pod): void {
    const ref = controllerOf(pod);
    if (ref?.kind !== replicaSets.kind) return;
    const rs = this.#sets.lister.get(`${pod.metadata.namespace}/${ref.name}`);
    const d = rs && this.#ownerOf(rs);
    if (d?.spec.strategy?.type === "Recreate") this.#queue.add(keyOf(d));
  }

  async #reconcile(key: string): Promise<Outcome> {
    const d = this.#deployments.lister.get(key);
    if (!d) return;
    const candidates = [
      ...this.#sets.lister.byIndex(byController.name, d.metadata.uid ?? ""),
      ...this.#sets.lister.byIndex(byController.name, byController.orphans(d.metadata.namespace)),
    ];
    const claimed = claim(deployments, d, replicaSets, candidates, labelMatcher(d.spec.selector));
    if (claimed.adopt.length > 0) await this.#confirmAlive(d);
    await executeAll(this.#ctx.transport, this.#events, [...claimed.adopt, ...claimed.release]);
    // A set just adopted has a new version; its event brings us back here.
    if (claimed.adopt.length > 0) return;
    const plan = reconcileDeployment({
      deployment: d,
      sets: claimed.owned,
      podsOf: (rs) => this.#pods.lister.byIndex(byController.name, rs.metadata.uid ?? ""),
      now: this.#ctx.clock.now(),
    });
    for (const write of plan.writes) {
      if (write.op === "create") {
        if (!(await this.#createSet(d, write))) return;
      } else await execute(this.#ctx.transport, this.#events, write);
    }
    return plan.requeueAfter === undefined ? undefined : { requeueAfter: plan.requeueAfter };
  }

  /** Returns false when there is nothing more to do now: what is in the way will be told by an event. */
  async #createSet(d: appsV1.Deployment, write: Write & { op: "create" }): Promise<boolean> {
    const { transport } = this.#ctx;
    try {
      await execute(transport, this.#events, write);
      return true;
    } catch (error) {
      if (isNamespaceTerminating(error)) return false;
      if (isAlreadyExists(error)) return this.#nameTaken(d, write.object as appsV1.ReplicaSet, error);
      const message = error instanceof Error ? error.message : String(error);
      this.#events.event(
        referenceTo(d, deployments),
        "Warning",
        reasons.createError,
        `Failed to create new replica set ${JSON.stringify(write.object.metadata.name)}: ${message}`,
      );
      if (hasProgressDeadline(d)) {
        const failed = newCondition(
          "Progressing",
          "False",
          reasons.createError,
          `Failed to create new replica set ${JSON.stringify(write.object.metadata.name)}: ${message}`,
          this.#ctx.clock.now(),
        );
        const status = { ...d.status, conditions: withCondition(d.status?.conditions ?? [], failed) };
        await execute(transport, this.#events, updateStatus(deployments, { ...d, status }));
      }
      throw error;
    }
  }

  /** Ours already (the cache lags), or another template with the same hash, which then gets a new one. */
  async #nameTaken(d: appsV1.Deployment, wanted: appsV1.ReplicaSet, error: unknown): Promise<boolean> {
    const { namespace, name = "" } = wanted.metadata;
    const found = await this.#ctx.transport.get<appsV1.ReplicaSet>({ ...replicaSets, namespace, name });
    if (isControlledBy(found, d) && sameTemplate(found.spec.template, d.spec.template)) return false;
    const status = { ...d.status, collisionCount: (d.status?.collisionCount ?? 0) + 1 };
    await execute(this.#ctx.transport, this.#events, updateStatus(deployments, { ...d, status }));
    throw error;
  }

  async #confirmAlive(d: appsV1.Deployment): Promise<void> {
    const { namespace, name = "", uid } = d.metadata;
    const fresh = await this.#ctx.transport.get({ ...deployments, namespace, name });
    if (fresh.metadata.uid !== uid || fresh.metadata.deletionTimestamp)
      throw new Error(`Deployment ${namespace}/${name} is gone or being deleted, it can't adopt replica sets`);
  }
}

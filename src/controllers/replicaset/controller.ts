// The shell of ReplicaSets and ReplicationControllers: watches both and their
// pods, and carries out what the core decides.
import type * as appsV1 from "../../api/gen/apps/v1.ts";
import type * as coreV1 from "../../api/gen/core/v1.ts";
import type { KubeObject } from "../../api/object.ts";
import { type EventSink, referenceTo } from "../../client/events.ts";
import type { Informer } from "../../client/informer.ts";
import { type Collection, keyOf, pods, replicaSets, replicationControllers } from "../../client/resources.ts";
import { type LabelMatcher, labelMatcher, matchesLabels } from "../../client/selector.ts";
import { type Outcome, WorkQueue } from "../../client/workqueue.ts";
import { type Controller, type ControllerContext, execute, executeAll, isNamespaceTerminating } from "../framework/context.ts";
import { Expectations } from "../framework/expectations.ts";
import { byController, claim, controllerOf } from "../framework/owners.ts";
import { isActive, podFromTemplate } from "../framework/pods.ts";
import { slowStart } from "../framework/slow-start.ts";
import { create, remove, updateStatus } from "../framework/write.ts";
import { type Failure, manage, nextLook, nextStatus, type ReplicaSpec, type ReplicaStatus } from "./core.ts";

/** What tells the two kinds apart. */
interface Flavor<T extends KubeObject> {
  component: string;
  of: Collection<T>;
  spec(owner: T): ReplicaSpec;
  matcher(owner: T): LabelMatcher;
  template(owner: T): coreV1.PodTemplateSpec | undefined;
  status(owner: T): ReplicaStatus | undefined;
}

const replicaSetFlavor: Flavor<appsV1.ReplicaSet> = {
  component: "replicaset-controller",
  of: replicaSets,
  spec: (rs) => ({
    replicas: rs.spec.replicas ?? 1,
    minReadySeconds: rs.spec.minReadySeconds ?? 0,
    templateLabels: rs.spec.template?.metadata?.labels ?? {},
    deleting: !!rs.metadata.deletionTimestamp,
  }),
  matcher: (rs) => labelMatcher(rs.spec.selector),
  template: (rs) => rs.spec.template,
  status: (rs) => rs.status,
};

const replicationControllerFlavor: Flavor<coreV1.ReplicationController> = {
  component: "replication-controller",
  of: replicationControllers,
  spec: (rc) => ({
    replicas: rc.spec?.replicas ?? 1,
    minReadySeconds: rc.spec?.minReadySeconds ?? 0,
    templateLabels: rc.spec?.template?.metadata?.labels ?? {},
    deleting: !!rc.metadata.deletionTimestamp,
  }),
  matcher: (rc) => (labels) => matchesLabels(rc.spec?.selector, labels),
  template: (rc) => rc.spec?.template,
  status: (rc) => rc.status as ReplicaStatus | undefined,
};

export const replicaSetController = (ctx: ControllerContext, workers: number): Controller =>
  new ReplicaController(ctx, replicaSetFlavor, workers);
export const replicationController = (ctx: ControllerContext, workers: number): Controller =>
  new ReplicaController(ctx, replicationControllerFlavor, workers);

class ReplicaController<T extends KubeObject> implements Controller {
  readonly #ctx: ControllerContext;
  readonly #flavor: Flavor<T>;
  readonly #events: EventSink;
  readonly #owners: Informer<T>;
  readonly #pods: Informer<coreV1.Pod>;
  readonly #queue: WorkQueue;
  readonly #expectations: Expectations;

  constructor(ctx: ControllerContext, flavor: Flavor<T>, workers: number) {
    this.#ctx = ctx;
    this.#flavor = flavor;
    this.#events = ctx.events(flavor.component);
    this.#expectations = new Expectations(ctx.clock);
    this.#queue = new WorkQueue(flavor.of.resource, (key) => this.#reconcile(key), {
      workers,
      clock: ctx.clock,
      log: ctx.log,
      metrics: ctx.metrics,
    });
    this.#owners = ctx.informers.for(flavor.of).addIndex(byController.name, byController.values);
    this.#pods = ctx.informers.for(pods).addIndex(byController.name, byController.values);
    this.#owners.on({
      add: (o) => this.#queue.add(keyOf(o)),
      update: (_, o) => this.#queue.add(keyOf(o)),
      delete: (o) => {
        this.#expectations.forget(keyOf(o));
        this.#queue.add(keyOf(o));
      },
    });
    this.#pods.on({
      add: (pod) => this.#podAdded(pod),
      update: (before, after) => this.#podUpdated(before, after),
      delete: (pod) => this.#podDeleted(pod),
    });
  }

  start(): void {
    this.#queue.start();
  }

  stop(): Promise<void> {
    return this.#queue.stop();
  }

  /** The key of the owner that controls the pod, if it is ours and the very one. */
  #ownerKey(pod: coreV1.Pod): string | undefined {
    const ref = controllerOf(pod);
    if (!ref || ref.kind !== this.#flavor.of.kind) return undefined;
    const key = `${pod.metadata.namespace}/${ref.name}`;
    return this.#owners.lister.get(key)?.metadata.uid === ref.uid ? key : undefined;
  }

  #podAdded(pod: coreV1.Pod): void {
    if (pod.metadata.deletionTimestamp) {
      this.#podDeleted(pod);
      return;
    }
    const key = this.#ownerKey(pod);
    if (key) {
      this.#expectations.created(key);
      this.#queue.add(key);
    } else if (!controllerOf(pod)) this.#wakeAdopters(pod);
  }

  #podUpdated(before: coreV1.Pod, after: coreV1.Pod): void {
    if (after.metadata.deletionTimestamp) {
      // Graceful deletion shows as an update first; the replacement should not wait for its end.
      this.#podDeleted(after);
      if (controllerOf(before)?.uid !== controllerOf(after)?.uid) this.#podDeleted(before);
      return;
    }
    const key = this.#ownerKey(after);
    const past = this.#ownerKey(before);
    if (past && past !== key) this.#queue.add(past);
    if (key) this.#queue.add(key);
    else if (!controllerOf(after)) this.#wakeAdopters(after);
  }

  #podDeleted(pod: coreV1.Pod): void {
    const key = this.#ownerKey(pod);
    if (!key) return;
    this.#expectations.deleted(key, pod.metadata.uid ?? "");
    this.#queue.add(key);
  }

  #wakeAdopters(pod: coreV1.Pod): void {
    for (const owner of this.#owners.lister.list(pod.metadata.namespace))
      if (this.#flavor.matcher(owner)(pod.metadata.labels)) this.#queue.add(keyOf(owner));
  }

  async #reconcile(key: string): Promise<Outcome> {
    const owner = this.#owners.lister.get(key);
    if (!owner) {
      this.#expectations.forget(key);
      return;
    }
    const { of } = this.#flavor;
    const spec = this.#flavor.spec(owner);
    const settled = this.#expectations.satisfied(key);
    const children = [
      ...this.#pods.lister.byIndex(byController.name, owner.metadata.uid ?? ""),
      ...this.#pods.lister.byIndex(byController.name, byController.orphans(owner.metadata.namespace)).filter(isActive),
    ];
    const claimed = claim(of, owner, pods, children, this.#flavor.matcher(owner));
    if (claimed.adopt.length > 0) await this.#confirmAlive(owner);
    await executeAll(this.#ctx.transport, this.#events, [...claimed.adopt, ...claimed.release]);

    let failed: { failure?: Failure; error: unknown } | undefined;
    if (settled) failed = await this.#manage(key, owner, spec, claimed.owned);
    const now = this.#ctx.clock.now();
    const status = nextStatus(spec, owner.metadata.generation, this.#flavor.status(owner), claimed.owned, failed?.failure, now);
    if (status) await execute(this.#ctx.transport, this.#events, updateStatus(of, { ...owner, status }));
    if (failed) throw failed.error;
    const again = nextLook(spec, claimed.owned, now);
    return again === undefined ? undefined : { requeueAfter: again };
  }

  async #manage(key: string, owner: T, spec: ReplicaSpec, owned: coreV1.Pod[]): Promise<{ failure?: Failure; error: unknown } | undefined> {
    const todo = manage(spec, owned, () => this.#family(owner, owned), this.#ctx.clock.now());
    if (!todo) return undefined;
    return "create" in todo ? this.#createPods(key, owner, todo.create) : this.#deletePods(key, owner, todo.remove);
  }

  async #createPods(key: string, owner: T, count: number): Promise<{ failure?: Failure; error: unknown } | undefined> {
    const { of } = this.#flavor;
    const template = this.#flavor.template(owner);
    if (!template) return undefined;
    const pod = podFromTemplate(of, owner, template);
    this.#expectations.expectCreations(key, count);
    const { successes, error } = await slowStart(count, async () => {
      try {
        const made = await execute(this.#ctx.transport, this.#events, create(pods, pod));
        this.#say(owner, "Normal", "SuccessfulCreate", `Created pod: ${made?.metadata.name}`);
      } catch (error) {
        if (isNamespaceTerminating(error)) return;
        this.#say(owner, "Warning", "FailedCreate", `Error creating: ${messageOf(error)}`);
        throw error;
      }
    });
    if (error === undefined) return undefined;
    this.#expectations.created(key, count - successes);
    return { failure: { reason: "FailedCreate", message: messageOf(error) }, error };
  }

  async #deletePods(key: string, owner: T, victims: coreV1.Pod[]): Promise<{ failure?: Failure; error: unknown } | undefined> {
    this.#expectations.expectDeletions(
      key,
      victims.map((p) => p.metadata.uid ?? ""),
    );
    const results = await Promise.allSettled(
      victims.map(async (pod) => {
        try {
          await execute(this.#ctx.transport, this.#events, remove(pods, pod));
          this.#say(owner, "Normal", "SuccessfulDelete", `Deleted pod: ${pod.metadata.name}`);
        } catch (error) {
          this.#expectations.deleted(key, pod.metadata.uid ?? "");
          this.#say(owner, "Warning", "FailedDelete", `Error deleting: ${messageOf(error)}`);
          throw error;
        }
      }),
    );
    const failed = results.find((r) => r.status === "rejected");
    return failed ? { failure: { reason: "FailedDelete", message: messageOf(failed.reason) }, error: failed.reason } : undefined;
  }

  /** Pods of all owners that share this one's controller: old and new ReplicaSets of one Deployment. */
  #family(owner: T, owned: coreV1.Pod[]): coreV1.Pod[] {
    const parent = controllerOf(owner);
    if (!parent) return owned;
    return this.#owners.lister
      .byIndex(byController.name, parent.uid)
      .flatMap((o) => this.#pods.lister.byIndex(byController.name, o.metadata.uid ?? ""));
  }

  /** Adopting on a cache's word could give pods to an owner that is gone. Throws when it is. */
  async #confirmAlive(owner: T): Promise<void> {
    const { group, version, resource } = this.#flavor.of;
    const { namespace, name = "", uid } = owner.metadata;
    const fresh = await this.#ctx.transport.get({ group, version, resource, namespace, name });
    if (fresh.metadata.uid !== uid || fresh.metadata.deletionTimestamp)
      throw new Error(`${this.#flavor.of.kind} ${namespace}/${name} is gone or being deleted, it can't adopt pods`);
  }

  #say(owner: T, type: "Normal" | "Warning", reason: string, message: string): void {
    this.#events.event(referenceTo(owner, this.#flavor.of), type, reason, message);
  }
}

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));

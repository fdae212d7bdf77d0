// The shell of ReplicaSets and ReplicationControllers: watches both and their
// pods, and carries out what the core decides.
import type * as appsV1 from "../../api/gen/apps/v1.ts";
import type * as coreV1 from "../../api/gen/core/v1.ts";
import type { KubeObject } from "../../api/object.ts";
import type { EventSink } from "../../client/events.ts";
import { type Collection, keyOf, replicaSets, replicationControllers } from "../../client/resources.ts";
import { type LabelMatcher, labelMatcher, matchesLabels } from "../../client/selector.ts";
import { type Outcome, WorkQueue } from "../../client/workqueue.ts";
import { type Controller, type ControllerContext, execute, queueOptions } from "../framework/context.ts";
import { byController, controllerOf } from "../framework/owners.ts";
import { type Failed, PodControl } from "../framework/pod-control.ts";
import { podFromTemplate } from "../framework/pods.ts";
import { updateStatus } from "../framework/write.ts";
import { manage, nextLook, nextStatus, type ReplicaSpec, type ReplicaStatus } from "./core.ts";

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
  readonly #control: PodControl<T>;
  readonly #queue: WorkQueue;

  constructor(ctx: ControllerContext, flavor: Flavor<T>, workers: number) {
    this.#ctx = ctx;
    this.#flavor = flavor;
    this.#events = ctx.events(flavor.component);
    this.#queue = new WorkQueue(flavor.of.resource.slice(0, -1), (key) => this.#reconcile(key), queueOptions(ctx, workers));
    this.#control = new PodControl(ctx, {
      of: flavor.of,
      events: this.#events,
      matcher: flavor.matcher,
      wake: (key) => this.#queue.add(key),
    });
    const enqueue = (o: T) => this.#queue.add(keyOf(o));
    this.#control.owners.on({ add: enqueue, update: (_, o) => enqueue(o), delete: enqueue });
  }

  start(): void {
    this.#queue.start();
  }

  stop(): Promise<void> {
    return this.#queue.stop();
  }

  async #reconcile(key: string): Promise<Outcome> {
    const owner = this.#control.owners.lister.get(key);
    if (!owner) {
      this.#control.forget(key);
      return;
    }
    const spec = this.#flavor.spec(owner);
    const settled = this.#control.settled(key);
    const owned = await this.#control.claim(owner);
    const failed = settled ? await this.#manage(key, owner, spec, owned) : undefined;
    const now = this.#ctx.clock.now();
    const status = nextStatus(spec, owner.metadata.generation, this.#flavor.status(owner), owned, failed, now);
    if (status) await execute(this.#ctx.transport, this.#events, updateStatus(this.#flavor.of, { ...owner, status }));
    if (failed) throw failed.error;
    const again = nextLook(spec, owned, now);
    return again === undefined ? undefined : { requeueAfter: again };
  }

  async #manage(key: string, owner: T, spec: ReplicaSpec, owned: coreV1.Pod[]): Promise<Failed | undefined> {
    const todo = manage(spec, owned, () => this.#family(owner, owned), this.#ctx.clock.now());
    if (!todo) return undefined;
    if ("remove" in todo) return this.#control.remove(key, owner, todo.remove);
    const template = this.#flavor.template(owner);
    if (!template) return undefined;
    const pod = podFromTemplate(this.#flavor.of, owner, template);
    return this.#control.create(key, owner, Array<coreV1.Pod>(todo.create).fill(pod));
  }

  /** Pods of all owners that share this one's controller: old and new ReplicaSets of one Deployment. */
  #family(owner: T, owned: coreV1.Pod[]): coreV1.Pod[] {
    const parent = controllerOf(owner);
    if (!parent) return owned;
    return this.#control.owners.lister
      .byIndex(byController.name, parent.uid)
      .flatMap((o) => this.#control.pods.lister.byIndex(byController.name, o.metadata.uid ?? ""));
  }
}

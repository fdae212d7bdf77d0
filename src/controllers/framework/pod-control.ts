// What the shells of all kinds that own pods have in common: they hear of their
// pods, claim them, and make and delete them without doing so twice.
import type * as coreV1 from "../../api/gen/core/v1.ts";
import type { KubeObject } from "../../api/object.ts";
import { type EventSink, referenceTo } from "../../client/events.ts";
import type { Informer } from "../../client/informer.ts";
import { type Collection, keyOf, pods } from "../../client/resources.ts";
import type { LabelMatcher } from "../../client/selector.ts";
import { type ControllerContext, execute, executeAll, isNamespaceTerminating } from "./context.ts";
import { Expectations } from "./expectations.ts";
import { byController, claim, controllerOf } from "./owners.ts";
import { isActive } from "./pods.ts";
import { slowStart } from "./slow-start.ts";
import { create, remove } from "./write.ts";

/** Why a try to make or delete pods did not work. */
export interface Failed {
  reason: "FailedCreate" | "FailedDelete";
  message: string;
  error: unknown;
}

export interface PodControlOptions<T extends KubeObject> {
  /** The kind that owns. */
  of: Collection<T>;
  events: EventSink;
  matcher(owner: T): LabelMatcher;
  /** Called with the key of each owner that a pod's change concerns. */
  wake(key: string, pod: coreV1.Pod): void;
}

export class PodControl<T extends KubeObject> {
  readonly owners: Informer<T>;
  readonly pods: Informer<coreV1.Pod>;
  readonly #ctx: ControllerContext;
  readonly #options: PodControlOptions<T>;
  readonly #expectations: Expectations;

  constructor(ctx: ControllerContext, options: PodControlOptions<T>) {
    this.#ctx = ctx;
    this.#options = options;
    this.#expectations = new Expectations(ctx.clock);
    this.owners = ctx.informers.for(options.of).addIndex(byController.name, byController.values);
    this.pods = ctx.informers.for(pods).addIndex(byController.name, byController.values);
    this.owners.on({ delete: (o) => this.#expectations.forget(keyOf(o)) });
    this.pods.on({
      add: (pod) => this.#added(pod),
      update: (before, after) => this.#updated(before, after),
      delete: (pod) => this.#deleted(pod),
    });
  }

  /** The cache shows all that was done for this owner. */
  settled(key: string): boolean {
    return this.#expectations.satisfied(key);
  }

  forget(key: string): void {
    this.#expectations.forget(key);
  }

  /** The key of the owner that controls the pod, if it is of this kind and the very one. */
  ownerKey(pod: coreV1.Pod): string | undefined {
    const ref = controllerOf(pod);
    if (!ref || ref.kind !== this.#options.of.kind) return undefined;
    const key = `${pod.metadata.namespace}/${ref.name}`;
    return this.owners.lister.get(key)?.metadata.uid === ref.uid ? key : undefined;
  }

  #added(pod: coreV1.Pod): void {
    if (pod.metadata.deletionTimestamp) {
      this.#deleted(pod);
      return;
    }
    const key = this.ownerKey(pod);
    if (key) {
      this.#expectations.created(key);
      this.#options.wake(key, pod);
    } else if (!controllerOf(pod)) this.#wakeAdopters(pod);
  }

  #updated(before: coreV1.Pod, after: coreV1.Pod): void {
    const key = this.ownerKey(after);
    const past = this.ownerKey(before);
    // Graceful deletion shows as an update first; the replacement should not wait for its end.
    if (key && after.metadata.deletionTimestamp) this.#expectations.deleted(key, after.metadata.uid ?? "");
    if (past && past !== key) this.#options.wake(past, after);
    if (key) this.#options.wake(key, after);
    else if (!controllerOf(after) && !after.metadata.deletionTimestamp) this.#wakeAdopters(after);
  }

  #deleted(pod: coreV1.Pod): void {
    const key = this.ownerKey(pod);
    if (!key) return;
    this.#expectations.deleted(key, pod.metadata.uid ?? "");
    this.#options.wake(key, pod);
  }

  #wakeAdopters(pod: coreV1.Pod): void {
    for (const owner of this.owners.lister.list(pod.metadata.namespace))
      if (this.#options.matcher(owner)(pod.metadata.labels)) this.#options.wake(keyOf(owner), pod);
  }

  /** All pods of the owner, after adopting those that match and letting go those that do not. */
  async claim(owner: T, filter: (pod: coreV1.Pod) => boolean = () => true): Promise<coreV1.Pod[]> {
    const { of, events, matcher } = this.#options;
    const children = [
      ...this.pods.lister.byIndex(byController.name, owner.metadata.uid ?? ""),
      ...this.pods.lister.byIndex(byController.name, byController.orphans(owner.metadata.namespace)).filter(isActive),
    ].filter(filter);
    const claimed = claim(of, owner, pods, children, matcher(owner));
    if (claimed.adopt.length > 0) await this.#confirmAlive(owner);
    await executeAll(this.#ctx.transport, events, [...claimed.adopt, ...claimed.release]);
    return claimed.owned;
  }

  /** Adopting on a cache's word could give pods to an owner that is gone. Throws when it is. */
  async #confirmAlive(owner: T): Promise<void> {
    const { group, version, resource, kind } = this.#options.of;
    const { namespace, name = "", uid } = owner.metadata;
    const fresh = await this.#ctx.transport.get({ group, version, resource, namespace, name });
    if (fresh.metadata.uid !== uid || fresh.metadata.deletionTimestamp)
      throw new Error(`${kind} ${namespace}/${name} is gone or being deleted, it can't adopt pods`);
  }

  /** Makes the pods, in growing batches. */
  create(key: string, owner: T, wanted: readonly coreV1.Pod[]): Promise<Failed | undefined> {
    this.#expectations.expectCreations(key, wanted.length);
    return this.#create(key, owner, wanted);
  }

  async #create(key: string, owner: T, wanted: readonly coreV1.Pod[]): Promise<Failed | undefined> {
    const { events } = this.#options;
    const { successes, error } = await slowStart(wanted.length, async (i) => {
      try {
        const made = await execute(this.#ctx.transport, events, create(pods, wanted[i]!));
        this.#say(owner, "Normal", "SuccessfulCreate", `Created pod: ${made?.metadata.name}`);
      } catch (error) {
        if (isNamespaceTerminating(error)) return;
        this.#say(owner, "Warning", "FailedCreate", `Error creating: ${messageOf(error)}`);
        throw error;
      }
    });
    if (error === undefined) return undefined;
    this.#expectations.created(key, wanted.length - successes);
    return { reason: "FailedCreate", message: messageOf(error), error };
  }

  remove(key: string, owner: T, victims: readonly coreV1.Pod[]): Promise<Failed | undefined> {
    this.#expectations.expectDeletions(
      key,
      victims.map((p) => p.metadata.uid ?? ""),
    );
    return this.#remove(key, owner, victims);
  }

  async #remove(key: string, owner: T, victims: readonly coreV1.Pod[]): Promise<Failed | undefined> {
    const results = await Promise.allSettled(
      victims.map(async (pod) => {
        try {
          await execute(this.#ctx.transport, this.#options.events, remove(pods, pod));
          this.#say(owner, "Normal", "SuccessfulDelete", `Deleted pod: ${pod.metadata.name}`);
        } catch (error) {
          this.#expectations.deleted(key, pod.metadata.uid ?? "");
          this.#say(owner, "Warning", "FailedDelete", `Error deleting: ${messageOf(error)}`);
          throw error;
        }
      }),
    );
    const failed = results.find((r) => r.status === "rejected");
    return failed ? { reason: "FailedDelete", message: messageOf(failed.reason), error: failed.reason } : undefined;
  }

  /** Both in one go, for kinds that replace pods. */
  async createAndRemove(key: string, owner: T, wanted: readonly coreV1.Pod[], victims: readonly coreV1.Pod[]): Promise<Failed | undefined> {
    if (wanted.length === 0 && victims.length === 0) return undefined;
    this.#expectations.expect(
      key,
      wanted.length,
      victims.map((p) => p.metadata.uid ?? ""),
    );
    const [made, gone] = await Promise.all([this.#create(key, owner, wanted), this.#remove(key, owner, victims)]);
    return made ?? gone;
  }

  #say(owner: T, type: "Normal" | "Warning", reason: string, message: string): void {
    this.#options.events.event(referenceTo(owner, this.#options.of), type, reason, message);
  }
}

export const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));

// What a Deployment should do about its ReplicaSets. The steps are upstream's
// (k8s.io/kubernetes/pkg/controller/deployment); each looks at the sets as the
// steps before it will have left them.

import { deepEqual } from "../../api/equal.ts";
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { deployments, replicaSets } from "../../client/resources.ts";
import { selectsAll } from "../../client/selector.ts";
import { isTerminal } from "../framework/pods.ts";
import { create, event, type Plan, remove, update, updateStatus, type Write } from "../framework/write.ts";
import {
  actualPods,
  annotations,
  byCreation,
  byRevision,
  bySizeNewer,
  bySizeOlder,
  type Deployment,
  desiredAnnotation,
  hasProgressDeadline,
  isActiveSet,
  isRolling,
  maxSurge,
  maxUnavailable,
  newSetReplicas,
  proportion,
  type ReplicaSet,
  replicasOf,
  revisionOf,
  stayingPods,
  wantedPods,
} from "./numbers.ts";
import { findNewSet, makeNewSet, maxRevision, withRevision, withSizes } from "./revision.ts";
import {
  type Condition,
  calculate,
  conditionOf,
  type DeploymentStatus,
  isComplete,
  newCondition,
  reasons,
  rolloutStatus,
  untilStuck,
  withCondition,
} from "./status.ts";

export interface DeploymentInput {
  deployment: Deployment;
  /** The ReplicaSets that it controls. */
  sets: readonly ReplicaSet[];
  /** Pods of a set; only Recreate asks. */
  podsOf(set: ReplicaSet): readonly coreV1.Pod[];
  /** Milliseconds since the epoch. */
  now: number;
}

export function reconcileDeployment(input: DeploymentInput): Plan {
  const d = input.deployment;
  if (selectsAll(d.spec.selector)) {
    const writes: Write[] = [
      event(deployments, d, "Warning", "SelectingAll", "This deployment is selecting all pods. A non-empty selector is required."),
    ];
    if ((d.status?.observedGeneration ?? 0) < (d.metadata.generation ?? 0))
      writes.push(updateStatus(deployments, { ...d, status: { ...d.status, observedGeneration: d.metadata.generation } }));
    return { writes };
  }
  const rollout = new Rollout(input);
  if (d.metadata.deletionTimestamp) return rollout.finish(false);
  rollout.notePause();
  if (d.spec.paused || rollout.wasScaled) return rollout.scale();
  return isRolling(d) ? rollout.roll() : rollout.recreate();
}

class Rollout {
  readonly #d: Deployment;
  readonly #input: DeploymentInput;
  readonly #now: number;
  readonly #writes: Write[] = [];
  readonly #events: Write[] = [];
  #new: ReplicaSet | undefined;
  #old: ReplicaSet[];
  #conditions: readonly Condition[];
  #revision: string | undefined;

  constructor(input: DeploymentInput) {
    this.#input = input;
    this.#d = input.deployment;
    this.#now = input.now;
    this.#conditions = this.#d.status?.conditions ?? [];
    this.#revision = this.#d.metadata.annotations?.[annotations.revision];
    this.#new = findNewSet(this.#d, input.sets);
    this.#old = input.sets.filter((rs) => rs !== this.#new);
  }

  get #all(): ReplicaSet[] {
    return this.#new ? [...this.#old, this.#new] : [...this.#old];
  }

  /** The wanted number is not the one that the sets were sized for. */
  get wasScaled(): boolean {
    return this.#all.some((rs) => {
      const desired = isActiveSet(rs) ? desiredAnnotation(rs) : undefined;
      return desired !== undefined && desired !== replicasOf(this.#d);
    });
  }

  /** A pause is a condition, so that the time of it does not count towards the deadline. */
  notePause(): void {
    if (!hasProgressDeadline(this.#d)) return;
    const progressing = conditionOf(this.#conditions, "Progressing");
    if (progressing?.reason === reasons.timedOut) return;
    const noted = progressing?.reason === reasons.paused;
    if (this.#d.spec.paused && !noted) this.#progressing("Unknown", reasons.paused, "Deployment is paused");
    else if (!this.#d.spec.paused && noted) this.#progressing("Unknown", reasons.resumed, "Deployment is resumed");
  }

  #progressing(status: Condition["status"], reason: string, message: string): void {
    this.#conditions = withCondition(this.#conditions, newCondition("Progressing", status, reason, message, this.#now));
  }

  /** Brings the new set's annotations up to date, or makes it when `make` is set and there is none. */
  #syncNewSet(make: boolean): void {
    const revision = maxRevision(this.#old) + 1;
    if (this.#new) {
      const noted = withRevision(this.#new, this.#d, revision);
      const minReadySeconds = this.#d.spec.minReadySeconds ?? 0;
      const next = (noted.spec.minReadySeconds ?? 0) === minReadySeconds ? noted : { ...noted, spec: { ...noted.spec, minReadySeconds } };
      if (next !== this.#new) this.#replace(this.#new, next);
      this.#revision = String(revisionOf(next) || revision);
      if (hasProgressDeadline(this.#d) && !conditionOf(this.#conditions, "Progressing"))
        this.#progressing("True", reasons.foundNewSet, `Found new replica set ${JSON.stringify(next.metadata.name)}`);
      return;
    }
    if (!make) return;
    const made = makeNewSet(this.#d, this.#old, revision);
    this.#new = made;
    this.#writes.push(create(replicaSets, made));
    if (replicasOf(made) > 0) this.#say(`Scaled up replica set ${made.metadata.name} from 0 to ${replicasOf(made)}`);
    this.#revision = String(revision);
    if (hasProgressDeadline(this.#d))
      this.#progressing("True", reasons.newSetCreated, `Created new replica set ${JSON.stringify(made.metadata.name)}`);
  }

  /** Notes what a set will be, and writes it once, whatever several steps do to it. */
  #replace(before: ReplicaSet, after: ReplicaSet): void {
    const at = this.#writes.findIndex((w) => (w.op === "update" || w.op === "create") && w.object === before);
    const write = this.#writes[at];
    if (write?.op === "create") this.#writes[at] = create(replicaSets, after);
    else if (write) this.#writes[at] = update(replicaSets, after);
    else this.#writes.push(update(replicaSets, after));
    if (this.#new === before) this.#new = after;
    else this.#old = this.#old.map((rs) => (rs === before ? after : rs));
  }

  /** Returns whether the set's size changes. */
  #resize(rs: ReplicaSet, replicas: number): boolean {
    const before = replicasOf(rs);
    if (before === replicas) return false;
    this.#replace(rs, withSizes({ ...rs, spec: { ...rs.spec, replicas } }, this.#d));
    this.#say(`Scaled ${before < replicas ? "up" : "down"} replica set ${rs.metadata.name} from ${before} to ${replicas}`);
    return true;
  }

  #say(message: string): void {
    this.#events.push(event(deployments, this.#d, "Normal", "ScalingReplicaSet", message));
  }

  roll(): Plan {
    this.#syncNewSet(true);
    if (this.#growNew()) return this.finish(true);
    if (this.#shrinkOld()) return this.finish(true);
    this.#cleanUpWhenDone();
    return this.finish(true);
  }

  #growNew(): boolean {
    const rs = this.#new!;
    if (replicasOf(rs) === replicasOf(this.#d)) return false;
    if (replicasOf(rs) > replicasOf(this.#d)) return this.#resize(rs, replicasOf(this.#d));
    return this.#resize(rs, newSetReplicas(this.#d, this.#all, rs));
  }

  #shrinkOld(): boolean {
    const d = this.#d;
    if (wantedPods(this.#old) === 0) return false;
    const least = replicasOf(d) - maxUnavailable(d);
    const newUnavailable = replicasOf(this.#new!) - (this.#new!.status?.availableReplicas ?? 0);
    let room = wantedPods(this.#all) - least - newUnavailable;
    if (room <= 0) return false;
    let changed = false;
    // Unhealthy pods first: taking them away costs no availability, and they could block the rollout.
    for (const rs of [...this.#old].sort(byCreation)) {
      const unhealthy = replicasOf(rs) - (rs.status?.availableReplicas ?? 0);
      if (room <= 0) break;
      if (replicasOf(rs) === 0 || unhealthy <= 0) continue;
      const down = Math.min(room, unhealthy);
      changed = this.#resize(rs, replicasOf(rs) - down) || changed;
      room -= down;
    }
    let spare = stayingPods(this.#all) - least;
    for (const rs of [...this.#old].sort(byCreation)) {
      if (spare <= 0) break;
      if (replicasOf(rs) === 0) continue;
      const down = Math.min(replicasOf(rs), spare);
      changed = this.#resize(rs, replicasOf(rs) - down) || changed;
      spare -= down;
    }
    return changed;
  }

  recreate(): Plan {
    this.#syncNewSet(false);
    let shrunk = false;
    for (const rs of this.#old.filter(isActiveSet)) shrunk = this.#resize(rs, 0) || shrunk;
    if (shrunk || this.#oldPodsRun()) return this.finish(true);
    if (!this.#new) this.#syncNewSet(true);
    this.#resize(this.#new!, replicasOf(this.#d));
    this.#cleanUpWhenDone();
    return this.finish(true);
  }

  #oldPodsRun(): boolean {
    return actualPods(this.#old) > 0 || this.#old.some((rs) => this.#input.podsOf(rs).some((p) => !isTerminal(p)));
  }

  /** Paused, or sized for another number: sets change in size only, none is made. */
  scale(): Plan {
    this.#syncNewSet(false);
    this.#scaleSets();
    if (this.#d.spec.paused) this.#cleanUp();
    return this.finish(false);
  }

  #scaleSets(): void {
    const d = this.#d;
    const single = this.#activeOrLatest();
    if (single === "none") return;
    if (single) {
      this.#resize(single, replicasOf(d));
      return;
    }
    if (this.#isSaturated()) {
      for (const rs of this.#old.filter(isActiveSet)) this.#resize(rs, 0);
      return;
    }
    if (!isRolling(d)) return;
    const active = this.#all.filter(isActiveSet);
    const allowed = replicasOf(d) > 0 ? replicasOf(d) + maxSurge(d) : 0;
    const toAdd = allowed - wantedPods(active);
    if (toAdd > 0) active.sort(bySizeNewer);
    else if (toAdd < 0) active.sort(bySizeOlder);
    let added = 0;
    const sizes = active.map((rs) => {
      const part = proportion(rs, d, toAdd, added);
      added += part;
      return replicasOf(rs) + part;
    });
    // What rounding leaves goes to the largest.
    if (toAdd !== 0 && sizes.length > 0) sizes[0] = Math.max(0, sizes[0]! + toAdd - added);
    active.forEach((rs, i) => {
      const sized = withSizes(rs, d);
      if (!this.#resize(rs, sizes[i]!) && sized !== rs) this.#replace(rs, sized);
    });
  }

  /** The only set with pods, or without any the newest; undefined when there are several. */
  #activeOrLatest(): ReplicaSet | "none" | undefined {
    const active = this.#all.filter(isActiveSet);
    if (active.length > 1) return undefined;
    return active[0] ?? this.#new ?? [...this.#old].sort(byCreation).at(-1) ?? "none";
  }

  #isSaturated(): boolean {
    const rs = this.#new;
    if (!rs) return false;
    const wanted = replicasOf(this.#d);
    return replicasOf(rs) === wanted && desiredAnnotation(rs) === wanted && (rs.status?.availableReplicas ?? 0) === wanted;
  }

  #cleanUpWhenDone(): void {
    if (isComplete(this.#d, this.#d.status ?? {})) this.#cleanUp();
  }

  #cleanUp(): void {
    const limit = this.#d.spec.revisionHistoryLimit;
    if (limit === undefined || limit === 2147483647) return;
    const alive = this.#old.filter((rs) => !rs.metadata.deletionTimestamp);
    for (const rs of alive.sort(byRevision).slice(0, Math.max(0, alive.length - limit))) {
      const busy = (rs.status?.replicas ?? 0) !== 0 || replicasOf(rs) !== 0;
      if (busy || (rs.metadata.generation ?? 0) > (rs.status?.observedGeneration ?? 0)) continue;
      this.#writes.push(remove(replicaSets, rs));
    }
  }

  /** Adds the status, if it changes, and when to look at the deadline. */
  finish(rolling: boolean): Plan {
    const d = this.#d;
    const collisions = d.status?.collisionCount;
    const status: DeploymentStatus = rolling
      ? rolloutStatus(d, this.#all, this.#new, this.#conditions, collisions, this.#now)
      : calculate(d, this.#all, this.#new, this.#conditions, collisions, this.#now);
    const sameRevision = this.#revision === d.metadata.annotations?.[annotations.revision];
    const writes = [...this.#writes, ...this.#events];
    if (sameRevision && deepEqual(status, d.status)) {
      const requeueAfter = rolling ? untilStuck(d, status, this.#now) : undefined;
      return { writes, ...(requeueAfter === undefined ? {} : { requeueAfter }) };
    }
    const metadata = sameRevision
      ? d.metadata
      : { ...d.metadata, annotations: { ...d.metadata.annotations, [annotations.revision]: this.#revision! } };
    writes.push(updateStatus(deployments, { ...d, metadata, status }));
    return { writes };
  }
}

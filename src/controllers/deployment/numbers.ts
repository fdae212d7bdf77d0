// The arithmetic of a rollout (k8s.io/kubernetes/pkg/controller/deployment/util).
import type * as appsV1 from "../../api/gen/apps/v1.ts";

export type Deployment = appsV1.Deployment;
export type ReplicaSet = appsV1.ReplicaSet;

export const annotations = {
  revision: "deployment.kubernetes.io/revision",
  revisionHistory: "deployment.kubernetes.io/revision-history",
  desired: "deployment.kubernetes.io/desired-replicas",
  max: "deployment.kubernetes.io/max-replicas",
} as const;

/** A number, or a percentage of `total` rounded up or down. Anything else counts as 0. */
export function scaled(value: number | string | undefined, total: number, roundUp: boolean): number {
  if (typeof value === "number") return value;
  const match = /^(\d+)%$/.exec(value ?? "");
  if (!match) return 0;
  const exact = (Number(match[1]) * total) / 100;
  return roundUp ? Math.ceil(exact) : Math.floor(exact);
}

export const replicasOf = (o: Deployment | ReplicaSet): number => o.spec.replicas ?? 1;
export const isRolling = (d: Deployment): boolean => (d.spec.strategy?.type ?? "RollingUpdate") === "RollingUpdate";

/** Pods over and under the wanted number that a rolling update may go. At least one is above zero. */
export function fenceposts(d: Deployment): { surge: number; unavailable: number } {
  const rolling = d.spec.strategy?.rollingUpdate;
  const surge = scaled(rolling?.maxSurge ?? "25%", replicasOf(d), true);
  const unavailable = scaled(rolling?.maxUnavailable ?? "25%", replicasOf(d), false);
  return surge === 0 && unavailable === 0 ? { surge, unavailable: 1 } : { surge, unavailable };
}

export const maxSurge = (d: Deployment): number => (isRolling(d) ? fenceposts(d).surge : 0);

export function maxUnavailable(d: Deployment): number {
  if (!isRolling(d) || replicasOf(d) === 0) return 0;
  return Math.min(fenceposts(d).unavailable, replicasOf(d));
}

/** An absent deadline is none at all; the apiserver defaults it to 600 s. */
export const hasProgressDeadline = (d: Deployment): boolean =>
  d.spec.progressDeadlineSeconds !== undefined && d.spec.progressDeadlineSeconds !== 2147483647;

export const wantedPods = (sets: readonly ReplicaSet[]): number => sets.reduce((n, rs) => n + replicasOf(rs), 0);
export const actualPods = (sets: readonly ReplicaSet[]): number => sets.reduce((n, rs) => n + (rs.status?.replicas ?? 0), 0);
export const readyPods = (sets: readonly ReplicaSet[]): number => sets.reduce((n, rs) => n + (rs.status?.readyReplicas ?? 0), 0);
export const availablePods = (sets: readonly ReplicaSet[]): number => sets.reduce((n, rs) => n + (rs.status?.availableReplicas ?? 0), 0);
/** Available pods without those that a set has been told to take away but still counts. */
export const stayingPods = (sets: readonly ReplicaSet[]): number =>
  sets.reduce((n, rs) => n + Math.min(rs.status?.availableReplicas ?? 0, replicasOf(rs)), 0);
export const isActiveSet = (rs: ReplicaSet): boolean => replicasOf(rs) > 0;

/** Revision as its annotation says; 0 when it says none. */
export function revisionOf(o: Deployment | ReplicaSet): number {
  const n = Number(o.metadata.annotations?.[annotations.revision] ?? 0);
  return Number.isSafeInteger(n) ? n : 0;
}

function numberAnnotation(rs: ReplicaSet, name: string): number | undefined {
  const text = rs.metadata.annotations?.[name];
  return text !== undefined && /^-?\d+$/.test(text) ? Number(text) : undefined;
}
export const desiredAnnotation = (rs: ReplicaSet) => numberAnnotation(rs, annotations.desired);
export const maxAnnotation = (rs: ReplicaSet) => numberAnnotation(rs, annotations.max);

const createdAt = (rs: ReplicaSet) => Date.parse(rs.metadata.creationTimestamp ?? "") || 0;
const byName = (a: ReplicaSet, b: ReplicaSet) => ((a.metadata.name ?? "") < (b.metadata.name ?? "") ? -1 : 1);

export const byCreation = (a: ReplicaSet, b: ReplicaSet): number => createdAt(a) - createdAt(b) || byName(a, b);
/** Largest first; of equal size the newer. */
export const bySizeNewer = (a: ReplicaSet, b: ReplicaSet): number => replicasOf(b) - replicasOf(a) || byCreation(b, a);
/** Largest first; of equal size the older. */
export const bySizeOlder = (a: ReplicaSet, b: ReplicaSet): number => replicasOf(b) - replicasOf(a) || byCreation(a, b);
export const byRevision = (a: ReplicaSet, b: ReplicaSet): number => revisionOf(a) - revisionOf(b) || byCreation(a, b);

/** How many pods the new set should ask for without going over maxSurge. */
export function newSetReplicas(d: Deployment, all: readonly ReplicaSet[], newSet: ReplicaSet): number {
  if (!isRolling(d)) return replicasOf(d);
  const room = replicasOf(d) + maxSurge(d) - wantedPods(all);
  if (room <= 0) return replicasOf(newSet);
  return replicasOf(newSet) + Math.min(room, replicasOf(d) - replicasOf(newSet));
}

/** Part of a scaling that falls to one set, in proportion to its size. */
export function proportion(rs: ReplicaSet, d: Deployment, toAdd: number, added: number): number {
  if (replicasOf(rs) === 0 || toAdd === 0 || toAdd === added) return 0;
  const share = fraction(rs, d);
  const left = toAdd - added;
  return toAdd > 0 ? Math.min(share, left) : Math.max(share, left);
}

function fraction(rs: ReplicaSet, d: Deployment): number {
  if (replicasOf(d) === 0) return -replicasOf(rs);
  const before = maxAnnotation(rs) || d.status?.replicas || 0;
  if (before === 0) return 0;
  return roundHalfAway((replicasOf(rs) * (replicasOf(d) + maxSurge(d))) / before) - replicasOf(rs);
}

const roundHalfAway = (x: number) => (x < 0 ? -Math.round(-x) : Math.round(x));

// Who owns whom, over all kinds, and what a change of it sets off
// (k8s.io/kubernetes/pkg/controller/garbagecollector, graph_builder.go).
import type * as metaV1 from "../../api/gen/meta/v1.ts";
import type { KubeObject } from "../../api/object.ts";
import type { Collection } from "../../client/resources.ts";

export const foregroundFinalizer = "foregroundDeletion";
export const orphanFinalizer = "orphan";

export interface GraphNode {
  readonly uid: string;
  apiVersion: string;
  kind: string;
  /** Undefined while the kind is known by an owner reference only. */
  of: Collection | undefined;
  namespace: string | undefined;
  name: string;
  owners: readonly metaV1.OwnerReference[];
  readonly dependents: Set<GraphNode>;
  beingDeleted: boolean;
  /** Its deletion waits for the dependents that block it. */
  deletingDependents: boolean;
  /** Its deletion waits for its dependents to be let go. */
  orphaning: boolean;
  /** Named by a dependent, not seen itself. */
  virtual: boolean;
}

/** Nodes to look at: whether they must be deleted, or their dependents orphaned. */
export interface Effects {
  attempt: Set<GraphNode>;
  orphan: Set<GraphNode>;
}

export class Graph {
  readonly #nodes = new Map<string, GraphNode>();

  get size(): number {
    return this.#nodes.size;
  }

  get(uid: string): GraphNode | undefined {
    return this.#nodes.get(uid);
  }

  /** An object was made or has changed. */
  upsert(of: Collection, object: KubeObject, effects: Effects): void {
    const m = object.metadata;
    const uid = m.uid ?? "";
    const owners = m.ownerReferences ?? [];
    let node = this.#nodes.get(uid);
    const isNew = !node || node.virtual;
    if (!node) {
      node = this.#make(uid, m.name ?? "");
    }
    node.virtual = false;
    node.of = of;
    node.kind = of.kind;
    node.apiVersion = of.group === "" ? of.version : `${of.group}/${of.version}`;
    node.namespace = m.namespace;
    node.name = m.name ?? "";
    const before = node.owners;
    if (before !== owners && (before.length > 0 || owners.length > 0)) {
      node.owners = owners;
      for (const o of owners) if (!before.some((b) => b.uid === o.uid)) this.#join(node, o, effects);
      for (const b of before) {
        const now = owners.find((o) => o.uid === b.uid);
        if (!now) this.#nodes.get(b.uid)?.dependents.delete(node);
        // A dependent that no longer blocks may be the last that its owner waited for.
        if (b.blockOwnerDeletion && !now?.blockOwnerDeletion) this.#wakeWaitingOwner(b.uid, effects);
      }
    }
    const finalizers = m.finalizers ?? [];
    const deleting = !!m.deletionTimestamp;
    if (deleting) node.beingDeleted = true;
    if (deleting && !node.orphaning && finalizers.includes(orphanFinalizer)) {
      node.orphaning = true;
      effects.orphan.add(node);
    }
    if (deleting && finalizers.includes(foregroundFinalizer) && (!node.deletingDependents || isNew)) {
      node.deletingDependents = true;
      for (const d of node.dependents) effects.attempt.add(d);
      effects.attempt.add(node);
    }
  }

  /** An object is gone. */
  remove(uid: string, effects: Effects): void {
    const node = this.#nodes.get(uid);
    if (!node) return;
    this.#nodes.delete(uid);
    for (const o of node.owners) {
      this.#nodes.get(o.uid)?.dependents.delete(node);
      this.#wakeWaitingOwner(o.uid, effects);
    }
    for (const d of node.dependents) effects.attempt.add(d);
  }

  #make(uid: string, name: string): GraphNode {
    const node: GraphNode = {
      uid,
      apiVersion: "",
      kind: "",
      of: undefined,
      namespace: undefined,
      name,
      owners: [],
      dependents: new Set(),
      beingDeleted: false,
      deletingDependents: false,
      orphaning: false,
      virtual: false,
    };
    this.#nodes.set(uid, node);
    return node;
  }

  #join(node: GraphNode, ref: metaV1.OwnerReference, effects: Effects): void {
    let owner = this.#nodes.get(ref.uid);
    if (!owner) {
      // Not seen yet, or never to be: the apiserver will tell.
      owner = this.#make(ref.uid, ref.name);
      owner.virtual = true;
      owner.apiVersion = ref.apiVersion;
      owner.kind = ref.kind;
      owner.namespace = node.namespace;
      effects.attempt.add(owner);
    }
    owner.dependents.add(node);
    if (owner.deletingDependents) effects.attempt.add(node);
  }

  #wakeWaitingOwner(uid: string, effects: Effects): void {
    const owner = this.#nodes.get(uid);
    if (owner?.deletingDependents) effects.attempt.add(owner);
  }
}

/** Dependents that the deletion of this owner has to wait for. */
export function blockingDependents(node: GraphNode): GraphNode[] {
  return [...node.dependents].filter((d) => d.owners.some((o) => o.uid === node.uid && o.blockOwnerDeletion));
}

export type OwnerState = "solid" | "dangling" | "waiting";

export type Verdict =
  | { do: "nothing" }
  /** Owner references to take away, as some owners are gone and others are not. */
  | { do: "unlink"; uids: string[] }
  | { do: "delete"; policy: "Background" | "Foreground" | "Orphan"; unblock: boolean };

/**
 * What should become of an object, by what its owners are.
 * @param dependentsDelete Whether one of its own dependents waits in a foreground deletion.
 */
export function judge(
  owners: readonly metaV1.OwnerReference[],
  state: (ref: metaV1.OwnerReference) => OwnerState,
  finalizers: readonly string[],
  hasDependents: boolean,
  dependentsDelete: boolean,
): Verdict {
  if (owners.length === 0) return { do: "nothing" };
  const states = owners.map((o) => [o, state(o)] as const);
  const gone = states.filter(([, s]) => s !== "solid");
  if (gone.length < owners.length) return gone.length === 0 ? { do: "nothing" } : { do: "unlink", uids: gone.map(([o]) => o.uid) };
  if (states.some(([, s]) => s === "waiting") && hasDependents) {
    // A circle of blocking references would never end; this link of it gives way.
    return { do: "delete", policy: "Foreground", unblock: dependentsDelete };
  }
  if (finalizers.includes(orphanFinalizer)) return { do: "delete", policy: "Orphan", unblock: false };
  if (finalizers.includes(foregroundFinalizer)) return { do: "delete", policy: "Foreground", unblock: false };
  return { do: "delete", policy: "Background", unblock: false };
}

// Who controls what: owner references, adoption and release
// (k8s.io/kubernetes/pkg/controller, controller_ref_manager.go).
import type * as metaV1 from "../../api/gen/meta/v1.ts";
import { apiVersion, type KubeObject } from "../../api/object.ts";
import type { Collection } from "../../client/resources.ts";
import type { LabelMatcher } from "../../client/selector.ts";
import { patch, type Write } from "./write.ts";

export function controllerOf(object: KubeObject): metaV1.OwnerReference | undefined {
  const owners = object.metadata.ownerReferences;
  if (owners) for (const o of owners) if (o.controller) return o;
  return undefined;
}

/** The owner reference that makes `owner` the controller. */
export function controllerReference<T extends KubeObject>(of: Collection<T>, owner: T): metaV1.OwnerReference {
  return {
    apiVersion: apiVersion(of),
    kind: of.kind,
    name: owner.metadata.name ?? "",
    uid: owner.metadata.uid ?? "",
    controller: true,
    blockOwnerDeletion: true,
  };
}

export function isControlledBy(object: KubeObject, owner: KubeObject): boolean {
  return controllerOf(object)?.uid === owner.metadata.uid;
}

/** Index values for informers: by the controller's uid, and orphans by namespace. */
export const byController = {
  name: "controller",
  values: (o: KubeObject): readonly string[] => {
    const c = controllerOf(o);
    return [c ? c.uid : `orphan/${o.metadata.namespace ?? ""}`];
  },
  orphans: (namespace: string | undefined) => `orphan/${namespace ?? ""}`,
};

export interface Claimed<T> {
  /** What the owner controls, or will once the writes are done. */
  owned: T[];
  adopt: Write[];
  release: Write[];
}

/** Sorts children into those kept, those to adopt, and those to let go. */
export function claim<O extends KubeObject, T extends KubeObject>(
  ownerOf: Collection<O>,
  owner: O,
  of: Collection<T>,
  children: Iterable<T>,
  matches: LabelMatcher,
): Claimed<T> {
  const claimed: Claimed<T> = { owned: [], adopt: [], release: [] };
  for (const child of children) {
    const controller = controllerOf(child);
    if (controller) {
      if (controller.uid !== owner.metadata.uid) continue;
      if (matches(child.metadata.labels)) claimed.owned.push(child);
      else if (!owner.metadata.deletionTimestamp) claimed.release.push(releasing(of, child, owner));
      continue;
    }
    if (owner.metadata.deletionTimestamp || child.metadata.deletionTimestamp || !matches(child.metadata.labels)) continue;
    claimed.adopt.push(adopting(ownerOf, owner, of, child));
    claimed.owned.push(child);
  }
  return claimed;
}

const adopting = <O extends KubeObject, T extends KubeObject>(ownerOf: Collection<O>, owner: O, of: Collection<T>, child: T): Write =>
  patch(of, child, "strategic", {
    metadata: { ownerReferences: [controllerReference(ownerOf, owner)], uid: child.metadata.uid },
  });

const releasing = <T extends KubeObject>(of: Collection<T>, child: T, owner: KubeObject): Write =>
  patch(of, child, "strategic", {
    metadata: { ownerReferences: [{ $patch: "delete", uid: owner.metadata.uid }], uid: child.metadata.uid },
  });

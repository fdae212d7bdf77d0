// The scale subresource: how many replicas, in autoscaling/v1 words.
import { deepFreeze } from "../../api/equal.ts";
import type { KubeObject } from "../../api/object.ts";
import { kindOf } from "../../api/schema.ts";
import { labelSelectorAsSelector } from "../../api/selectors.ts";
import { conflict } from "../../api/status.ts";
import { fresh } from "../registry/patch.ts";
import { named } from "../registry/read.ts";
import type { Stored } from "../registry/strategy.ts";
import { modifiedText, update } from "../registry/write.ts";
import { Entry } from "../storage/entry.ts";
import type { Subresource } from "./table.ts";

const info = kindOf({ group: "autoscaling", version: "v1", kind: "Scale" })!;

function scaleOf(object: Stored): KubeObject {
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata;
  const { selector } = object.spec ?? {};
  // A ReplicationController's selector is a plain map.
  const labels = object.kind === "ReplicationController" ? { matchLabels: selector } : selector;
  const text = selector ? labelSelectorAsSelector(labels).toString() : "";
  return deepFreeze({
    kind: "Scale",
    apiVersion: "autoscaling/v1",
    metadata: { name, namespace, uid, resourceVersion, creationTimestamp },
    spec: object.spec?.replicas ? { replicas: object.spec.replicas } : {},
    status: { replicas: object.status?.replicas ?? 0, ...(text ? { selector: text } : {}) },
  } as KubeObject);
}

const scaleEntry = (entry: Entry): Entry => new Entry(entry.key, entry.revision, scaleOf(entry.object as Stored));

export const scale: Subresource = {
  kind: info,
  read: scaleEntry,
  async write(registry, resource, context, target, next) {
    const { entry, created } = await update(
      registry,
      resource,
      context,
      target.namespace,
      target.name,
      (current) => {
        const wanted = next(scaleOf(current as Stored));
        const { resourceVersion } = wanted.metadata;
        if (resourceVersion && resourceVersion !== current!.metadata.resourceVersion)
          throw conflict(named(resource), target.name, modifiedText);
        const object = fresh(current!);
        object.spec = { ...object.spec, replicas: wanted.spec?.replicas ?? 0 };
        return object;
      },
      { subresource: "scale", prepare: () => {} },
    );
    return { entry: scaleEntry(entry), created };
  },
};

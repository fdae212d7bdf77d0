// pods/binding: how a scheduler tells where a pod goes.
import { kindOf } from "../../api/schema.ts";
import { badRequest, conflict, invalid } from "../../api/status.ts";
import { fresh } from "../registry/patch.ts";
import { timestamp } from "../registry/registry.ts";
import type { Stored } from "../registry/strategy.ts";
import { update } from "../registry/write.ts";
import { success } from "./success.ts";
import type { Subresource } from "./table.ts";

const info = kindOf({ group: "", version: "v1", kind: "Binding" })!;

export const binding: Subresource = {
  kind: info,
  async create(registry, resource, context, target, object) {
    const node: string = object.target?.name ?? "";
    if (object.target?.kind && object.target.kind !== "Node")
      throw invalid({ kind: "Binding" }, target.name, [
        {
          reason: "FieldValueNotSupported",
          field: "target.kind",
          message: `Unsupported value: ${JSON.stringify(object.target.kind)}: supported values: "Node", "<empty>"`,
        },
      ]);
    if (!node)
      throw invalid({ kind: "Binding" }, target.name, [{ reason: "FieldValueRequired", field: "target.name", message: "Required value" }]);
    const { uid, resourceVersion, name, labels = {}, annotations = {} } = object.metadata;
    if (name && name !== target.name) throw badRequest("name in URL does not match name in Binding object");
    const refuse = (why: string) => conflict({ resource: "pods/binding" }, target.name, why);
    await update(
      registry,
      resource,
      context,
      target.namespace,
      target.name,
      (current) => {
        const pod = current as Stored;
        if (uid && uid !== pod.metadata.uid)
          throw refuse(`Precondition failed: UID in precondition: ${uid}, UID in object meta: ${pod.metadata.uid}`);
        if (resourceVersion && resourceVersion !== pod.metadata.resourceVersion)
          throw refuse(
            `Precondition failed: ResourceVersion in precondition: ${resourceVersion}, ResourceVersion in object meta: ${pod.metadata.resourceVersion}`,
          );
        if (pod.metadata.deletionTimestamp) throw refuse(`pod ${target.name} is being deleted, cannot be assigned to a host`);
        if (pod.spec?.nodeName) throw refuse(`pod ${target.name} is already assigned to node ${JSON.stringify(pod.spec.nodeName)}`);
        if (pod.spec?.schedulingGates?.length) throw refuse(`pod ${target.name} has non-empty .spec.schedulingGates`);
        const next = fresh(pod);
        next.spec.nodeName = node;
        next.metadata.annotations = { ...next.metadata.annotations, ...annotations };
        next.metadata.labels = { ...next.metadata.labels, ...labels };
        for (const field of ["annotations", "labels"] as const)
          if (Object.keys(next.metadata[field] ?? {}).length === 0) delete next.metadata[field];
        const conditions: { type: string }[] = next.status?.conditions ?? [];
        next.status = {
          ...next.status,
          conditions: [
            ...conditions.filter((c) => c.type !== "PodScheduled"),
            { type: "PodScheduled", status: "True", lastProbeTime: null, lastTransitionTime: timestamp(registry.now()) },
          ],
        };
        return next;
      },
      { subresource: "binding", prepare: () => {} },
    );
    return success(201);
  },
};

// Nothing is made in a namespace that is not there, or on its way out; and the
// namespaces that the cluster needs can't be deleted.
import type * as core from "../../api/gen/core/v1.ts";
import { forbidden, notFound, StatusError } from "../../api/status.ts";
import type { AdmissionPlugin } from "./admission.ts";

const IMMORTAL = new Set(["default", "kube-system", "kube-public"]);

export const namespaceLifecycle: AdmissionPlugin = {
  name: "NamespaceLifecycle",
  async admit({ operation, kind, object }, source) {
    const name = object.metadata.name ?? "";
    if (kind.group === "" && kind.kind === "Namespace") {
      if (operation === "delete" && IMMORTAL.has(name))
        throw forbidden({ resource: "namespaces" }, name, "this namespace may not be deleted");
      return;
    }
    if (operation !== "create" || !kind.namespaced) return;
    // Reviews answer a question and are never stored.
    if (kind.kind === "LocalSubjectAccessReview") return;
    const namespace = object.metadata.namespace ?? "";
    const found = (await source.get("", "namespaces", undefined, namespace)) as core.Namespace | undefined;
    if (!found) throw notFound({ resource: "namespaces" }, namespace);
    if (found.status?.phase !== "Terminating" && !found.metadata.deletionTimestamp) return;
    const refusal = forbidden(
      { group: kind.group, resource: kind.plural },
      name,
      `unable to create new content in namespace ${namespace} because it is being terminated`,
    );
    throw new StatusError({
      ...refusal.status,
      details: {
        ...refusal.status.details,
        causes: [{ reason: "NamespaceTerminating", message: `namespace ${namespace} is being terminated`, field: "metadata.namespace" }],
      },
    });
  },
};

// Pods (k8s.io/kubernetes/pkg/registry/core/pod/strategy.go).
import { qosClass } from "./qos.ts";
import type { Fresh, Stored, Strategy } from "./strategy.ts";

function prepareCreate(pod: Fresh): void {
  pod.metadata.generation = 1;
  pod.status = { phase: "Pending", qosClass: qosClass(pod.spec ?? {}) };
  if (pod.spec?.schedulingGates?.length && !pod.spec.nodeName)
    pod.status.conditions = [
      {
        type: "PodScheduled",
        status: "False",
        reason: "SchedulingGated",
        message: "Scheduling is blocked due to non-empty scheduling gates",
      },
    ];
}

/** A pod that never ran goes at once (podStrategy.CheckGracefulDelete). */
function gracePeriod(pod: Stored, asked: number | undefined): number {
  let period = asked ?? pod.spec?.terminationGracePeriodSeconds ?? 30;
  if (!pod.spec?.nodeName) period = 0;
  if (pod.status?.phase === "Failed" || pod.status?.phase === "Succeeded") period = 0;
  return period < 0 ? 1 : period;
}

function fields(pod: Stored): Record<string, string> {
  const { spec = {}, status = {} } = pod;
  return {
    "spec.nodeName": spec.nodeName ?? "",
    "spec.restartPolicy": spec.restartPolicy ?? "",
    "spec.schedulerName": spec.schedulerName ?? "",
    "spec.serviceAccountName": spec.serviceAccountName ?? "",
    "spec.hostNetwork": String(spec.hostNetwork ?? false),
    "status.phase": status.phase ?? "",
    "status.podIP": status.podIPs?.[0]?.ip ?? status.podIP ?? "",
    "status.nominatedNodeName": status.nominatedNodeName ?? "",
  };
}

export const podStrategies: Record<string, Strategy> = {
  "/pods": {
    generation: true,
    returnsDeleted: true,
    prepareCreate,
    prepareStatus: (next, old) => {
      next.metadata.deletionTimestamp = old.metadata.deletionTimestamp;
      next.metadata.ownerReferences = old.metadata.ownerReferences as Fresh["metadata"]["ownerReferences"];
      next.status = { ...next.status, qosClass: old.status?.qosClass ?? next.status?.qosClass };
    },
    gracePeriod,
    fields,
    indexes: { "spec.nodeName": (e) => (e.object as Stored).spec?.nodeName ?? "" },
  },
};

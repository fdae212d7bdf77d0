// apps, batch, autoscaling and policy: what their controllers work on.
import { deepEqual } from "../../api/equal.ts";
import type { Fresh, Strategy } from "./strategy.ts";

const workload: Strategy = {
  generation: true,
  statusKeeps: ["labels"],
};

/** A Job without a selector of its own gets one from its UID (pkg/registry/batch/job, generateSelector). */
function jobCreate(job: Fresh): void {
  const spec = job.spec;
  if (!spec?.template || spec.manualSelector) return;
  spec.template.metadata ??= {};
  spec.template.metadata.labels ??= {};
  const labels = spec.template.metadata.labels;
  const uid = job.metadata.uid ?? "";
  const name = job.metadata.name ?? "";
  labels["controller-uid"] ??= uid;
  labels["batch.kubernetes.io/controller-uid"] ??= uid;
  labels["job-name"] ??= name;
  labels["batch.kubernetes.io/job-name"] ??= name;
  spec.selector ??= {};
  spec.selector.matchLabels ??= {};
  spec.selector.matchLabels["batch.kubernetes.io/controller-uid"] ??= uid;
}

export const appsStrategies: Record<string, Strategy> = {
  "apps/deployments": {
    ...workload,
    // A change of annotations alone counts too: the rollout history reads them.
    generation: (next, old) => !deepEqual(next.spec, old.spec) || !deepEqual(next.metadata.annotations, old.metadata.annotations),
  },
  "apps/replicasets": { ...workload, fields: (rs) => ({ "status.replicas": String(rs.status?.replicas ?? 0) }) },
  "apps/daemonsets": {
    ...workload,
    prepareCreate: (ds) => {
      if (ds.spec) ds.spec.templateGeneration = undefined;
    },
  },
  "apps/statefulsets": { generation: true, statusKeeps: ["labels"] },
  "/replicationcontrollers": {
    generation: true,
    fields: (rc) => ({ "status.replicas": String(rc.status?.replicas ?? 0) }),
  },
  "batch/jobs": {
    generation: true,
    prepareCreate: jobCreate,
    fields: (job) => ({ "status.successful": String(job.status?.succeeded ?? 0) }),
  },
  "batch/cronjobs": { generation: true },
  "policy/poddisruptionbudgets": { generation: true },
};

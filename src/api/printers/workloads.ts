// Rows of apps, batch, autoscaling and policy.
import type * as apps from "../gen/apps/v1.ts";
import type * as autoscaling from "../gen/autoscaling/v2.ts";
import type * as batch from "../gen/batch/v1.ts";
import type * as policy from "../gen/policy/v1.ts";
import { formatLabelSelector } from "../selectors.ts";
import { AGE, age, containers, humanDuration, joined, NAME, name, number, type Printer, since, text, wide } from "./column.ts";

export const deployment: Printer<apps.Deployment> = {
  columns: [NAME, text("Ready"), number("Up-to-date"), number("Available"), AGE, wide("Containers"), wide("Images"), wide("Selector")],
  cells: (d) => [
    name(d),
    `${d.status?.readyReplicas ?? 0}/${d.spec.replicas ?? 0}`,
    d.status?.updatedReplicas ?? 0,
    d.status?.availableReplicas ?? 0,
    age(d),
    ...containers(d.spec.template?.spec),
    formatLabelSelector(d.spec.selector),
  ],
};

export const replicaSet: Printer<apps.ReplicaSet> = {
  columns: [NAME, number("Desired"), number("Current"), number("Ready"), AGE, wide("Containers"), wide("Images"), wide("Selector")],
  cells: (r) => [
    name(r),
    r.spec.replicas ?? 0,
    r.status?.replicas ?? 0,
    r.status?.readyReplicas ?? 0,
    age(r),
    ...containers(r.spec.template?.spec),
    formatLabelSelector(r.spec.selector),
  ],
};

export const statefulSet: Printer<apps.StatefulSet> = {
  columns: [NAME, text("Ready"), AGE, wide("Containers"), wide("Images")],
  cells: (s) => [name(s), `${s.status?.readyReplicas ?? 0}/${s.spec.replicas ?? 0}`, age(s), ...containers(s.spec.template?.spec)],
};

export const daemonSet: Printer<apps.DaemonSet> = {
  columns: [
    NAME,
    number("Desired"),
    number("Current"),
    number("Ready"),
    number("Up-to-date"),
    number("Available"),
    text("Node Selector"),
    AGE,
    wide("Containers"),
    wide("Images"),
    wide("Selector"),
  ],
  cells: (d) => [
    name(d),
    d.status?.desiredNumberScheduled ?? 0,
    d.status?.currentNumberScheduled ?? 0,
    d.status?.numberReady ?? 0,
    d.status?.updatedNumberScheduled ?? 0,
    d.status?.numberAvailable ?? 0,
    formatLabelSelector({ matchLabels: d.spec.template?.spec?.nodeSelector }),
    age(d),
    ...containers(d.spec.template?.spec),
    formatLabelSelector(d.spec.selector),
  ],
};

export const controllerRevision: Printer<apps.ControllerRevision> = {
  columns: [NAME, text("Controller"), number("Revision"), AGE],
  cells(r) {
    const owner = r.metadata.ownerReferences?.find((o) => o.controller);
    const group = owner?.apiVersion.includes("/") ? `.${owner.apiVersion.split("/")[0]}` : "";
    return [name(r), owner ? `${owner.kind.toLowerCase()}${group}/${owner.name}` : "<none>", r.revision, age(r)];
  },
};

function jobStatus(j: batch.Job): string {
  const is = (type: string) => j.status?.conditions?.some((c) => c.type === type && c.status === "True");
  if (is("Complete")) return "Complete";
  if (is("Failed")) return "Failed";
  if (j.metadata.deletionTimestamp) return "Terminating";
  if (is("Suspended")) return "Suspended";
  if (is("FailureTarget")) return "FailureTarget";
  return is("SuccessCriteriaMet") ? "SuccessCriteriaMet" : "Running";
}

function jobDuration(j: batch.Job): string {
  if (!j.status?.startTime) return "";
  const end = j.status.completionTime ? Date.parse(j.status.completionTime) : Date.now();
  return humanDuration(end - Date.parse(j.status.startTime));
}

export const job: Printer<batch.Job> = {
  columns: [NAME, text("Status"), text("Completions"), text("Duration"), AGE, wide("Containers"), wide("Images"), wide("Selector")],
  cells(j) {
    const done = j.status?.succeeded ?? 0;
    const parallel = j.spec.parallelism ?? 1;
    const completions =
      j.spec.completions !== undefined ? `${done}/${j.spec.completions}` : parallel > 1 ? `${done}/1 of ${parallel}` : `${done}/1`;
    return [
      name(j),
      jobStatus(j),
      completions,
      jobDuration(j),
      age(j),
      ...containers(j.spec.template?.spec),
      formatLabelSelector(j.spec.selector),
    ];
  },
};

export const cronJob: Printer<batch.CronJob> = {
  columns: [
    NAME,
    text("Schedule"),
    text("Timezone"),
    text("Suspend"),
    number("Active"),
    text("Last Schedule"),
    AGE,
    wide("Containers"),
    wide("Images"),
    wide("Selector"),
  ],
  cells: (c) => [
    name(c),
    c.spec.schedule,
    c.spec.timeZone ?? "<none>",
    c.spec.suspend ? "True" : "False",
    c.status?.active?.length ?? 0,
    c.status?.lastScheduleTime ? since(c.status.lastScheduleTime) : "<none>",
    age(c),
    ...containers(c.spec.jobTemplate?.spec?.template?.spec),
    formatLabelSelector(c.spec.jobTemplate?.spec?.selector),
  ],
};

function target(t: autoscaling.MetricTarget | undefined, current: autoscaling.MetricValueStatus | undefined): string {
  if (t?.averageUtilization !== undefined) {
    return `${current?.averageUtilization === undefined ? "<unknown>" : `${current.averageUtilization}%`}/${t.averageUtilization}%`;
  }
  if (t?.averageValue !== undefined) return `${current?.averageValue ?? "<unknown>"}/${t.averageValue} (avg)`;
  return `${current?.value ?? "<unknown>"}/${t?.value ?? "<auto>"}`;
}

export const horizontalPodAutoscaler: Printer<autoscaling.HorizontalPodAutoscaler> = {
  columns: [NAME, text("Reference"), text("Targets"), text("MinPods"), text("MaxPods"), number("Replicas"), AGE],
  cells: (h) => [
    name(h),
    `${h.spec.scaleTargetRef.kind}/${h.spec.scaleTargetRef.name}`,
    joined(
      (h.spec.metrics ?? []).map((m, i) => {
        const spec = m.resource ?? m.containerResource;
        const now = h.status?.currentMetrics?.[i];
        const text = target(
          (spec ?? m.pods ?? m.object ?? m.external)?.target,
          (now?.resource ?? now?.containerResource ?? now?.pods ?? now?.object ?? now?.external)?.current,
        );
        return spec ? `${spec.name}: ${text}` : text;
      }),
    ),
    h.spec.minReplicas === undefined ? "<unset>" : String(h.spec.minReplicas),
    String(h.spec.maxReplicas),
    h.status?.currentReplicas ?? 0,
    age(h),
  ],
};

export const podDisruptionBudget: Printer<policy.PodDisruptionBudget> = {
  columns: [NAME, text("Min Available"), text("Max Unavailable"), number("Allowed Disruptions"), AGE],
  cells: (p) => [
    name(p),
    String(p.spec.minAvailable ?? "N/A"),
    String(p.spec.maxUnavailable ?? "N/A"),
    p.status?.disruptionsAllowed ?? 0,
    age(p),
  ],
};

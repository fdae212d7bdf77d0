// Rows of the core group besides pods.
import type * as core from "../gen/core/v1.ts";
import type * as discovery from "../gen/discovery/v1.ts";
import { formatLabelSelector, selectorFromSet } from "../selectors.ts";
import { AGE, age, containers, count, joined, NAME, name, number, type Printer, since, text, wide } from "./column.ts";

const ROLE = "node-role.kubernetes.io/";

function nodeStatus(n: core.Node): string {
  const ready = n.status?.conditions?.find((c) => c.type === "Ready");
  const words = [ready ? (ready.status === "True" ? "Ready" : "NotReady") : "Unknown"];
  if (n.spec.unschedulable) words.push("SchedulingDisabled");
  return words.join(",");
}

function nodeRoles(n: core.Node): string {
  const roles = Object.entries(n.metadata.labels ?? {}).flatMap(([k, v]) =>
    k.startsWith(ROLE) ? [k.slice(ROLE.length)] : k === "kubernetes.io/role" && v ? [v] : [],
  );
  return joined(roles.filter(Boolean).sort());
}

const address = (n: core.Node, type: string) => n.status?.addresses?.find((a) => a.type === type)?.address || "<none>";
const orUnknown = (s: string | undefined) => s || "<unknown>";

export const node: Printer<core.Node> = {
  columns: [
    NAME,
    text("Status"),
    text("Roles"),
    AGE,
    text("Version"),
    wide("Internal-IP"),
    wide("External-IP"),
    wide("OS-Image"),
    wide("Kernel-Version"),
    wide("Container-Runtime"),
  ],
  cells: (n) => [
    name(n),
    nodeStatus(n),
    nodeRoles(n),
    age(n),
    n.status?.nodeInfo?.kubeletVersion ?? "",
    address(n, "InternalIP"),
    address(n, "ExternalIP"),
    orUnknown(n.status?.nodeInfo?.osImage),
    orUnknown(n.status?.nodeInfo?.kernelVersion),
    orUnknown(n.status?.nodeInfo?.containerRuntimeVersion),
  ],
};

function externalIp(s: core.Service): string {
  const ips = s.spec.externalIPs ?? [];
  if (s.spec.type === "ExternalName") return s.spec.externalName ?? "<none>";
  if (s.spec.type !== "LoadBalancer") return joined(ips);
  const ingress = (s.status?.loadBalancer?.ingress ?? []).map((i) => i.ip || i.hostname || "");
  const all = [...ingress, ...ips].filter(Boolean);
  return all.length > 0 ? all.join(",") : "<pending>";
}

const servicePort = (p: core.ServicePort) => (p.nodePort ? `${p.port}:${p.nodePort}/${p.protocol}` : `${p.port}/${p.protocol}`);

export const service: Printer<core.Service> = {
  columns: [NAME, text("Type"), text("Cluster-IP"), text("External-IP"), text("Port(s)"), AGE, wide("Selector")],
  cells: (s) => [
    name(s),
    s.spec.type ?? "",
    s.spec.clusterIP || "<none>",
    externalIp(s),
    joined(s.spec.ports?.map(servicePort)),
    age(s),
    s.spec.selector && count(s.spec.selector) ? selectorFromSet(s.spec.selector).toString() : "<none>",
  ],
};

function endpointText(e: core.Endpoints): string {
  const all = (e.subsets ?? []).flatMap((s) =>
    (s.ports?.length ? s.ports : [undefined]).flatMap((p) => (s.addresses ?? []).map((a) => (p ? `${a.ip}:${p.port}` : a.ip))),
  );
  if (all.length === 0) return "<none>";
  return all.length > 3 ? `${all.slice(0, 3).join(",")} + ${all.length - 3} more...` : all.join(",");
}

export const endpoints: Printer<core.Endpoints> = {
  columns: [NAME, text("Endpoints"), AGE],
  cells: (e) => [name(e), endpointText(e), age(e)],
};

/** At most three, then how many more there are. */
function few(values: string[], none: string): string {
  if (values.length === 0) return none;
  return values.length > 3 ? `${values.slice(0, 3).join(",")} + ${values.length - 3} more...` : values.join(",");
}

export const endpointSlice: Printer<discovery.EndpointSlice> = {
  columns: [NAME, text("AddressType"), text("Ports"), text("Endpoints"), AGE],
  cells: (s) => [
    name(s),
    s.addressType,
    s.ports?.length
      ? few(
          s.ports.map((p) => (p.port === undefined ? "*" : String(p.port))),
          "<unset>",
        )
      : "<unset>",
    few(
      (s.endpoints ?? []).flatMap((e) => e.addresses ?? []),
      "<unset>",
    ),
    age(s),
  ],
};

export const configMap: Printer<core.ConfigMap> = {
  columns: [NAME, number("Data"), AGE],
  cells: (c) => [name(c), count(c.data) + count(c.binaryData), age(c)],
};

export const secret: Printer<core.Secret> = {
  columns: [NAME, text("Type"), number("Data"), AGE],
  cells: (s) => [name(s), s.type ?? "", count(s.data), age(s)],
};

export const serviceAccount: Printer<core.ServiceAccount> = {
  columns: [NAME, number("Secrets"), AGE],
  cells: (s) => [name(s), s.secrets?.length ?? 0, age(s)],
};

export const namespace: Printer<core.Namespace> = {
  columns: [NAME, text("Status"), AGE],
  cells: (n) => [name(n), n.status?.phase ?? "", age(n)],
};

const involved = (o: core.ObjectReference | undefined) => (o ? `${(o.kind ?? "").toLowerCase()}/${o.name}` : "");

const source = (e: core.Event) => {
  const component = e.source?.component || e.reportingComponent || "";
  const host = e.source?.host || e.reportingInstance || "";
  return host ? `${component}, ${host}` : component;
};

export const event: Printer<core.Event> = {
  columns: [
    text("Last Seen"),
    text("Type"),
    text("Reason"),
    text("Object"),
    wide("Subobject"),
    wide("Source"),
    text("Message"),
    wide("First Seen"),
    wide("Count"),
    { ...NAME, priority: 1 },
  ],
  cells(e) {
    const first = e.firstTimestamp || e.eventTime || undefined;
    const last = e.series?.lastObservedTime || e.lastTimestamp || first;
    return [
      since(last),
      e.type ?? "",
      e.reason ?? "",
      involved(e.involvedObject),
      e.involvedObject?.fieldPath ?? "",
      source(e),
      (e.message ?? "").trim(),
      since(first),
      String(e.series?.count ?? (e.count || 1)),
      name(e),
    ];
  },
};

const modes: Record<string, string> = { ReadWriteOnce: "RWO", ReadOnlyMany: "ROX", ReadWriteMany: "RWX", ReadWriteOncePod: "RWOP" };
const accessModes = (list: readonly string[] | undefined) => (list ?? []).map((m) => modes[m] ?? m).join(",");

export const persistentVolume: Printer<core.PersistentVolume> = {
  columns: [
    NAME,
    text("Capacity"),
    text("Access Modes"),
    text("Reclaim Policy"),
    text("Status"),
    text("Claim"),
    text("StorageClass"),
    text("VolumeAttributesClass"),
    text("Reason"),
    AGE,
    wide("VolumeMode"),
  ],
  cells: (v) => [
    name(v),
    v.spec.capacity?.storage ?? "",
    accessModes(v.spec.accessModes),
    v.spec.persistentVolumeReclaimPolicy ?? "",
    v.metadata.deletionTimestamp ? "Terminating" : (v.status?.phase ?? ""),
    v.spec.claimRef ? `${v.spec.claimRef.namespace}/${v.spec.claimRef.name}` : "",
    v.spec.storageClassName ?? "",
    v.spec.volumeAttributesClassName ?? "<unset>",
    v.status?.reason ?? "",
    age(v),
    v.spec.volumeMode ?? "<unset>",
  ],
};

export const persistentVolumeClaim: Printer<core.PersistentVolumeClaim> = {
  columns: [
    NAME,
    text("Status"),
    text("Volume"),
    text("Capacity"),
    text("Access Modes"),
    text("StorageClass"),
    text("VolumeAttributesClass"),
    AGE,
    wide("VolumeMode"),
  ],
  cells: (c) => [
    name(c),
    c.metadata.deletionTimestamp ? "Terminating" : (c.status?.phase ?? ""),
    c.spec.volumeName ?? "",
    c.spec.volumeName ? (c.status?.capacity?.storage ?? "") : "",
    c.spec.volumeName ? accessModes(c.status?.accessModes) : "",
    c.spec.storageClassName ?? "",
    c.spec.volumeAttributesClassName ?? "<unset>",
    age(c),
    c.spec.volumeMode ?? "<unset>",
  ],
};

export const replicationController: Printer<core.ReplicationController> = {
  columns: [NAME, number("Desired"), number("Current"), number("Ready"), AGE, wide("Containers"), wide("Images"), wide("Selector")],
  cells: (r) => [
    name(r),
    r.spec.replicas ?? 0,
    r.status?.replicas ?? 0,
    r.status?.readyReplicas ?? 0,
    age(r),
    ...containers(r.spec.template?.spec),
    formatLabelSelector({ matchLabels: r.spec.selector }),
  ],
};

export const podTemplate: Printer<core.PodTemplate> = {
  columns: [NAME, text("Containers"), text("Images"), text("Pod Labels")],
  cells: (t) => [name(t), ...containers(t.template?.spec), formatLabelSelector({ matchLabels: t.template?.metadata?.labels })],
};

export const componentStatus: Printer<core.ComponentStatus> = {
  columns: [NAME, text("Status"), text("Message"), text("Error")],
  cells(c) {
    const healthy = c.conditions?.find((x) => x.type === "Healthy");
    return [name(c), healthy?.status === "True" ? "Healthy" : "Unhealthy", healthy?.message ?? "", healthy?.error ?? ""];
  },
};

export const resourceQuota: Printer<core.ResourceQuota> = {
  columns: [NAME, text("Request"), text("Limit"), AGE],
  cells(q) {
    const pairs = Object.entries(q.status?.hard ?? {})
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([k, hard]) => [k.startsWith("limits."), `${k}: ${q.status?.used?.[k] ?? "0"}/${hard}`] as const);
    const of = (limit: boolean) =>
      pairs
        .filter(([l]) => l === limit)
        .map(([, t]) => t)
        .join(", ");
    return [name(q), of(false), of(true), age(q)];
  },
};

export const limitRange: Printer<core.LimitRange> = {
  columns: [NAME, text("Created At")],
  cells: (l) => [name(l), l.metadata.creationTimestamp ?? ""],
};

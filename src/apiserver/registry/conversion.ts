// Kinds that are served in two versions, and how one becomes the stored one.
// The other way round holds too: a table of renamed fields is its own inverse.
import type { KubeObject } from "../../api/object.ts";

export interface Conversion {
  toStored(object: KubeObject): KubeObject;
  fromStored(object: KubeObject): KubeObject;
}

type Bag = KubeObject & Record<string, unknown>;

function renaming(served: string, stored: string, names: Record<string, string>, defaults: Record<string, unknown> = {}): Conversion {
  const inverse = Object.fromEntries(Object.entries(names).map(([a, b]) => [b, a]));
  const rename = (object: KubeObject, apiVersion: string, table: Record<string, string>): KubeObject => {
    const out: Record<string, unknown> = { kind: object.kind, apiVersion };
    for (const [k, v] of Object.entries(object)) if (k !== "kind" && k !== "apiVersion") out[table[k] ?? k] = v;
    return out as Bag;
  };
  return {
    toStored: (o) => ({ ...defaults, ...rename(o, stored, names) }) as KubeObject,
    fromStored: (o) => rename(o, served, inverse),
  };
}

/** By group/version/kind of the served version. */
export const conversions: Record<string, Conversion> = {
  "events.k8s.io/v1/Event": renaming("events.k8s.io/v1", "v1", {
    regarding: "involvedObject",
    note: "message",
    reportingController: "reportingComponent",
    deprecatedSource: "source",
    deprecatedFirstTimestamp: "firstTimestamp",
    deprecatedLastTimestamp: "lastTimestamp",
    deprecatedCount: "count",
  }),
  "autoscaling/v1/HorizontalPodAutoscaler": {
    toStored: (o) => {
      const { targetCPUUtilizationPercentage: target, ...spec } = ((o as Bag).spec ?? {}) as Record<string, unknown>;
      const metrics = target === undefined ? [] : [cpu({ type: "Utilization", averageUtilization: target }, "target")];
      const { currentCPUUtilizationPercentage: current, ...status } = ((o as Bag).status ?? {}) as Record<string, unknown>;
      const currentMetrics = current === undefined ? [] : [cpu({ averageUtilization: current }, "current")];
      return {
        ...o,
        apiVersion: "autoscaling/v2",
        spec: { ...spec, ...(metrics.length ? { metrics } : {}) },
        status: { ...status, currentMetrics },
      } as KubeObject;
    },
    fromStored: (o) => {
      const { metrics, behavior: _, ...spec } = ((o as Bag).spec ?? {}) as Record<string, unknown>;
      const { currentMetrics, conditions: __, ...status } = ((o as Bag).status ?? {}) as Record<string, unknown>;
      const target = utilization(metrics, "target");
      const current = utilization(currentMetrics, "current");
      return {
        ...o,
        apiVersion: "autoscaling/v1",
        spec: { ...spec, ...(target === undefined ? {} : { targetCPUUtilizationPercentage: target }) },
        status: { ...status, ...(current === undefined ? {} : { currentCPUUtilizationPercentage: current }) },
      } as KubeObject;
    },
  },
};

const cpu = (value: object, key: "target" | "current") => ({ type: "Resource", resource: { name: "cpu", [key]: value } });

function utilization(metrics: unknown, key: "target" | "current"): unknown {
  if (!Array.isArray(metrics)) return undefined;
  const found = metrics.find((m) => m?.type === "Resource" && m.resource?.name === "cpu");
  return found?.resource?.[key]?.averageUtilization;
}

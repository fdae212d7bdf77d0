// The core group without pods.
import { deepEqual } from "../../api/equal.ts";
import { serviceStrategy } from "../services/strategy.ts";
import type { Fresh, Stored, Strategy } from "./strategy.ts";

const text = (v: unknown): string => (typeof v === "string" ? v : v === undefined ? "" : String(v));

function eventFields(e: Stored): Record<string, string> {
  const o = e.involvedObject ?? {};
  return {
    "involvedObject.kind": text(o.kind),
    "involvedObject.namespace": text(o.namespace),
    "involvedObject.name": text(o.name),
    "involvedObject.uid": text(o.uid),
    "involvedObject.apiVersion": text(o.apiVersion),
    "involvedObject.resourceVersion": text(o.resourceVersion),
    "involvedObject.fieldPath": text(o.fieldPath),
    reason: text(e.reason),
    reportingComponent: text(e.reportingComponent),
    source: text(e.source?.component || e.reportingComponent),
    type: text(e.type),
  };
}

/** Names of the same fields in events.k8s.io. */
const regarding = (fields: Record<string, string>) => {
  const out: Record<string, string> = { ...fields, reportingController: fields.reportingComponent! };
  for (const [k, v] of Object.entries(fields)) if (k.startsWith("involvedObject.")) out[k.replace("involvedObject", "regarding")] = v;
  return out;
};

const event: Strategy = { createOnUpdate: true, ttl: 3600, fields: (e) => regarding(eventFields(e)) };

/** stringData is for writing alone: it becomes data. */
function stringData(secret: Fresh): void {
  for (const [key, value] of Object.entries((secret.stringData ?? {}) as Record<string, string>)) {
    secret.data ??= {};
    secret.data[key] = Buffer.from(value).toString("base64");
  }
  delete secret.stringData;
}

function namespaceCreate(ns: Fresh): void {
  ns.status = { phase: "Active" };
  ns.spec ??= {};
  ns.spec.finalizers ??= [];
  const finalizers: string[] = ns.spec.finalizers;
  if (!finalizers.includes("kubernetes")) finalizers.push("kubernetes");
  ns.metadata.labels = { ...ns.metadata.labels, "kubernetes.io/metadata.name": ns.metadata.name ?? "" };
}

export const coreStrategies: Record<string, Strategy> = {
  "/events": event,
  "events.k8s.io/events": event,
  "/namespaces": {
    prepareCreate: namespaceCreate,
    prepareUpdate: (next, old) => {
      next.spec = { ...next.spec, finalizers: old.spec?.finalizers };
      next.metadata.labels = { ...next.metadata.labels, "kubernetes.io/metadata.name": next.metadata.name ?? "" };
    },
    heldBack: (ns) => (ns.spec?.finalizers?.length ?? 0) > 0,
    markDeleted: (ns) => {
      ns.status = { ...ns.status, phase: "Terminating" };
    },
    returnsDeleted: true,
    fields: (ns) => ({ "status.phase": text(ns.status?.phase), name: text(ns.metadata.name) }),
  },
  "/nodes": {
    prepareCreate: (node) => {
      node.spec ??= {};
      node.status ??= {};
    },
    statusWithSpec: true,
    prepareUpdate: (next, old) => {
      next.status = old.status;
    },
    fields: (node) => ({ "spec.unschedulable": String(node.spec?.unschedulable ?? false) }),
  },
  "/services": serviceStrategy,
  "/endpoints": { createOnUpdate: true },
  "/configmaps": { createOnUpdate: true },
  "/secrets": {
    createOnUpdate: true,
    prepareCreate: stringData,
    prepareUpdate: stringData,
    fields: (s) => ({ type: text(s.type) }),
  },
  "/serviceaccounts": { returnsDeleted: true },
  "/limitranges": { createOnUpdate: true },
  "/resourcequotas": { createOnUpdate: true, returnsDeleted: true },
  "/podtemplates": { createOnUpdate: true, returnsDeleted: true, generation: (next, old) => !deepEqual(next.template, old.template) },
  "/persistentvolumes": {
    returnsDeleted: true,
    prepareCreate: (pv) => {
      pv.status = { phase: "Pending" };
    },
    fields: (pv) => ({ "spec.claimRef.name": text(pv.spec?.claimRef?.name) }),
  },
  "/persistentvolumeclaims": {
    returnsDeleted: true,
    prepareCreate: (pvc) => {
      pvc.status = { phase: "Pending" };
    },
  },
};

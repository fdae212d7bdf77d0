// Plugins that fill in a new pod from the cluster's settings.
import type * as core from "../../api/gen/core/v1.ts";
import type * as nodeV1 from "../../api/gen/node/v1.ts";
import type * as scheduling from "../../api/gen/scheduling/v1.ts";
import { addQuantity } from "../../api/quantity.ts";
import { forbidden } from "../../api/status.ts";
import { type AdmissionPlugin, isPodCreate } from "./admission.ts";

const TOLERATED = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
const TOLERATED_SECONDS = 300;

/** A pod stays on a node that is lost for five minutes, unless it says otherwise. */
export const defaultTolerationSeconds: AdmissionPlugin = {
  name: "DefaultTolerationSeconds",
  admit(request) {
    if (!isPodCreate(request)) return;
    const { spec } = request.object as unknown as core.Pod;
    const tolerations = spec.tolerations ?? [];
    const missing = TOLERATED.filter(
      (key) => !tolerations.some((t) => (t.key === key || !t.key) && (t.effect === "NoExecute" || !t.effect)),
    );
    if (missing.length === 0) return;
    spec.tolerations = [
      ...tolerations,
      ...missing.map((key) => ({ key, operator: "Exists" as const, effect: "NoExecute" as const, tolerationSeconds: TOLERATED_SECONDS })),
    ];
  },
};

/** Resolves the name of a priority class to its number. */
export const priority: AdmissionPlugin = {
  name: "Priority",
  async admit(request, source) {
    if (!isPodCreate(request)) return;
    const pod = request.object as unknown as core.Pod;
    let found: scheduling.PriorityClass | undefined;
    if (pod.spec.priorityClassName) {
      found = (await source.get("scheduling.k8s.io", "priorityclasses", undefined, pod.spec.priorityClassName)) as
        | scheduling.PriorityClass
        | undefined;
      if (!found)
        throw forbidden(
          { resource: "pods" },
          pod.metadata.name ?? "",
          `no PriorityClass with name ${pod.spec.priorityClassName} was found`,
        );
    } else {
      for (const c of source.list("scheduling.k8s.io", "priorityclasses") as Iterable<scheduling.PriorityClass>) {
        if (c.globalDefault && (!found || c.value < found.value)) found = c;
      }
      if (found) pod.spec.priorityClassName = found.metadata.name;
    }
    const value = found?.value ?? 0;
    if (pod.spec.priority !== undefined && pod.spec.priority !== value) {
      throw forbidden(
        { resource: "pods" },
        pod.metadata.name ?? "",
        `the integer value of priority (${pod.spec.priority}) must not be provided in pod spec; priority admission controller computed ${value} from the given PriorityClass name`,
      );
    }
    pod.spec.priority = value;
    pod.spec.preemptionPolicy ??= found?.preemptionPolicy ?? "PreemptLowerPriority";
  },
};

/** Adds what a runtime class asks of the pods that use it. */
export const runtimeClass: AdmissionPlugin = {
  name: "RuntimeClass",
  async admit(request, source) {
    if (!isPodCreate(request)) return;
    const pod = request.object as unknown as core.Pod;
    const wanted = pod.spec.runtimeClassName;
    if (!wanted) return;
    const refuse = (why: string) => forbidden({ resource: "pods" }, pod.metadata.name ?? "", `pod rejected: ${why}`);
    const found = (await source.get("node.k8s.io", "runtimeclasses", undefined, wanted)) as nodeV1.RuntimeClass | undefined;
    if (!found) throw refuse(`RuntimeClass "${wanted}" not found`);
    const overhead = found.overhead?.podFixed;
    if (overhead) {
      const same =
        pod.spec.overhead === undefined ||
        Object.entries(overhead).every(
          ([k, v]) => pod.spec.overhead?.[k] !== undefined && addQuantity(pod.spec.overhead[k], "0") === addQuantity(v, "0"),
        );
      if (!same) throw refuse("Pod's Overhead doesn't match RuntimeClass's defined Overhead");
      pod.spec.overhead = { ...overhead };
    }
    for (const [key, value] of Object.entries(found.scheduling?.nodeSelector ?? {})) {
      if (pod.spec.nodeSelector?.[key] !== undefined && pod.spec.nodeSelector[key] !== value) {
        throw refuse(
          `conflict: runtimeClass.scheduling.nodeSelector[${key}] = ${value}; pod.spec.nodeSelector[${key}] = ${pod.spec.nodeSelector[key]}`,
        );
      }
      pod.spec.nodeSelector = { ...pod.spec.nodeSelector, [key]: value };
    }
    if (found.scheduling?.tolerations?.length)
      pod.spec.tolerations = [...(pod.spec.tolerations ?? []), ...found.scheduling.tolerations.map((t) => ({ ...t }))];
  },
};

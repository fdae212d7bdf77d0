// A pod's quality of service class (https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/).
import { compareQuantity } from "../../api/quantity.ts";

interface Container {
  resources?: { requests?: Record<string, string>; limits?: Record<string, string> };
}

const counted = ["cpu", "memory"];

/** Guaranteed, Burstable or BestEffort. */
export function qosClass(spec: { containers?: Container[]; initContainers?: Container[] }): string {
  let any = false;
  let guaranteed = true;
  for (const c of [...(spec.containers ?? []), ...(spec.initContainers ?? [])]) {
    for (const name of counted) {
      const limit = c.resources?.limits?.[name];
      const request = c.resources?.requests?.[name];
      if (!isZero(limit) || !isZero(request)) any = true;
      if (isZero(limit) || (request !== undefined && compareQuantity(request, limit!) !== 0)) guaranteed = false;
    }
  }
  return !any ? "BestEffort" : guaranteed ? "Guaranteed" : "Burstable";
}

const isZero = (q: string | undefined) => q === undefined || /^0*(\.0*)?[A-Za-z]*$/.test(q);

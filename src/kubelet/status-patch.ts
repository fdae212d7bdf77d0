// The difference of two pod statuses as a strategic merge patch, so that
// conditions that others write in between are not lost.
import { deepEqual } from "../api/equal.ts";
import type * as coreV1 from "../api/gen/core/v1.ts";
import { ownedConditions } from "./pod/status.ts";

type Addresses = { ip: string }[];

function addressPatch(before: Addresses = [], after: Addresses = []): unknown[] {
  const gone = before.filter((b) => !after.some((a) => a.ip === b.ip));
  return [...after, ...gone.map((g) => ({ $patch: "delete", ip: g.ip }))];
}

/** The patch of `status` that turns one into the other; undefined when nothing changes. */
export function statusPatch(before: coreV1.PodStatus, after: coreV1.PodStatus): Record<string, unknown> | undefined {
  const patch: Record<string, unknown> = {};
  const a = before as Record<string, unknown>;
  const b = after as Record<string, unknown>;
  for (const key of new Set([...Object.keys(a), ...Object.keys(b)])) {
    if (key === "conditions" || deepEqual(a[key], b[key])) continue;
    // Written by others, and not by every status that a kubelet makes.
    if (b[key] === undefined && !kubeletFields.has(key)) continue;
    if (key === "podIPs" || key === "hostIPs") patch[key] = addressPatch(a[key] as Addresses, b[key] as Addresses);
    else patch[key] = b[key] ?? null;
  }
  const conditions = (after.conditions ?? []).filter(
    (c) =>
      ownedConditions.has(c.type) &&
      !deepEqual(
        before.conditions?.find((o) => o.type === c.type),
        c,
      ),
  );
  if (conditions.length > 0) patch.conditions = conditions.map((c) => ({ reason: null, message: null, ...c }));
  return Object.keys(patch).length > 0 ? patch : undefined;
}

const kubeletFields: ReadonlySet<string> = new Set([
  "phase",
  "message",
  "reason",
  "hostIP",
  "hostIPs",
  "podIP",
  "podIPs",
  "startTime",
  "initContainerStatuses",
  "containerStatuses",
  "ephemeralContainerStatuses",
  "observedGeneration",
]);

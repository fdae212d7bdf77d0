// metadata.managedFields: who set what (src/api/apply), as the verbs use it.
import { apply, updateManagedFields } from "../../api/apply/mod.ts";
import { apiVersion, type KubeObject } from "../../api/object.ts";
import type { KindInfo } from "../../api/schema.ts";
import { badRequest } from "../../api/status.ts";
import type { Target } from "../../client/transport.ts";
import type { RequestContext } from "../request.ts";
import { type Body, decodeBody, report } from "./body.ts";
import { timestamp } from "./registry.ts";
import type { Fresh } from "./strategy.ts";

/** Kinds that upstream writes too often to keep managers of. */
const untracked = new Set(["/Event", "events.k8s.io/Event"]);
const unknownManager = "unknown";

/** Records in a fresh object which manager changed what differs from the live one. */
export function trackUpdate(
  info: KindInfo,
  live: KubeObject | undefined,
  next: Fresh,
  context: RequestContext,
  subresource: string,
  time: string,
): void {
  if (untracked.has(`${info.group}/${info.kind}`)) return;
  const entries = updateManagedFields(live, next, {
    message: info.message,
    manager: context.fieldManager || unknownManager,
    apiVersion: apiVersion(info),
    time,
    subresource,
  });
  if (entries) next.metadata.managedFields = entries;
  else delete next.metadata.managedFields;
}

const notStatus = ["status"];
const onlyStatus = ["spec"];
const resets = (info: KindInfo, subresource: string | undefined): readonly string[] =>
  subresource === "status" ? onlyStatus : subresource || !info.subresources.includes("status") ? [] : notStatus;

/** The current object after a server-side apply of the body. */
export function applied(info: KindInfo, current: KubeObject | undefined, body: Body, context: RequestContext, target: Target): Fresh {
  if (!context.fieldManager)
    throw badRequest('PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch');
  const { value } = body;
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw badRequest("error decoding YAML: the configuration is no object");
  const result = apply(current, value, {
    message: info.message,
    manager: context.fieldManager,
    apiVersion: apiVersion(info),
    time: timestamp(Date.now()),
    subresource: target.subresource,
    resetFields: resets(info, target.subresource),
    force: context.force,
  });
  report(
    info,
    (body.duplicates ?? []).map((p) => `duplicate field "${p}"`),
    context,
  );
  return decodeBody(info, { value: result.object }, context);
}

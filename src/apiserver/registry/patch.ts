// The four kinds of PATCH as functions from the current object to the next.
import { copy } from "../../api/equal.ts";
import type { KubeObject } from "../../api/object.ts";
import { PatchError } from "../../api/patch/errors.ts";
import { applyJsonPatch } from "../../api/patch/json.ts";
import { applyMergePatch } from "../../api/patch/merge.ts";
import { applyStrategicMergePatch } from "../../api/patch/strategic.ts";
import type { KindInfo } from "../../api/schema.ts";
import { badRequest, StatusError } from "../../api/status.ts";
import type { PatchType } from "../../client/transport.ts";
import type { RequestContext } from "../request.ts";
import { type Body, decodeBody } from "./body.ts";
import type { Fresh } from "./strategy.ts";

const functions: Record<Exclude<PatchType, "apply">, (original: unknown, patch: unknown, message: string) => unknown> = {
  json: applyJsonPatch,
  merge: applyMergePatch,
  strategic: applyStrategicMergePatch,
};

/** The current object with a JSON, merge or strategic merge patch; what the patch brings is decoded strictly. */
export function patched(
  info: KindInfo,
  type: Exclude<PatchType, "apply">,
  current: KubeObject,
  patch: Body,
  context: RequestContext,
): Fresh {
  let next: unknown;
  try {
    next = functions[type](current, patch.value, info.message);
  } catch (error) {
    if (!(error instanceof PatchError)) throw error;
    if (error.reason === "malformed") throw badRequest(error.message);
    throw unprocessable(error.message);
  }
  return decodeBody(info, { value: next, duplicates: patch.duplicates }, context);
}

function unprocessable(message: string): StatusError {
  return new StatusError({
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Failure",
    message: `the server rejected our request due to an error in our request: ${message}`,
    reason: "Invalid",
    details: {},
    code: 422,
  });
}

/** A copy that a strategy may change. */
export const fresh = (object: KubeObject): Fresh => copy(object) as Fresh;

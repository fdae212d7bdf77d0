// The errors of the REST API: metav1.Status with upstream's reasons, codes and
// texts (k8s.io/apimachinery/pkg/api/errors).
import type * as metaV1 from "./gen/meta/v1.ts";

export type Status = metaV1.Status;

/** A refusal by the apiserver, as it travels on the wire. */
export class StatusError extends Error {
  readonly status: Status;
  constructor(status: Status, options?: ErrorOptions) {
    super(status.message ?? status.reason ?? `HTTP ${status.code}`, options);
    this.name = "StatusError";
    this.status = status;
  }
  get code(): number {
    return this.status.code ?? 500;
  }
  get reason(): string {
    return this.status.reason ?? "";
  }
}

export function isReason(error: unknown, reason: string): boolean {
  return error instanceof StatusError && error.reason === reason;
}
export const isNotFound = (e: unknown) => isReason(e, "NotFound");
export const isConflict = (e: unknown) => isReason(e, "Conflict");
export const isAlreadyExists = (e: unknown) => isReason(e, "AlreadyExists");
export const isGone = (e: unknown) => isReason(e, "Expired") || isReason(e, "Gone");

interface Named {
  group?: string;
  /** The resource's plural, or the kind for Invalid. */
  resource: string;
}

const qualified = (r: Named) => (r.group ? `${r.resource}.${r.group}` : r.resource);

function failure(code: number, reason: string, message: string, details?: metaV1.StatusDetails): StatusError {
  return new StatusError({
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Failure",
    message,
    ...(reason ? { reason: reason as metaV1.StatusReason } : {}),
    ...(details ? { details } : {}),
    code,
  });
}

const named = (r: Named, name: string): metaV1.StatusDetails => ({
  ...(name ? { name } : {}),
  ...(r.group ? { group: r.group } : {}),
  kind: r.resource,
});

export const notFound = (r: Named, name: string) =>
  failure(404, "NotFound", `${qualified(r)} ${JSON.stringify(name)} not found`, named(r, name));
export const alreadyExists = (r: Named, name: string) =>
  failure(409, "AlreadyExists", `${qualified(r)} ${JSON.stringify(name)} already exists`, named(r, name));
export const conflict = (r: Named, name: string, why: string) =>
  failure(409, "Conflict", `Operation cannot be fulfilled on ${qualified(r)} ${JSON.stringify(name)}: ${why}`, named(r, name));
export const unauthorized = (why = "Unauthorized") => failure(401, "Unauthorized", why);
export const forbidden = (r: Named, name: string, why: string) =>
  failure(403, "Forbidden", `${qualified(r)}${name ? ` ${JSON.stringify(name)}` : ""} is forbidden: ${why}`, named(r, name));
export const badRequest = (why: string) => failure(400, "BadRequest", why);
export const gone = (why: string) => failure(410, "Expired", why);
export const methodNotAllowed = (r: Named, verb: string) =>
  failure(405, "MethodNotAllowed", `${verb} is not supported on resources of kind ${JSON.stringify(qualified(r))}`, named(r, ""));
export const notAcceptable = (types: string[]) =>
  failure(406, "NotAcceptable", `only the following media types are accepted: ${types.join(", ")}`);
export const unsupportedMediaType = (types: string[]) =>
  failure(
    415,
    "UnsupportedMediaType",
    `the body of the request was in an unknown format - accepted media types include: ${types.join(", ")}`,
  );
export const tooManyRequests = (why: string, seconds: number) => failure(429, "TooManyRequests", why, { retryAfterSeconds: seconds });
export const internalError = (why: string) =>
  failure(500, "InternalError", `Internal error occurred: ${why}`, { causes: [{ message: why }] });
/** An error that the API has no reason for: its text as it is. */
export const unknown = (why: string) => failure(500, "", why);
export const serviceUnavailable = (why: string) => failure(503, "ServiceUnavailable", why);
export const timeout = (why: string, seconds = 0) => failure(504, "Timeout", `Timeout: ${why}`, { retryAfterSeconds: seconds });

/** A reason that one field is refused (k8s.io/apimachinery/pkg/util/validation/field). */
export interface FieldError {
  reason:
    | "FieldValueRequired"
    | "FieldValueInvalid"
    | "FieldValueNotSupported"
    | "FieldValueDuplicate"
    | "FieldValueForbidden"
    | "FieldValueTooLong"
    | "FieldValueTooMany"
    | "FieldValueTypeInvalid"
    | "FieldValueNotFound"
    | "InternalError";
  /** "spec.containers[0].name" */
  field: string;
  /** Upstream's text, such as `Required value: a name is needed`. */
  message: string;
}

/** 422 with a cause for each field, in upstream's words. */
export function invalid(kind: { group?: string; kind: string }, name: string, errors: FieldError[]): StatusError {
  const texts = errors.map((e) => `${e.field}: ${e.message}`);
  const list = texts.length === 1 ? texts[0] : `[${texts.join(", ")}]`;
  return failure(422, "Invalid", `${qualified({ group: kind.group, resource: kind.kind })} ${JSON.stringify(name)} is invalid: ${list}`, {
    ...named({ group: kind.group, resource: kind.kind }, name),
    causes: errors.map((e) => ({ reason: e.reason as metaV1.CauseType, message: e.message, field: e.field })),
  });
}

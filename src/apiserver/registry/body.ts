// Bodies of requests into objects: decoding by the schema, upstream's words
// for what does not fit, and defaults.
import { DecodeError, decodeJson } from "../../api/codec/json.ts";
import { applyDefaults } from "../../api/defaults/mod.ts";
import { apiVersion } from "../../api/object.ts";
import type { KindInfo } from "../../api/schema.ts";
import { badRequest } from "../../api/status.ts";
import type { RequestContext } from "../request.ts";
import type { Fresh } from "./strategy.ts";

export interface Body {
  /** Parsed JSON, YAML or CBOR, or an object of the kind that protobuf held. */
  readonly value: unknown;
  /** Paths of members that stand twice. */
  readonly duplicates?: readonly string[];
}

const cannot = (info: KindInfo, why: string) =>
  badRequest(`${info.kind} in version ${JSON.stringify(info.version)} cannot be handled as a ${info.kind}: ${why}`);

/** A fresh, defaulted object of a kind. Throws 400 where the value is no such object, or not strictly. */
export function decodeBody(info: KindInfo, body: Body, context: RequestContext): Fresh {
  const { value } = body;
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw cannot(
      info,
      `json: cannot unmarshal ${Array.isArray(value) ? "array" : typeof value} into Go value of type ${info.version}.${info.kind}`,
    );
  const { kind, apiVersion: given } = value as { kind?: unknown; apiVersion?: unknown };
  const expected = apiVersion(info);
  if (typeof given === "string" && given !== "" && given !== expected)
    throw badRequest(`the API version in the data (${given}) does not match the expected API version (${expected})`);
  if (typeof kind === "string" && kind !== "" && kind !== info.kind)
    throw badRequest(
      `${kind} in version ${JSON.stringify(info.version)} cannot be handled as a ${info.kind}: converting (${info.version}.${kind}) to (${info.version}.${info.kind}): unknown conversion`,
    );
  let decoded: ReturnType<typeof decodeJson>;
  try {
    decoded = decodeJson(info.message, value, { duplicates: body.duplicates });
  } catch (error) {
    if (error instanceof DecodeError) throw cannot(info, error.message);
    throw error;
  }
  report(info, [...decoded.unknown, ...decoded.duplicates], context);
  const object = decoded.object as Fresh;
  object.metadata ??= {};
  applyDefaults(info, object);
  return object;
}

/** Refuses, warns of or passes over what strict decoding found, as the request asks. */
export function report(info: KindInfo, problems: readonly string[], context: RequestContext): void {
  if (problems.length === 0) return;
  const { fieldValidation = "Warn" } = context;
  if (fieldValidation === "Strict") throw cannot(info, `strict decoding error: ${problems.join(", ")}`);
  if (fieldValidation === "Warn") for (const p of problems) context.warn?.(p);
}

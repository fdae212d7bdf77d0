// Request bodies into values, by their Content-Type.
import { bodyFormat, type Format, mediaTypes, patchFormat, patchMediaTypes } from "../../api/codec/media.ts";
import { JsonSyntaxError, parseJsonStrict } from "../../api/codec/strict.ts";
import { badRequest, StatusError, timeout, unsupportedMediaType } from "../../api/status.ts";
import type { PatchType } from "../../client/transport.ts";
import type { Body } from "../registry/body.ts";
import { BodyError } from "./body-reader.ts";
import type { Incoming } from "./incoming.ts";

/** Upstream's limit (3 MiB). */
const maxBody = 3 * 1024 * 1024;
const utf8 = new TextDecoder();

async function bytesOf(request: Incoming): Promise<Uint8Array> {
  let bytes: Uint8Array | undefined;
  try {
    bytes = await request.body(maxBody);
  } catch (error) {
    throw error instanceof BodyError && error.late ? timeout(error.message) : error;
  }
  if (bytes) return bytes;
  throw new StatusError({
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Failure",
    message: `Request entity too large: limit is ${maxBody}`,
    reason: "RequestEntityTooLarge",
    code: 413,
  });
}

async function parse(bytes: Uint8Array, format: Format): Promise<Body> {
  if (format === "json") {
    try {
      return parseJsonStrict(utf8.decode(bytes));
    } catch (error) {
      if (!(error instanceof JsonSyntaxError)) throw error;
      throw badRequest(
        `the object provided is unrecognized (must be of type ): couldn't get version/kind; json parse error: ${error.message}`,
      );
    }
  }
  if (format === "yaml") {
    const { decodeYaml, YamlError } = await import("../../api/codec/yaml.ts");
    try {
      return decodeYaml(utf8.decode(bytes));
    } catch (error) {
      if (error instanceof YamlError) throw badRequest(`error decoding YAML: ${error.message}`);
      throw error;
    }
  }
  if (format === "protobuf") {
    const { builtinMessage, decodeProtobuf } = await import("../../api/codec/protobuf.ts");
    return { value: decoded(() => decodeProtobuf(bytes, builtinMessage)) };
  }
  const { decodeCbor } = await import("../../api/codec/cbor.ts");
  return { value: decoded(() => decodeCbor(bytes)) };
}

function decoded<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw badRequest(`unable to decode the body of the request: ${(error as Error).message}`);
  }
}

/** The body of a create or update; undefined where there is none. Throws 415 on a type that is not known. */
export async function readBody(request: Incoming): Promise<Body | undefined> {
  const format = bodyFormat(request.header("content-type"));
  if (!format) throw unsupportedMediaType(Object.values(mediaTypes));
  const bytes = await bytesOf(request);
  return bytes.length === 0 ? undefined : parse(bytes, format);
}

/** The body of a patch, and which kind it is. */
export async function readPatch(request: Incoming): Promise<{ type: PatchType; body: Body }> {
  const found = patchFormat(request.header("content-type"));
  if (!found) throw unsupportedMediaType([...patchMediaTypes]);
  return { type: found.patch, body: await parse(await bytesOf(request), found.format) };
}

// The parts of gRPC over HTTP/2 that client and server share
// (grpc/grpc, doc/PROTOCOL-HTTP2.md and doc/http-grpc-status-mapping.md).
import { ErrorCode } from "../http2/errors.ts";
import type { StreamFailure } from "../http2/stream.ts";
import { decodeBinary, encodeBinary } from "../metadata.ts";
import { Code, RpcError } from "../types.ts";
import { decodeDetails, encodeStatus } from "./status.ts";

/** Most bytes of a message that is received, unless said otherwise. */
export const DEFAULT_MAX_MESSAGE = 4 * 1024 * 1024;

const UNITS: Record<string, number> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };

/** Milliseconds of a grpc-timeout; undefined where it is none. */
export function parseTimeout(value: string): number | undefined {
  const unit = UNITS[value[value.length - 1] ?? ""];
  const digits = value.slice(0, -1);
  return unit === undefined || !/^[0-9]{1,8}$/.test(digits) ? undefined : Number(digits) * unit;
}

/** A grpc-timeout of so many milliseconds: at most eight digits and a unit. */
export function formatTimeout(ms: number): string {
  const whole = Math.max(1, Math.ceil(ms));
  if (whole < 1e8) return `${whole}m`;
  return whole < 1e11 ? `${Math.ceil(whole / 1000)}S` : `${Math.min(99_999_999, Math.ceil(whole / 3_600_000))}H`;
}

/** grpc-message: UTF-8 with all but printable ASCII, and "%", percent-encoded. */
export function encodeMessage(text: string): string {
  // A space at either end would make a malformed field of it.
  if (/^(?! )[ -$&-~]*(?<! )$/.test(text)) return text;
  let encoded = "";
  const bytes = new TextEncoder().encode(text);
  for (const [i, byte] of bytes.entries()) {
    const outer = i === 0 || i === bytes.length - 1;
    encoded +=
      byte >= (outer ? 0x21 : 0x20) && byte <= 0x7e && byte !== 0x25
        ? String.fromCharCode(byte)
        : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return encoded;
}

/** The reverse; what is no valid escape stays as it is. */
export function decodeMessage(text: string): string {
  if (!text.includes("%")) return text;
  const bytes: number[] = [];
  for (let i = 0; i < text.length; i++) {
    const hex = text[i] === "%" ? text.slice(i + 1, i + 3) : "";
    if (/^[0-9a-fA-F]{2}$/.test(hex)) {
      bytes.push(Number.parseInt(hex, 16));
      i += 2;
    } else bytes.push(text.charCodeAt(i) & 0xff);
  }
  return new TextDecoder().decode(Uint8Array.from(bytes));
}

const HTTP_STATUS: Record<string, Code> = {
  400: Code.Internal,
  401: Code.Unauthenticated,
  403: Code.PermissionDenied,
  404: Code.Unimplemented,
  429: Code.Unavailable,
  431: Code.ResourceExhausted,
  502: Code.Unavailable,
  503: Code.Unavailable,
  504: Code.Unavailable,
};

/** For an answer that has no grpc-status. */
export const codeOfHttpStatus = (status: string): Code => HTTP_STATUS[status] ?? Code.Unknown;

const RESET: Partial<Record<ErrorCode, Code>> = {
  [ErrorCode.REFUSED_STREAM]: Code.Unavailable,
  [ErrorCode.CANCEL]: Code.Canceled,
  [ErrorCode.FLOW_CONTROL_ERROR]: Code.ResourceExhausted,
  [ErrorCode.ENHANCE_YOUR_CALM]: Code.ResourceExhausted,
  [ErrorCode.INADEQUATE_SECURITY]: Code.PermissionDenied,
};

/** What a call ends with whose stream ended without a status: a connection that went may be there again soon, whatever ended it. */
export function errorOfFailure({ error, unprocessed, connection }: StreamFailure): RpcError {
  const code = connection || unprocessed ? Code.Unavailable : (RESET[error.code] ?? Code.Internal);
  return new RpcError(code, error.message, { cause: error });
}

/** Fields of a stream's end that carry a status. */
export function statusFields({ code, message, details }: Pick<RpcError, "code" | "message" | "details">): string[] {
  const fields = message ? ["grpc-status", String(code), "grpc-message", encodeMessage(message)] : ["grpc-status", String(code)];
  if (details.length > 0) fields.push("grpc-status-details-bin", encodeBinary(encodeStatus(code, message, details)));
  return fields;
}

/** The error of trailers, undefined for OK. */
export function errorOfTrailers(fields: readonly string[], status: string, metadata: () => Headers): RpcError | undefined {
  let code: number | undefined;
  let message = "";
  let details: RpcError["details"] = [];
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i] === "grpc-status") code = Number(fields[i + 1]);
    else if (fields[i] === "grpc-message") message = decodeMessage(fields[i + 1]!);
    else if (fields[i] === "grpc-status-details-bin") details = decodeDetails(decodeBinary(fields[i + 1]!));
  }
  if (code === Code.OK) return undefined;
  if (code === undefined) {
    return status === "200"
      ? new RpcError(Code.Unknown, "the answer ended without a grpc-status", { metadata: metadata() })
      : new RpcError(codeOfHttpStatus(status), `unexpected HTTP status ${status}`, { metadata: metadata() });
  }
  return new RpcError(code in Code ? code : Code.Unknown, message, { metadata: metadata(), details });
}

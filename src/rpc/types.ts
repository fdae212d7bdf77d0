// What every client and server of a service in proto/ looks like, whatever
// carries it: gRPC on HTTP/2, gRPC-Web, Connect, or a call in the same process.
import type { DescMessage, DescMethod, DescService, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import type { PreparedMessage, RawMethod } from "./raw.ts";

/** gRPC status codes (grpc/grpc, doc/statuscodes.md). */
export enum Code {
  OK = 0,
  Canceled = 1,
  Unknown = 2,
  InvalidArgument = 3,
  DeadlineExceeded = 4,
  NotFound = 5,
  AlreadyExists = 6,
  PermissionDenied = 7,
  ResourceExhausted = 8,
  FailedPrecondition = 9,
  Aborted = 10,
  OutOfRange = 11,
  Unimplemented = 12,
  Internal = 13,
  Unavailable = 14,
  DataLoss = 15,
  Unauthenticated = 16,
}

/** What a status says beyond code and message: a message of any type, by its full name. */
export interface ErrorDetail {
  /** Such as "google.rpc.ErrorInfo". */
  readonly type: string;
  /** In protobuf's binary form. */
  readonly value: Uint8Array;
}

/** A call that ended with a status other than OK. */
export class RpcError extends Error {
  readonly code: Code;
  /** Trailing metadata that came with the status. */
  readonly metadata: Headers;
  readonly details: readonly ErrorDetail[];
  constructor(code: Code, message: string, options: { cause?: unknown; metadata?: Headers; details?: readonly ErrorDetail[] } = {}) {
    super(message, { cause: options.cause });
    this.name = "RpcError";
    this.code = code;
    this.metadata = options.metadata ?? new Headers();
    this.details = options.details ?? [];
  }
}

export interface CallOptions {
  /** Ends the call with Canceled. */
  signal?: AbortSignal;
  /** Milliseconds until the call ends with DeadlineExceeded. */
  timeout?: number;
  /** Metadata sent before the first message. */
  headers?: Record<string, string>;
  /** Wait while the server is away, rather than fail with Unavailable. */
  waitForReady?: boolean;
  /** Takes the metadata that comes before the first answer. */
  onHeaders?: (headers: Headers) => void;
}

export type UnaryCall<M extends DescMethod> = (
  request: MessageInitShape<M["input"]>,
  options?: CallOptions,
) => Promise<MessageShape<M["output"]>>;

export type ServerStreamCall<M extends DescMethod> = (
  request: MessageInitShape<M["input"]>,
  options?: CallOptions,
) => AsyncIterable<MessageShape<M["output"]>>;

/** Requests may be bytes, in protobuf's binary form. */
export type ClientStreamCall<M extends DescMethod> = (
  requests: AsyncIterable<MessageInitShape<M["input"]> | Uint8Array>,
  options?: CallOptions,
) => Promise<MessageShape<M["output"]>>;

export type BidiStreamCall<M extends DescMethod> = (
  requests: AsyncIterable<MessageInitShape<M["input"]>>,
  options?: CallOptions,
) => AsyncIterable<MessageShape<M["output"]>>;

type Call<M> = M extends DescMethod & { methodKind: "unary" }
  ? UnaryCall<M>
  : M extends DescMethod & { methodKind: "server_streaming" }
    ? ServerStreamCall<M>
    : M extends DescMethod & { methodKind: "client_streaming" }
      ? ClientStreamCall<M>
      : M extends DescMethod
        ? BidiStreamCall<M>
        : never;

/** A typed client: one function a method of the service. */
export type Client<S extends DescService> = { [K in keyof S["method"]]: Call<S["method"][K]> };

/** What a handler knows of the call it answers. */
export interface HandlerContext {
  /** Aborts when the client cancels, its deadline passes, or the connection ends. */
  readonly signal: AbortSignal;
  readonly requestHeaders: Headers;
  /** Sent before the first message of the answer. */
  readonly responseHeaders: Headers;
  /** Sent after the last message. */
  readonly responseTrailers: Headers;
  /** The verified certificate of the client in DER, where TLS asked for one. */
  readonly peerCertificate?: Uint8Array;
  /** Address of the client, "host:port", or "@" on a unix socket. */
  readonly peer: string;
}

/** What a handler answers with: a message, or one that is encoded already. */
type Answer<D extends DescMessage> = MessageInitShape<D> | PreparedMessage;

type Handler<M> = M extends DescMethod & { methodKind: "unary" }
  ? (request: MessageShape<M["input"]>, context: HandlerContext) => Promise<Answer<M["output"]>> | Answer<M["output"]>
  : M extends DescMethod & { methodKind: "server_streaming" }
    ? (request: MessageShape<M["input"]>, context: HandlerContext) => AsyncIterable<Answer<M["output"]>>
    : M extends DescMethod & { methodKind: "client_streaming" }
      ? (requests: AsyncIterable<MessageShape<M["input"]>>, context: HandlerContext) => Promise<Answer<M["output"]>>
      : M extends DescMethod
        ? (requests: AsyncIterable<MessageShape<M["input"]>>, context: HandlerContext) => AsyncIterable<Answer<M["output"]>>
        : never;

/** The implementation of a service. A method left out answers Unimplemented. */
export type ServiceImpl<S extends DescService> = { [K in keyof S["method"]]?: Handler<S["method"][K]> | RawMethod };

/** Where a server listens or a client connects. */
export type Address = { unix: string } | { host: string; port: number };

export interface TlsServerOptions {
  /** PEM. */
  cert: string;
  key: string;
  /** PEM of the authorities whose client certificates are accepted. */
  clientCa?: string;
  /** Refuse clients without a certificate. */
  requireClientCert?: boolean;
  /** Of TLS 1.2, by OpenSSL's names with colons between them. */
  ciphers?: string;
  /** 0x0303 is TLS 1.2, 0x0304 is TLS 1.3. */
  minVersion?: number;
  maxVersion?: number;
  /** Let clients in whose certificate is wrong, and tell it with each request: Peer.certificateError. */
  admitUnverified?: boolean;
}

export interface TlsClientOptions {
  ca?: string;
  cert?: string;
  key?: string;
  serverName?: string;
  /** Trust any certificate: for tests, and what upstream calls insecure-skip-tls-verify. */
  insecureSkipVerify?: boolean;
}

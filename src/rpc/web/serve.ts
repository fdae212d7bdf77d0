import type { CallPeer } from "../call.ts";
import type { Exchange } from "../exchange.ts";
import type { StreamListener } from "../http2/stream.ts";
import type { BoundMethod } from "../service.ts";
import type { WebOptions } from "./base.ts";
import { ConnectStreamCall, ConnectUnaryCall } from "./connect.ts";
import { GrpcWebCall } from "./grpc-web.ts";

/** Which of the protocols a content-type means. */
const PROTOCOLS = [
  { matches: /^application\/grpc-web(-text)?(\+proto)?$/, unaryOnly: undefined, Call: GrpcWebCall },
  { matches: /^application\/connect\+(proto|json)$/, unaryOnly: false, Call: ConnectStreamCall },
  { matches: /^application\/(proto|json)(; *charset=utf-8)?$/i, unaryOnly: true, Call: ConnectUnaryCall },
] as const;

export const isWeb = (contentType: string): boolean => PROTOCOLS.some(({ matches }) => matches.test(contentType));

/** Answers a call of gRPC-Web or Connect; undefined where the method does not go with the content-type. */
export function serveWeb(
  exchange: Exchange,
  fields: readonly string[],
  end: boolean,
  bound: BoundMethod,
  contentType: string,
  peer: CallPeer,
  options: WebOptions,
): StreamListener | undefined {
  const unary = bound.method.methodKind === "unary";
  const protocol = PROTOCOLS.find(
    ({ matches, unaryOnly }) => matches.test(contentType) && (unaryOnly === undefined || unaryOnly === unary),
  );
  if (!protocol) return undefined;
  const call = new protocol.Call(exchange, fields, bound, peer, options);
  call.start(call.timeout, end);
  return call;
}

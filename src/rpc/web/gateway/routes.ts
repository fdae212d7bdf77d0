import type { CallPeer } from "../../call.ts";

/** A method at a path of the gateway. */
export interface GatewayRoute {
  /** "/package.Service/Method" */
  readonly method: string;
  /** Goes on when the body of the request has ended: its end says nothing, for few clients can keep one open. */
  readonly outlivesBody?: boolean;
}

/** JSON over plain POSTs, at paths of their own. */
export interface Gateway {
  /** Whether a path is the gateway's: asked for every request that is no gRPC. */
  owns(path: string): boolean;
  /** What answers a path, without its query; undefined where nothing does. */
  route(path: string): GatewayRoute | undefined;
  /** Why this client may not ask here at all, whatever the path; undefined where it may. */
  refusal?(peer: CallPeer): string | undefined;
}

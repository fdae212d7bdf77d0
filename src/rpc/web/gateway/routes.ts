import type { CallPeer } from "../../call.ts";

/** JSON over plain POSTs, at paths of their own. */
export interface Gateway {
  /** Whether a path is the gateway's: asked for every request that is no gRPC. */
  owns(path: string): boolean;
  /** The "/package.Service/Method" that answers a path, without its query; undefined where nothing does. */
  route(path: string): string | undefined;
  /** Why this client may not ask here at all, whatever the path; undefined where it may. */
  refusal?(peer: CallPeer): string | undefined;
}

// Resources that are never stored: reviews, mostly.
import type { KindInfo } from "../api/schema.ts";
import type { ListOptions, Target } from "../client/transport.ts";
import type { ListResult } from "./registry/read.ts";
import type { Fresh } from "./registry/strategy.ts";
import type { RequestContext } from "./request.ts";
import type { Entry } from "./storage/entry.ts";

export interface VirtualResource {
  readonly info: KindInfo;
  create?(context: RequestContext, target: Target, object: Fresh): Promise<Entry>;
  list?(options: ListOptions): Promise<ListResult>;
}

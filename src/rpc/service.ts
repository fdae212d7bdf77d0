import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { RawMethod } from "./raw.ts";
import { MethodStats } from "./stats.ts";
import type { ServiceImpl } from "./types.ts";

/** A service and what answers it, for createRpcServer. */
export interface Service {
  readonly desc: DescService;
  readonly impl: Record<string, unknown>;
}

export { PreparedMessage, type Reply, raw, rawReply, rawUnary } from "./raw.ts";

/** Pairs a service of proto/ with its implementation, whose types follow from it. */
export function service<S extends DescService>(desc: S, impl: ServiceImpl<S>): Service {
  return { desc, impl: impl as Record<string, unknown> };
}

/** "/package.Service/Method", as it stands in :path. */
export const methodPath = (method: DescMethod): string => `/${method.parent.typeName}/${method.name}`;

export interface BoundMethod {
  readonly method: DescMethod;
  /** A function, or RawMethod; undefined where the implementation leaves it out. */
  readonly handle: unknown;
  readonly stats: MethodStats;
}

/** @param timed measure how long each call takes */
export function bindMethods(services: readonly Service[], timed = false): Map<string, BoundMethod> {
  const methods = new Map<string, BoundMethod>();
  for (const { desc, impl } of services) {
    for (const method of desc.methods) {
      const handle = impl[method.localName];
      const bound = typeof handle === "function" ? handle.bind(impl) : handle instanceof RawMethod ? handle : undefined;
      methods.set(methodPath(method), { method, handle: bound, stats: new MethodStats(timed) });
    }
  }
  return methods;
}

// What a method needs while auth is on. Those that check by themselves, for it
// depends on keys, say so here; one that the table doesn't have is root's.
import type { DescMethod } from "@bufbuild/protobuf";
import { type AlarmRequest, AlarmRequest_AlarmAction } from "../../rpc/gen/etcd/rpc_pb.ts";
import { type RawListener, RawMethod } from "../../rpc/raw.ts";
import { methodPath, type Service } from "../../rpc/service.ts";
import type { HandlerContext } from "../../rpc/types.ts";
import type { Member } from "../member.ts";
import { rpcError } from "./errors.ts";
import type { Gate } from "./gate.ts";

type Level = "itself" | "anybody" | "user" | "root";

const LEVELS: Record<string, Level | ((request: never) => Level)> = {
  "/etcdserverpb.KV/Range": "itself",
  "/etcdserverpb.KV/Put": "itself",
  "/etcdserverpb.KV/DeleteRange": "itself",
  "/etcdserverpb.KV/Txn": "itself",
  "/etcdserverpb.Watch/Watch": "itself",
  "/etcdserverpb.Lease/LeaseGrant": "itself",
  "/etcdserverpb.Lease/LeaseRevoke": "itself",
  "/etcdserverpb.Lease/LeaseKeepAlive": "itself",
  "/etcdserverpb.Lease/LeaseTimeToLive": "itself",
  "/etcdserverpb.Lease/LeaseLeases": "itself",
  "/etcdserverpb.Cluster/MemberList": "user",
  "/etcdserverpb.Maintenance/Status": "user",
  "/etcdserverpb.Maintenance/Alarm": (r: AlarmRequest) => (r.action === AlarmRequest_AlarmAction.GET ? "user" : "root"),
  // Whoever signs their own tokens has to know the revision.
  "/etcdserverpb.Auth/AuthStatus": "anybody",
  "/etcdserverpb.Auth/Authenticate": "anybody",
  "/etcdserverpb.Auth/UserGet": "itself",
  "/etcdserverpb.Auth/RoleGet": "itself",
  "/v3lockpb.Lock/Lock": "itself",
  "/v3lockpb.Lock/Unlock": "itself",
  "/v3electionpb.Election/Campaign": "itself",
  "/v3electionpb.Election/Proclaim": "itself",
  "/v3electionpb.Election/Leader": "itself",
  "/v3electionpb.Election/Observe": "itself",
  "/v3electionpb.Election/Resign": "itself",
};

/** gRPC's own: health and reflection tell nothing of what is stored. */
const levelOf = (path: string) => (path.startsWith("/grpc.") ? "anybody" : (LEVELS[path] ?? "root"));

type Handle = (request: never, call: HandlerContext) => unknown;

/** The service with what its methods need put before them. */
export function guarded(service: Service, member: Member, gate: Gate): Service {
  const impl: Record<string, unknown> = { ...service.impl };
  for (const method of service.desc.methods) {
    const level = levelOf(methodPath(method));
    const handle = impl[method.localName];
    if (handle === undefined || level === "itself" || level === "anybody") continue;
    const check = async (request: unknown, call: HandlerContext) => {
      const needed = typeof level === "function" ? level(request as never) : level;
      try {
        const by = await gate.author(call);
        if (needed === "root") member.state.auth.requireRoot(by);
        else member.state.auth.requireUser(by);
      } catch (error) {
        throw rpcError(error);
      }
    };
    impl[method.localName] = guardedMethod(method, handle, gate, check);
  }
  return { desc: service.desc, impl };
}

function guardedMethod(method: DescMethod, handle: unknown, gate: Gate, check: (request: unknown, call: HandlerContext) => Promise<void>) {
  if (handle instanceof RawMethod) return guardedRaw(handle, gate, check);
  const run = handle as Handle;
  if (method.methodKind === "unary") {
    return (request: never, call: HandlerContext) => (gate.on ? check(request, call).then(() => run(request, call)) : run(request, call));
  }
  if (method.methodKind !== "server_streaming") throw new Error(`${methodPath(method)} takes a stream, and has to check by itself`);
  return async function* (request: never, call: HandlerContext) {
    if (gate.on) await check(request, call);
    yield* run(request, call) as AsyncIterable<unknown>;
  };
}

/** For one request: it is handed on once it is known to be allowed. */
function guardedRaw(method: RawMethod, gate: Gate, check: (request: unknown, call: HandlerContext) => Promise<void>): RawMethod {
  return new RawMethod((call) => {
    if (!gate.on) return method.open(call);
    let request: Uint8Array | undefined;
    let inner: RawListener | undefined;
    return {
      message: (bytes) => {
        request = bytes;
      },
      requestsEnd: async () => {
        await check(request, call);
        if (call.finished) return;
        inner = method.open(call);
        inner.message(request!);
        await inner.requestsEnd?.();
      },
      drained: () => inner?.drained?.(),
      canceled: (error) => inner?.canceled?.(error),
    };
  });
}

/** A service whose hot methods have two forms: the one without checks while auth is off, and the other while it is on. */
export function either(off: Service, on: Service, gate: Gate): Service {
  const impl: Record<string, unknown> = { ...off.impl };
  for (const [name, careful] of Object.entries(on.impl)) {
    const fast = impl[name];
    if (!(fast instanceof RawMethod && careful instanceof RawMethod)) throw new Error(`${name} has no two forms`);
    impl[name] = new RawMethod((call) => (gate.on ? careful : fast).open(call));
  }
  return { desc: off.desc, impl };
}

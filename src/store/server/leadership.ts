// What is checked of every call before a service sees it (etcd's
// server/etcdserver/api/v3rpc/interceptor.go): learners answer little, and a
// client that asks for a leader is refused, or sent away, where there is none.
import { Maintenance, RangeRequestSchema } from "../../rpc/gen/etcd/rpc_pb.ts";
import { fromBinary } from "../../rpc/protobuf.ts";
import { type RawCall, RawMethod } from "../../rpc/raw.ts";
import type { Service } from "../../rpc/service.ts";
import type { HandlerContext } from "../../rpc/types.ts";
import type { Member } from "../member.ts";
import { Refused } from "../mvcc/errors.ts";
import { rpcError } from "./errors.ts";

/** Metadata of a client that wants no answer from a member without a leader. */
const HAS_LEADER = "hasleader";
/** Election timeouts without a leader after which streams that want one end. */
const PATIENCE = 3;

const noLeader = () => rpcError(new Refused("no-leader"));
const notForLearner = () => rpcError(new Refused("not-for-learner"));

const wantsLeader = (context: HandlerContext) => context.requestHeaders.get(HAS_LEADER) === "true";

/** What a learner answers: reads of its own state. */
const SERIALIZABLE = new Set(["Range"]);
const ALWAYS = new Set(["Status", "Snapshot"]);

type Handle = (request: unknown, context: HandlerContext) => unknown;

/** Ends streams when there has been no leader for long. */
export class LeaderWatch {
  readonly #member: Member;
  readonly #patience: number;
  readonly #streams = new Set<() => void>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** @param election milliseconds of an election timeout */
  constructor(member: Member, election: number) {
    this.#member = member;
    this.#patience = PATIENCE * election;
    member.leaderChanged.add(() => this.#look());
  }

  /** Calls back once, unless the returned function was called before. */
  add(lost: () => void): () => void {
    this.#streams.add(lost);
    this.#look();
    return () => this.#streams.delete(lost);
  }

  #look(): void {
    const lost = this.#member.consensus.leader === 0n && this.#streams.size > 0;
    if (lost) this.#timer ??= setTimeout(() => this.#end(), this.#patience).unref();
    else {
      clearTimeout(this.#timer);
      this.#timer = undefined;
    }
  }

  #end(): void {
    this.#timer = undefined;
    const streams = [...this.#streams];
    this.#streams.clear();
    for (const lost of streams) lost();
  }
}

/** The service with these checks in front. */
export function led(service: Service, member: Member, leader: LeaderWatch): Service {
  const impl: Record<string, unknown> = {};
  for (const method of service.desc.methods) {
    const handle = service.impl[method.localName];
    const { name } = method;
    const streams = method.methodKind !== "unary";
    const takesStream = method.methodKind === "bidi_streaming" || method.methodKind === "client_streaming";
    const learner = (serializable: () => boolean) => {
      if (!member.isLearner || (ALWAYS.has(name) && service.desc === Maintenance)) return;
      if (!(SERIALIZABLE.has(name) && serializable())) throw notForLearner();
    };
    const checkLeader = (context: HandlerContext) => {
      if (member.consensus.leader === 0n && wantsLeader(context)) throw noLeader();
    };
    if (handle instanceof RawMethod) {
      impl[method.localName] = new RawMethod((call) => {
        checkLeader(call);
        if (!SERIALIZABLE.has(name)) learner(() => false);
        const listener = handle.open(call);
        if (streams) return wantsLeader(call) ? leaderful(call, listener, leader) : listener;
        if (!SERIALIZABLE.has(name) || !member.isLearner) return listener;
        return {
          ...bind(listener),
          message(request) {
            learner(() => fromBinary(RangeRequestSchema, request).serializable);
            listener.message(request);
          },
        };
      });
    } else if (typeof handle === "function") {
      const run = handle.bind(service.impl) as Handle;
      const check = (request: unknown, context: HandlerContext) => {
        checkLeader(context);
        learner(() => !takesStream && (request as { serializable?: boolean }).serializable === true);
      };
      impl[method.localName] = streams
        ? async function* (request: unknown, context: HandlerContext) {
            check(request, context);
            const answers = run(request, context) as AsyncIterable<unknown>;
            if (wantsLeader(context)) yield* untilLost(answers, leader);
            else yield* answers;
          }
        : (request: unknown, context: HandlerContext) => {
            check(request, context);
            return run(request, context);
          };
    }
  }
  return { desc: service.desc, impl };
}

type Listener = ReturnType<RawMethod["open"]>;

/** Methods may be a class's. */
function bind(listener: Listener): Listener {
  return {
    message: (request) => listener.message(request),
    requestsEnd: () => listener.requestsEnd?.(),
    drained: () => listener.drained?.(),
    canceled: (error) => listener.canceled?.(error),
  };
}

function leaderful(call: RawCall, listener: Listener, leader: LeaderWatch): Listener {
  const error = noLeader() as Parameters<NonNullable<Listener["canceled"]>>[0];
  const forget = leader.add(() => {
    if (call.finished) return;
    call.end(error);
    listener.canceled?.(error);
  });
  return {
    ...bind(listener),
    requestsEnd() {
      forget();
      return listener.requestsEnd?.();
    },
    canceled(why) {
      forget();
      listener.canceled?.(why);
    },
  };
}

async function* untilLost(answers: AsyncIterable<unknown>, leader: LeaderWatch): AsyncGenerator<unknown> {
  const lost = Promise.withResolvers<never>();
  lost.promise.catch(() => {});
  const forget = leader.add(() => lost.reject(noLeader()));
  const iterator = answers[Symbol.asyncIterator]();
  try {
    for (;;) {
      const { value, done } = await Promise.race([iterator.next(), lost.promise]);
      if (done) return;
      yield value;
    }
  } finally {
    forget();
    // One that waits for a request ends with the call.
    iterator.return?.().catch(() => {});
  }
}

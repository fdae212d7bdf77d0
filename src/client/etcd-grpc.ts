// A store behind etcd's gRPC API: kubun's own, or an etcd from 3.4 on.
import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Channel, createClient } from "../rpc/client.ts";
import { KV, Lease, type LeaseKeepAliveRequestSchema, Maintenance } from "../rpc/gen/etcd/rpc_pb.ts";
import type { Client, TlsClientOptions } from "../rpc/types.ts";
import {
  type Compare,
  type Op,
  type RangeOptions,
  type RangeResult,
  type StoreClient,
  StoreError,
  type TxnResult,
  type Watch,
  type WatchHandler,
  type WatchOptions,
} from "./etcd.ts";
import { Endpoints, REQUIRE_LEADER, Requests } from "./etcd-grpc-endpoints.ts";
import { compareMessage, opResult, rangeRequest, rangeResult, requestOp, storeError } from "./etcd-grpc-messages.ts";
import { WatchMux } from "./etcd-grpc-watch.ts";

export interface EtcdClientOptions {
  /** host:port, or URLs of http, https or unix. */
  endpoints: readonly string[];
  /** For https endpoints. */
  tls?: TlsClientOptions;
  /** Milliseconds until an attempt to connect fails. Default 2 000. */
  connectTimeout?: number;
  /** Milliseconds until a request fails. Default 10 000. */
  requestTimeout?: number;
}

export class EtcdClient implements StoreClient {
  readonly #endpoints: Endpoints;
  readonly #timeout: number;
  readonly #watches: WatchMux;
  readonly #keepAlives: KeepAlives;

  /** Throws StoreError "invalid" for an endpoint that is none. Connects when it is first used. */
  constructor(options: EtcdClientOptions) {
    this.#endpoints = new Endpoints(options.endpoints, options.tls, options.connectTimeout ?? 2000);
    this.#timeout = options.requestTimeout ?? 10_000;
    this.#watches = new WatchMux(this.#endpoints);
    this.#keepAlives = new KeepAlives(this.#endpoints);
  }

  async range(key: Uint8Array, options: RangeOptions = {}): Promise<RangeResult> {
    const r = await this.#kv(true, (kv, o) => kv.range(rangeRequest(key, options), o));
    return rangeResult(r, revisionOf(r));
  }

  async txn(compare: Compare[], success: Op[], failure: Op[] = []): Promise<TxnResult> {
    const request = { compare: compare.map(compareMessage), success: success.map(requestOp), failure: failure.map(requestOp) };
    const reads = [...success, ...failure].every((op) => op.type === "range");
    const r = await this.#kv(reads, (kv, o) => kv.txn(request, o));
    const revision = revisionOf(r);
    return { revision, succeeded: r.succeeded, results: r.responses.map((op) => opResult(op, revision)) };
  }

  watch(key: Uint8Array, options: WatchOptions, handler: WatchHandler): Watch {
    return this.#watches.watch(key, options, handler);
  }

  async leaseGrant(ttl: number, id?: bigint): Promise<{ id: bigint; ttl: number }> {
    // Made twice, one the store chose the id of just expires.
    const r = await this.#lease(!id, (lease, o) => lease.leaseGrant({ TTL: BigInt(ttl), ID: id ?? 0n }, o));
    return { id: r.ID, ttl: Number(r.TTL) };
  }

  async leaseKeepAlive(id: bigint): Promise<{ ttl: number }> {
    const ttl = await this.#keepAlives.keepAlive(id, this.#timeout);
    if (ttl <= 0) throw new StoreError("lease-not-found", "etcdserver: requested lease not found");
    return { ttl };
  }

  async leaseRevoke(id: bigint): Promise<void> {
    await this.#lease(false, (lease, o) => lease.leaseRevoke({ ID: id }, o));
  }

  async compact(revision: number, options: { physical?: boolean } = {}): Promise<void> {
    await this.#kv(false, (kv, o) => kv.compact({ revision: BigInt(revision), physical: options.physical }, o));
  }

  async status(): Promise<{ revision: number; dbSize: number; version: string; errors: string[] }> {
    const r = await this.#call(true, (channel, timeout) => createClient(Maintenance, channel).status({}, { timeout }));
    return { revision: revisionOf(r), dbSize: Number(r.dbSize), version: r.version, errors: r.errors };
  }

  async close(): Promise<void> {
    this.#watches.close();
    this.#keepAlives.close();
    this.#endpoints.close();
  }

  #kv<T>(again: boolean, call: (kv: Client<typeof KV>, options: { timeout: number }) => Promise<T>): Promise<T> {
    return this.#call(again, (channel, timeout) => call(createClient(KV, channel), { timeout }));
  }

  #lease<T>(again: boolean, call: (lease: Client<typeof Lease>, options: { timeout: number }) => Promise<T>): Promise<T> {
    return this.#call(again, (channel, timeout) => call(createClient(Lease, channel), { timeout }));
  }

  async #call<T>(again: boolean, call: (channel: Channel, timeout: number) => Promise<T>): Promise<T> {
    try {
      return await this.#endpoints.call(again, this.#timeout, call);
    } catch (error) {
      throw storeError(error);
    }
  }
}

const revisionOf = (r: { header?: { revision: bigint } }) => Number(r.header?.revision ?? 0n);

type KeepAliveRequest = MessageInitShape<typeof LeaseKeepAliveRequestSchema>;

interface Waiting {
  resolve(ttl: number): void;
  reject(error: Error): void;
}

/** Keep-alives share one stream, which lasts as long as it works. */
class KeepAlives {
  readonly #endpoints: Endpoints;
  #requests: Requests<KeepAliveRequest> | undefined;
  #waiting = new Map<bigint, Waiting[]>();

  constructor(endpoints: Endpoints) {
    this.#endpoints = endpoints;
  }

  /** Resolves with the TTL, 0 if there is no such lease. */
  keepAlive(id: bigint, timeout: number): Promise<number> {
    const requests = this.#requests ?? this.#open();
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const timer = setTimeout(() => reject(new StoreError("timeout", "the store did not answer a keep-alive in time")), timeout);
    const waiting = this.#waiting.get(id);
    if (waiting) waiting.push({ resolve, reject });
    else this.#waiting.set(id, [{ resolve, reject }]);
    requests.push({ ID: id });
    return promise.finally(() => clearTimeout(timer));
  }

  close(): void {
    this.#requests?.end();
  }

  #open(): Requests<KeepAliveRequest> {
    const requests = new Requests<KeepAliveRequest>();
    const waiting = new Map<bigint, Waiting[]>();
    this.#requests = requests;
    this.#waiting = waiting;
    this.#read(requests, waiting).then(
      () => this.#lost(requests, waiting, new StoreError("unavailable", "the store ended the stream of keep-alives")),
      (error) => this.#lost(requests, waiting, storeError(error)),
    );
    return requests;
  }

  async #read(requests: Requests<KeepAliveRequest>, waiting: Map<bigint, Waiting[]>): Promise<void> {
    const { channel } = this.#endpoints;
    try {
      for await (const { ID, TTL } of createClient(Lease, channel).leaseKeepAlive(requests, { headers: REQUIRE_LEADER })) {
        const list = waiting.get(ID);
        list?.shift()?.resolve(Number(TTL));
        if (list?.length === 0) waiting.delete(ID);
      }
    } catch (error) {
      this.#endpoints.next(channel);
      throw error;
    }
  }

  #lost(requests: Requests<KeepAliveRequest>, waiting: Map<bigint, Waiting[]>, error: Error): void {
    requests.end();
    if (this.#requests === requests) this.#requests = undefined;
    for (const list of waiting.values()) for (const w of list) w.reject(error);
  }
}

// A store with users, served on a port, and clients of it.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { Requests } from "../../client/etcd-grpc-endpoints.ts";
import { type Channel, connect, createClient } from "../../rpc/client.ts";
import { Permission_Type } from "../../rpc/gen/etcd/auth_pb.ts";
import { Auth, KV, Watch, type WatchRequestSchema } from "../../rpc/gen/etcd/rpc_pb.ts";
import { type CallOptions, Code, type RpcError } from "../../rpc/types.ts";
import { Store, type StoreOptions } from "../mod.ts";

export const bytes = (s: string) => new TextEncoder().encode(s);

/** "Code: message" of what a call fails with; undefined if it doesn't. */
export async function failure(promise: Promise<unknown>): Promise<string | undefined> {
  const e = (await promise.then(
    () => undefined,
    (error: unknown) => error,
  )) as RpcError | undefined;
  return e && `${Code[e.code]}: ${e.message}`;
}

export const EMPTY = "InvalidArgument: etcdserver: user name is empty";
export const DENIED = "PermissionDenied: etcdserver: permission denied";
export const INVALID = "Unauthenticated: etcdserver: invalid auth token";
export const OLD = "InvalidArgument: etcdserver: revision of auth store is old";

export class Served implements AsyncDisposable {
  readonly store: Store;
  readonly channel: Channel;
  readonly #folder: string | undefined;
  private constructor(store: Store, folder: string | undefined) {
    this.store = store;
    this.#folder = folder;
    const { hostname, port } = new URL(store.address!);
    this.channel = connect({ host: hostname, port: Number(port) });
  }

  static async start(options: Partial<StoreOptions> = {}): Promise<Served> {
    const folder = options.dataDir ? undefined : mkdtempSync(join(tmpdir(), "kubun-served-"));
    const store = new Store({
      dataDir: folder ?? "",
      listen: [{ host: "127.0.0.1", port: 0 }],
      auth: { bcryptCost: 4 },
      ...options,
    });
    try {
      await store.start();
      return new Served(store, folder);
    } catch (error) {
      if (folder) rmSync(folder, { recursive: true, force: true });
      throw error;
    }
  }

  async [Symbol.asyncDispose]() {
    this.channel.close();
    await this.store.stop();
    if (this.#folder) rmSync(this.#folder, { recursive: true, force: true });
  }

  get auth() {
    return createClient(Auth, this.channel);
  }

  get kv() {
    return createClient(KV, this.channel);
  }

  /** root, and alice who may read and write what begins with "a", and write w; auth is on. */
  async users(): Promise<void> {
    const { auth } = this;
    await auth.userAdd({ name: "root", password: "pw" });
    await auth.userGrantRole({ user: "root", role: "root" });
    await auth.userAdd({ name: "alice", password: "apw" });
    await auth.roleAdd({ name: "r" });
    await auth.roleGrantPermission({ name: "r", perm: { permType: Permission_Type.READWRITE, key: bytes("a"), rangeEnd: bytes("b") } });
    await auth.roleGrantPermission({ name: "r", perm: { permType: Permission_Type.WRITE, key: bytes("w") } });
    await auth.userGrantRole({ user: "alice", role: "r" });
    await auth.authEnable({});
  }

  async token(name: string, password: string): Promise<CallOptions> {
    return { headers: { token: (await this.auth.authenticate({ name, password })).token } };
  }

  /** What the first answer of a watch says. */
  async watch(key: string, end: string | undefined, options: CallOptions): Promise<{ id: bigint; reason: string }> {
    const requests = new Requests<MessageInitShape<typeof WatchRequestSchema>>();
    const rangeEnd = end === undefined ? undefined : bytes(end);
    requests.push({ requestUnion: { case: "createRequest", value: { key: bytes(key), rangeEnd } } });
    try {
      for await (const r of createClient(Watch, this.channel).watch(requests, options)) return { id: r.watchId, reason: r.cancelReason };
      throw new Error("the stream ended");
    } finally {
      requests.end();
    }
  }
}

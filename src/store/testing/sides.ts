// A store of ours and Debian's etcd side by side, to be asked the same.
import { expect } from "bun:test";
import { type Channel, connect } from "../../rpc/client.ts";
import { Code, RpcError } from "../../rpc/types.ts";
import { type RealEtcd, startEtcd } from "../../testing/etcd.ts";
import type { StoreOptions } from "../mod.ts";
import { Served } from "./served.ts";

/** The seeds of a run; KUBUN_STORE_SEEDS=7,8,9 takes others. */
export const seedsOf = (...usual: number[]): number[] => process.env.KUBUN_STORE_SEEDS?.split(",").map(Number) ?? usual;

/** Ids and terms of a cluster are its own. */
const OWN = new Set(["$typeName", "$unknown", "clusterId", "memberId", "raftTerm"]);

/** An answer for comparison. */
export function plain(value: unknown): unknown {
  if (typeof value === "bigint") return String(value);
  if (value instanceof Uint8Array) return Buffer.from(value).toString("latin1");
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  const fields = Object.entries(value).filter(([name]) => !OWN.has(name));
  return Object.fromEntries(fields.map(([name, v]) => [name, plain(v)]));
}

/** What a call answers, or "Code: message" of what it fails with. */
export async function outcome(asked: Promise<unknown>): Promise<unknown> {
  try {
    return plain(await asked);
  } catch (error) {
    if (!(error instanceof RpcError)) throw error;
    return `${Code[error.code]}: ${error.message}`;
  }
}

/** 0 is etcd's, 1 is ours. */
export type Ask = (channel: Channel, side: 0 | 1) => Promise<unknown>;

export class Sides implements AsyncDisposable {
  readonly etcd: RealEtcd;
  readonly ours: Served;
  readonly channels: readonly [Channel, Channel];

  private constructor(etcd: RealEtcd, ours: Served) {
    this.etcd = etcd;
    this.ours = ours;
    this.channels = [connect({ host: "127.0.0.1", port: Number(etcd.endpoint.split(":")[1]) }), ours.channel];
  }

  static async start(flags: readonly string[] = [], options: Partial<StoreOptions> = {}): Promise<Sides> {
    const [etcd, ours] = await Promise.all([startEtcd(["--bcrypt-cost", "4", ...flags]), Served.start(options)]);
    return new Sides(etcd, ours);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.channels[0].close();
    await Promise.all([this.etcd[Symbol.asyncDispose](), this.ours[Symbol.asyncDispose]()]);
  }

  both<T>(run: (channel: Channel, side: 0 | 1) => Promise<T>): Promise<[T, T]> {
    return Promise.all([run(this.channels[0], 0), run(this.channels[1], 1)]);
  }

  /** Asks both, and fails where they differ; what both say. */
  async same(what: string, ask: Ask): Promise<unknown> {
    const [theirs, ours] = await this.both((channel, side) => outcome(ask(channel, side)));
    expect([what, ours]).toEqual([what, theirs]);
    return ours;
  }
}

// containerd's stores, over the same socket as the CRI: what `ctr` would do,
// without a program to start, and resumed where a killed start left off.
import { linkSync, mkdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Channel } from "../../rpc/client.ts";
import { createClient } from "../../rpc/client.ts";
import { Content, WriteAction, type WriteContentRequestSchema } from "../../rpc/gen/containerd/content_pb.ts";
import { Images } from "../../rpc/gen/containerd/images_pb.ts";
import { Leases } from "../../rpc/gen/containerd/leases_pb.ts";
import { Snapshots } from "../../rpc/gen/containerd/snapshots_pb.ts";
import { Code, RpcError } from "../../rpc/types.ts";
import { digestOf, hex } from "../images/oci.ts";
import type { ContainerdPaths } from "./config.ts";

/** containerd's namespace for what the CRI sees. */
export const NAMESPACE = "k8s.io";

const SNAPSHOTTER = "overlayfs";
/** How long a start that was killed keeps what it made from being collected. */
const LEASE_HOURS = 1;

type Labels = Record<string, string>;
type Request = MessageInitShape<typeof WriteContentRequestSchema>;

const isCode = (error: unknown, code: Code): boolean => error instanceof RpcError && error.code === code;

export class ContainerdStore {
  readonly #paths: ContainerdPaths;
  readonly #channel: Channel;
  readonly #lease: string;

  private constructor(paths: ContainerdPaths, channel: Channel, lease: string) {
    this.#paths = paths;
    this.#channel = channel;
    this.#lease = lease;
  }

  /** Calls back with a store of which nothing is collected as garbage meanwhile. */
  static async leased(paths: ContainerdPaths, channel: Channel, use: (store: ContainerdStore) => Promise<void>): Promise<void> {
    const leases = createClient(Leases, channel);
    const headers = { "containerd-namespace": NAMESPACE };
    const id = `kubun-${crypto.randomUUID()}`;
    const expires = new Date(Date.now() + LEASE_HOURS * 3_600_000).toISOString();
    await leases.create({ id, labels: { "containerd.io/gc.expire": expires } }, { headers });
    try {
      await use(new ContainerdStore(paths, channel, id));
    } finally {
      await leases.delete({ id }, { headers });
    }
  }

  get #options() {
    return { headers: { "containerd-namespace": NAMESPACE, "containerd-lease": this.#lease } };
  }

  /** Stores a small blob; returns its digest. */
  async putBytes(bytes: Uint8Array, labels: Labels = {}): Promise<string> {
    const digest = digestOf(bytes);
    await this.#write(digest, bytes.length, labels, async function* (offset) {
      yield bytes.subarray(offset);
    });
    return digest;
  }

  /**
   * Stores a file, which is moved. It is put where containerd keeps its blobs,
   * so that containerd finds all of it there already; otherwise it is sent.
   */
  async putFile(file: string, digest: string, size: number): Promise<void> {
    const blobs = join(this.#paths.root, "io.containerd.content.v1.content/blobs/sha256");
    const blob = join(blobs, hex(digest));
    mkdirSync(blobs, { recursive: true });
    // A second name keeps the content within reach if containerd cleans up between the two.
    const moving = `${file}.moving`;
    linkSync(file, moving);
    renameSync(moving, blob);
    await this.#write(digest, size, {}, async function* (offset) {
      for await (const chunk of Bun.file(file).slice(offset).stream()) yield chunk;
    });
  }

  async #write(digest: string, size: number, labels: Labels, content: (offset: number) => AsyncIterable<Uint8Array>): Promise<void> {
    const client = createClient(Content, this.#channel);
    const ref = `kubun-${digest}`;
    const { promise: held, resolve: hold } = Promise.withResolvers<number>();
    const requests = async function* (): AsyncGenerator<Request> {
      const common = { ref, total: BigInt(size), expected: digest };
      yield { action: WriteAction.STAT, ...common };
      let offset = await held;
      if (offset < size) {
        for await (const data of content(offset)) {
          yield { action: WriteAction.WRITE, ref, offset: BigInt(offset), data };
          offset += data.length;
        }
      }
      yield { action: WriteAction.COMMIT, ...common, offset: BigInt(size), labels };
    };
    try {
      for await (const answer of client.write(requests(), this.#options)) {
        if (answer.action === WriteAction.STAT) hold(Number(answer.offset));
      }
    } catch (error) {
      if (isCode(error, Code.AlreadyExists)) return;
      await client.abort({ ref }, this.#options).catch(() => {});
      throw error;
    }
  }

  /** A root file system that `fill` writes; `digest` of its layer is known afterwards, and names it. */
  async putSnapshot(fill: (root: string) => Promise<string>): Promise<string> {
    const client = createClient(Snapshots, this.#channel);
    const key = `${this.#lease}-${crypto.randomUUID()}`;
    const { mounts } = await client.prepare({ snapshotter: SNAPSHOTTER, key }, this.#options);
    const [mount] = mounts;
    if (mount?.type !== "bind") throw new Error(`containerd's snapshotter gives a mount of type ${mount?.type} for an empty root`);
    const name = await fill(mount.source);
    try {
      await client.commit({ snapshotter: SNAPSHOTTER, name, key }, this.#options);
    } catch (error) {
      if (!isCode(error, Code.AlreadyExists)) throw error;
      await client.remove({ snapshotter: SNAPSHOTTER, key }, this.#options);
    }
    return name;
  }

  /** Gives an image its name, in place of another that has it. */
  async putImage(name: string, mediaType: string, digest: string, size: number): Promise<void> {
    const client = createClient(Images, this.#channel);
    const image = { name, target: { mediaType, digest, size: BigInt(size) } };
    try {
      await client.create({ image }, this.#options);
    } catch (error) {
      if (!isCode(error, Code.AlreadyExists)) throw error;
      await client.update({ image }, this.#options);
    }
  }
}

/** The labels by which an image's parts keep each other from being collected. */
export const keeps = {
  content: (config: string, layer: string): Labels => ({
    "containerd.io/gc.ref.content.config": config,
    "containerd.io/gc.ref.content.l.0": layer,
  }),
  snapshot: (name: string): Labels => ({ [`containerd.io/gc.ref.snapshot.${SNAPSHOTTER}`]: name }),
};

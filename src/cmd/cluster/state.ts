// A data directory: what cluster it holds, who has it open, and where its
// sockets are.
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { writeDurable } from "../../platform/files.ts";
import { identify } from "../../platform/process.ts";
import { UsageError } from "../flags.ts";
import type { StorageMediaType } from "../storage-media-type.ts";
import { openStored } from "./store-choice.ts";
import type { EtcdSettings } from "./up-options.ts";

/** Raised when what is stored can't be read by the version before. */
const FORMAT = 1;

/** What a cluster is made with and can't change afterwards. */
export interface ClusterConfig {
  format: number;
  /** Eight hex digits; everything made on the machine carries them. */
  id: string;
  podCidr: string;
  serviceCidr: string;
  clusterDomain: string;
  /** 1 where absent; can grow. */
  controlPlanes?: number;
  /** The store, where it is not the cluster's own. */
  etcd?: EtcdSettings;
  /** How objects are stored, where a start has said so; one that doesn't keeps to it. */
  storageMediaType?: StorageMediaType;
  createdAt: string;
}

/** What the last start chose; stays after a crash, for `down` and `status`. */
export interface RunState {
  pid: number;
  /** Clock ticks after boot (proc_pid_stat(5), field 22): tells the process from a later one of the same pid. */
  startTime: string;
  server: string;
  kubeconfig: string;
  /** "none" without a node. */
  runtime: "embedded" | "containerd" | "external" | "none";
  runtimeEndpoint: string;
  nodes: number;
  /** Network of the hosts of nodes after the first, once there were any. */
  hostCidr?: string;
}

export type ClusterFile = ClusterConfig & { runDir: string } & Partial<RunState>;

const short = (dir: string) => resolve(dir);

/** Clock ticks after boot; undefined once it has ended with all that it had open. */
export const processStartTime = (pid: number): string | undefined => identify(pid)?.start;

export class DataDir {
  readonly path: string;
  constructor(path: string) {
    this.path = short(path);
  }

  file(...parts: string[]): string {
    return join(this.path, ...parts);
  }

  /** The cluster that lives here, or undefined. Throws UsageError for a newer format or a folder of something else. */
  read(): ClusterFile | undefined {
    const file = this.file("cluster.json");
    if (!existsSync(file)) return undefined;
    let parsed: ClusterFile;
    try {
      parsed = JSON.parse(readFileSync(file, "utf8")) as ClusterFile;
    } catch (e) {
      throw new UsageError(`${file} is damaged (${(e as Error).message}): restore it, or start afresh with another --data-dir`);
    }
    if (typeof parsed.format !== "number" || typeof parsed.id !== "string") {
      throw new UsageError(`${file} is not kubun's: choose another --data-dir`);
    }
    if (parsed.format > FORMAT) {
      throw new UsageError(
        `${this.path} was written by a newer version of kubun (format ${parsed.format}, this one reads up to ${FORMAT}): use that version, or another --data-dir`,
      );
    }
    return parsed;
  }

  /** Opens the cluster, or makes one. `given` are settings the user asked for: one that differs from the stored one throws UsageError. */
  open(
    wanted: Pick<ClusterConfig, "podCidr" | "serviceCidr" | "clusterDomain" | "etcd" | "controlPlanes" | "storageMediaType">,
    given: ReadonlySet<string>,
  ): ClusterFile {
    const flags = { podCidr: "pod-cidr", serviceCidr: "service-cidr", clusterDomain: "cluster-domain" } as const;
    const stored = this.read();
    if (stored) {
      for (const [key, flag] of Object.entries(flags) as [keyof typeof flags, string][]) {
        if (given.has(flag) && stored[key] !== wanted[key]) {
          throw new UsageError(
            `--${flag} ${wanted[key]}: ${this.path} holds a cluster made with ${stored[key]}, which can't change: leave the flag out, choose another --data-dir, or 'kubun down --purge' first`,
          );
        }
      }
      const planes = stored.controlPlanes ?? 1;
      const more = given.has("control-planes") ? (wanted.controlPlanes ?? 1) : planes;
      if (more < planes) {
        throw new UsageError(
          `--control-planes ${more}: ${this.path} holds a cluster of ${planes}, which can grow and not shrink: leave the flag out, choose another --data-dir, or 'kubun down --purge' first`,
        );
      }
      const { storageMediaType = stored.storageMediaType } = wanted;
      return {
        ...openStored(stored, wanted.etcd, given, this.path),
        ...(storageMediaType ? { storageMediaType } : {}),
        ...(more > 1 ? { controlPlanes: more } : {}),
      };
    }
    try {
      mkdirSync(this.path, { recursive: true, mode: 0o700 });
      const others = readdirSync(this.path).filter((f) => !/^cluster\.json\..*tmp$/.test(f));
      if (others.length > 0)
        throw new UsageError(
          `--data-dir ${this.path} is not empty and holds no cluster (${others.slice(0, 3).join(", ")}): choose another folder`,
        );
    } catch (e) {
      if (e instanceof UsageError) throw e;
      throw new UsageError(`--data-dir ${this.path} can't be used: ${(e as Error).message}`);
    }
    const id = randomBytes(4).toString("hex");
    const { podCidr, serviceCidr, clusterDomain, etcd, controlPlanes, storageMediaType } = wanted;
    const made = {
      podCidr,
      serviceCidr,
      clusterDomain,
      ...(etcd ? { etcd } : {}),
      ...(storageMediaType ? { storageMediaType } : {}),
      ...(controlPlanes && controlPlanes > 1 ? { controlPlanes } : {}),
    };
    const cluster: ClusterFile = { format: FORMAT, id, ...made, createdAt: new Date().toISOString(), runDir: runDirOf(id) };
    this.write(cluster);
    return cluster;
  }

  write(cluster: ClusterFile): void {
    const file = this.file("cluster.json");
    try {
      writeDurable(file, `${JSON.stringify(cluster, null, 2)}\n`, 0o600);
    } catch (e) {
      throw new UsageError(`--data-dir ${this.path} can't be written: ${(e as Error).message}`);
    }
  }

  purge(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** A short folder for sockets, whose paths the kernel limits to 107 bytes. */
function runDirOf(id: string): string {
  if (process.getuid?.() === 0) return `/run/kubun/${id}`;
  return join(process.env.XDG_RUNTIME_DIR || tmpdir(), `kubun-${id}`);
}

/** Whether the process that wrote this state is still there. */
export function isRunning(cluster: ClusterFile | undefined): cluster is ClusterFile & RunState {
  return cluster?.pid !== undefined && cluster.startTime !== undefined && processStartTime(cluster.pid) === cluster.startTime;
}

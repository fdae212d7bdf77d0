// What is kept of a container on disk.
import type { ProcessId } from "../../platform/process.ts";
import { type ContainerConfig, ContainerConfigSchema, ContainerState } from "../../rpc/gen/cri/runtime_pb.ts";
import type { ResolvedUser } from "../oci/user.ts";
import { decodeConfig, encodeConfig, type StoredConfig } from "../stored-config.ts";

export interface Exit {
  code: number;
  /** Nanoseconds since 1970. */
  at: bigint;
  /** Completed, Error, OOMKilled, StartError, Unknown. */
  reason: string;
  message: string;
}

export interface ContainerRecord {
  id: string;
  sandboxId: string;
  bootId: string;
  /** Nanoseconds since 1970, as are all times here. */
  createdAt: bigint;
  startedAt?: bigint;
  config: ContainerConfig;
  /** Digest of the image's config, and the names it stands for in answers. */
  imageId: string;
  imageRef: string;
  imageLayers: string[];
  user: ResolvedUser;
  cgroupPath: string;
  logPath?: string;
  /** Signal that asks it to end: the image's or SIGTERM. */
  stopSignal: string;
  /** Its first process, once the OCI runtime has created it. */
  init?: ProcessId;
  exit?: Exit;
}

interface Stored extends Omit<ContainerRecord, "createdAt" | "startedAt" | "config" | "exit"> {
  version: 1 | 2;
  createdAt: string;
  startedAt?: string;
  config: StoredConfig;
  exit?: Omit<Exit, "at"> & { at: string };
}

export function encodeContainer(record: ContainerRecord): string {
  const stored: Stored = {
    ...record,
    version: 2,
    createdAt: String(record.createdAt),
    startedAt: record.startedAt === undefined ? undefined : String(record.startedAt),
    config: encodeConfig(ContainerConfigSchema, record.config),
    exit: record.exit === undefined ? undefined : { ...record.exit, at: String(record.exit.at) },
  };
  return JSON.stringify(stored);
}

/** @throws Error for a record of a newer version. */
export function decodeContainer(stored: unknown): ContainerRecord {
  const { version, ...s } = stored as Stored;
  if (version !== 1 && version !== 2) throw new Error(`container record has version ${String(version)}, known are 1 and 2`);
  return {
    ...s,
    createdAt: BigInt(s.createdAt),
    startedAt: s.startedAt === undefined ? undefined : BigInt(s.startedAt),
    config: decodeConfig(ContainerConfigSchema, s.config),
    exit: s.exit === undefined ? undefined : { ...s.exit, at: BigInt(s.exit.at) },
  };
}

export function stateOf(record: ContainerRecord): ContainerState {
  if (record.exit !== undefined) return ContainerState.CONTAINER_EXITED;
  return record.startedAt === undefined ? ContainerState.CONTAINER_CREATED : ContainerState.CONTAINER_RUNNING;
}

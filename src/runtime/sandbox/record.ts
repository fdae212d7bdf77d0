// What is kept of a sandbox on disk, from before its first namespace is made
// until its last trace is gone.
import type { ProcessId } from "../../platform/process.ts";
import { type PodSandboxConfig, PodSandboxConfigSchema } from "../../rpc/gen/cri/runtime_pb.ts";
import type { CniConfig } from "../cni/config.ts";
import type { CniResult } from "../cni/invoke.ts";
import { decodeConfig, encodeConfig, type StoredConfig } from "../stored-config.ts";

export interface SandboxRecord {
  id: string;
  bootId: string;
  /** Nanoseconds since 1970. */
  createdAt: bigint;
  ready: boolean;
  handler: string;
  config: PodSandboxConfig;
  /** Files the namespaces are pinned to; absent where the pod uses the host's. */
  namespaces: { net?: string; ipc?: string; uts?: string };
  shm?: string;
  ips: string[];
  /** The network as it was when the pod joined it, for the way out. */
  network?: { config: CniConfig; result?: CniResult };
  /** First process of the PID namespace that the pod's containers share. */
  holder?: ProcessId;
}

interface Stored extends Omit<SandboxRecord, "createdAt" | "config"> {
  version: 1 | 2;
  createdAt: string;
  config: StoredConfig;
}

export function encodeSandbox(record: SandboxRecord): string {
  const stored: Stored = {
    ...record,
    version: 2,
    createdAt: String(record.createdAt),
    config: encodeConfig(PodSandboxConfigSchema, record.config),
  };
  return JSON.stringify(stored);
}

/** @throws Error for a record of a newer version. */
export function decodeSandbox(stored: unknown): SandboxRecord {
  const { version, ...s } = stored as Stored;
  if (version !== 1 && version !== 2) throw new Error(`sandbox record has version ${String(version)}, known are 1 and 2`);
  return {
    ...s,
    createdAt: BigInt(s.createdAt),
    config: decodeConfig(PodSandboxConfigSchema, s.config),
  };
}

// Where the runtime keeps things.
import { join } from "node:path";

export interface RuntimePaths {
  /** Survives a boot of the machine. */
  root: string;
  /** May vanish with a boot: sockets, pinned namespaces, the OCI runtime's state. */
  runDir: string;
}

export const images = (p: RuntimePaths): string => join(p.root, "images");
export const sandboxes = (p: RuntimePaths): string => join(p.root, "sandboxes");
export const sandboxDir = (p: RuntimePaths, id: string): string => join(p.root, "sandboxes", id);
export const containers = (p: RuntimePaths): string => join(p.root, "containers");
export const containerDir = (p: RuntimePaths, id: string): string => join(p.root, "containers", id);
/** conmon writes a file with the exit code here when a container ends. */
export const exits = (p: RuntimePaths): string => join(p.root, "exits");
export const runcRoot = (p: RuntimePaths): string => join(p.runDir, "oci");
export const namespaceDir = (p: RuntimePaths, sandbox: string): string => join(p.runDir, "ns", sandbox);
export const shmDir = (p: RuntimePaths, sandbox: string): string => join(p.runDir, "shm", sandbox);
/** What `removeAll` has to know when no runtime runs. */
export const settingsFile = (p: RuntimePaths): string => join(p.root, "runtime.json");
/** Held by the process that has the runtime open. */
export const lockFile = (p: RuntimePaths): string => join(p.root, "lock");

export interface Settings {
  version: 1;
  clusterId: string;
  ociRuntime: string;
  cniConfDir: string;
  cniBinDirs: readonly string[];
  cgroupParent: string;
}

// Undoes what kubelets did: for `kubun down`, also after a crash.
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { detachAllUnder } from "../platform/mount.ts";
import { type Cri, dial, isRpcNotFound } from "./cri/client.ts";
import { ownerAnnotation } from "./pod/labels.ts";
import { removePodDir } from "./volumes/manager.ts";

export interface RemoveAllOptions {
  rootDir: string;
  /** Without one only what stands below rootDir is removed. */
  runtimeEndpoint?: string;
}

async function removeSandboxes(cri: Cri, rootDir: string): Promise<void> {
  const { items } = await cri.runtime.listPodSandbox({});
  const ignore = (error: unknown) => {
    if (!isRpcNotFound(error)) throw error;
  };
  await Promise.all(
    items
      .filter((s) => s.annotations[ownerAnnotation] === rootDir)
      .map(async (s) => {
        await cri.runtime.stopPodSandbox({ podSandboxId: s.id }).then(undefined, ignore);
        await cri.runtime.removePodSandbox({ podSandboxId: s.id }).then(undefined, ignore);
      }),
  );
}

/** Ends and removes all pods of the kubelet with this root directory, their mounts and their folders. */
export async function removeAllPods(options: RemoveAllOptions): Promise<void> {
  const { rootDir, runtimeEndpoint } = options;
  if (runtimeEndpoint !== undefined) {
    const cri = await dial(runtimeEndpoint);
    try {
      await removeSandboxes(cri, rootDir);
    } finally {
      await cri.close();
    }
  }
  const uids = await readdir(join(rootDir, "pods")).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  await Promise.all(uids.map((uid) => removePodDir(rootDir, uid)));
  detachAllUnder(rootDir);
  await Promise.all(["pods", "logs"].map((d) => rm(join(rootDir, d), { recursive: true, force: true })));
}

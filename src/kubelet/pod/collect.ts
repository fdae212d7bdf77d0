import { isRpcNotFound, rpcMessage } from "../cri/client.ts";
import type { PodContext } from "./context.ts";
import type { RuntimePod } from "./runtime-pod.ts";

/** Of each name the newest container is kept, and the one before it for its log. */
const keep = 2;

/** What of a pod's dead containers and sandboxes can go. */
export function superfluous(rt: RuntimePod): { containers: string[]; sandboxes: string[] } {
  const counts = new Map<string, number>();
  const needed = new Set<string>();
  const containers: string[] = [];
  for (const c of rt.containers) {
    const count = counts.get(c.name) ?? 0;
    counts.set(c.name, count + 1);
    if (count < keep || c.state !== "exited") needed.add(c.sandboxId);
    else containers.push(c.id);
  }
  const sandboxes = rt.sandboxes.slice(1).filter((s) => !s.ready && !needed.has(s.id));
  return { containers, sandboxes: sandboxes.map((s) => s.id) };
}

/** Deletes them; never waits, and a failure is tried again at the next look. */
export function collect(ctx: PodContext, rt: RuntimePod): void {
  const { runtime } = ctx.cri;
  const remove = async (id: string, removal: () => Promise<unknown>) => {
    if (ctx.collecting.has(id)) return;
    ctx.collecting.add(id);
    try {
      await removal();
    } catch (error) {
      if (!isRpcNotFound(error))
        ctx.log.warn("Could not remove a dead container", { pod: `${rt.namespace}/${rt.name}`, err: rpcMessage(error) });
    } finally {
      ctx.collecting.delete(id);
    }
  };
  const { containers, sandboxes } = superfluous(rt);
  for (const containerId of containers) void remove(containerId, () => runtime.removeContainer({ containerId }));
  for (const podSandboxId of sandboxes) void remove(podSandboxId, () => runtime.removePodSandbox({ podSandboxId }));
}

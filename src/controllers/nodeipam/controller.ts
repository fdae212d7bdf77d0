// Gives each node a part of the cluster's pod range (spec.podCIDR, spec.podCIDRs).
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { isNotFound } from "../../api/status.ts";
import { keyOf, nodes } from "../../client/resources.ts";
import { WorkQueue } from "../../client/workqueue.ts";
import { type Controller, type ControllerContext, execute, queueOptions } from "../framework/context.ts";
import { event, patch } from "../framework/write.ts";
import type { ManagerSettings } from "../table.ts";
import { CidrSet, formatCidr, parseCidr } from "./cidr.ts";

const defaultSize = { 32: 24, 128: 64 };

export function nodeIpamController(ctx: ControllerContext, settings: ManagerSettings): Controller {
  const ranges = (settings.clusterCidr ?? "").split(",").map((text) => parseCidr(text.trim()));
  const sets = ranges.map(
    (r) => new CidrSet(r, r.bits === 32 ? (settings.nodeCidrMaskSize ?? Math.max(defaultSize[32], r.prefix)) : defaultSize[128]),
  );
  for (const text of settings.serviceClusterIpRange?.split(",") ?? []) for (const set of sets) set.occupy(parseCidr(text.trim()));

  const sink = ctx.events("cidrAllocator");
  const all = ctx.informers.for(nodes);
  /** What each node holds, so that it comes back when the node goes. */
  const held = new Map<string, string[]>();

  const hold = (node: coreV1.Node) => {
    const cidrs = cidrsOf(node);
    if (cidrs.length === 0) return;
    held.set(node.metadata.name ?? "", cidrs);
    for (const text of cidrs) for (const set of sets) set.occupy(parseCidr(text));
  };
  const release = (name: string) => {
    for (const text of held.get(name) ?? []) for (const set of sets) set.release(parseCidr(text));
    held.delete(name);
  };

  const queue = new WorkQueue(
    "node_ipam",
    async (name) => {
      const node = all.lister.get(name);
      if (!node || cidrsOf(node).length > 0) return;
      let cidrs = held.get(name);
      if (!cidrs) {
        const parts = sets.map((set) => set.allocate());
        if (parts.includes(undefined)) {
          parts.forEach((part, i) => {
            if (part) sets[i]!.release(part);
          });
          await execute(
            ctx.transport,
            sink,
            event(nodes, node, "Normal", "CIDRNotAvailable", `Node ${name} status is now: CIDRNotAvailable`),
          );
          throw new Error(`no pod CIDR is left in ${settings.clusterCidr} for node ${name}`);
        }
        cidrs = parts.map((part) => formatCidr(part!));
        held.set(name, cidrs);
      }
      try {
        await execute(ctx.transport, sink, patch(nodes, node, "strategic", { spec: { podCIDR: cidrs[0], podCIDRs: cidrs } }));
      } catch (error) {
        if (!isNotFound(error)) throw error;
        release(name);
      }
    },
    queueOptions(ctx, 1),
  );
  all.on({
    add: (node) => {
      hold(node);
      queue.add(keyOf(node));
    },
    update: (_, node) => {
      if (cidrsOf(node).length === 0) queue.add(keyOf(node));
      else if (!held.has(node.metadata.name ?? "")) hold(node);
    },
    delete: (node) => release(node.metadata.name ?? ""),
  });
  return { start: () => queue.start(), stop: () => queue.stop() };
}

function cidrsOf(node: coreV1.Node): string[] {
  const { podCIDR, podCIDRs } = node.spec ?? {};
  return podCIDRs?.length ? [...podCIDRs] : podCIDR ? [podCIDR] : [];
}

import { Lease } from "../../rpc/gen/etcd/rpc_pb.ts";
import { service } from "../../rpc/service.ts";
import type { HandlerContext } from "../../rpc/types.ts";
import { permitLease } from "../auth/check.ts";
import type { Lease as LeaseState } from "../lease/lessor.ts";
import { header, type ServerContext } from "./context.ts";
import { answering } from "./errors.ts";

export function leaseService(context: ServerContext) {
  const { member, gate } = context;
  const { lessor } = member.state;

  /** Every key of these leases. */
  const permitted = (call: HandlerContext, access: "read" | "write", leases: () => Iterable<LeaseState | undefined>) =>
    answering(() =>
      gate.as(call, async (by) => {
        member.state.auth.requireUser(by);
        for (const lease of leases()) permitLease(member.state.auth, by, access, lease);
      }),
    );

  return service(Lease, {
    leaseGrant: (r, call) =>
      answering(async () => {
        const granted = await gate.as(call, (by) => member.grantLease(Number(r.TTL), r.ID, by));
        return { header: header(context, granted.revision), ID: granted.id, TTL: BigInt(granted.ttl) };
      }),

    leaseRevoke: (r, call) =>
      answering(async () => {
        const { revision } = await gate.as(call, (by) => member.propose({ type: "leaseRevoke", by, id: r.ID }));
        return { header: header(context, revision) };
      }),

    async *leaseKeepAlive(requests, call) {
      for await (const { ID } of requests) {
        if (gate.on) await permitted(call, "write", () => [lessor.get(ID)]);
        // A lease that is gone answers with a TTL of 0.
        yield await answering(async () => ({ header: header(context), ID, TTL: BigInt(await member.keeper.renew(ID)) }));
      }
    },

    leaseTimeToLive: async ({ ID, keys }, call) => {
      if (gate.on) await permitted(call, "read", () => (keys ? [lessor.get(ID)] : []));
      return answering(async () => {
        const found = await member.keeper.timeToLive(ID);
        const { ttl, grantedTtl } = found;
        return { header: header(context), ID, TTL: BigInt(ttl), grantedTTL: BigInt(grantedTtl), keys: keys ? found.keys : [] };
      });
    },

    leaseLeases: async (_, call) => {
      if (gate.on) await permitted(call, "read", () => lessor.all());
      return answering(async () => {
        const leases = await member.keeper.leases();
        return { header: header(context), leases: leases.map((ID) => ({ ID })) };
      });
    },
  });
}

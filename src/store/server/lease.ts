import { Lease } from "../../rpc/gen/etcd/rpc_pb.ts";
import { service } from "../../rpc/service.ts";
import { header, type ServerContext } from "./context.ts";
import { answering } from "./errors.ts";

export function leaseService(context: ServerContext) {
  const { member } = context;
  const { lessor } = member.state;

  return service(Lease, {
    leaseGrant: (r) =>
      answering(async () => {
        const granted = await member.grantLease(Number(r.TTL), r.ID);
        return { header: header(context, granted.revision), ID: granted.id, TTL: BigInt(granted.ttl) };
      }),

    leaseRevoke: (r) =>
      answering(async () => {
        const { revision } = await member.propose({ type: "leaseRevoke", id: r.ID });
        return { header: header(context, revision) };
      }),

    async *leaseKeepAlive(requests) {
      for await (const { ID } of requests) {
        // A lease that is gone answers with a TTL of 0.
        yield { header: header(context), ID, TTL: BigInt(member.leases.renew(ID)?.ttl ?? 0) };
      }
    },

    leaseTimeToLive: ({ ID, keys }) => {
      const lease = lessor.get(ID);
      if (!lease) return { header: header(context), ID, TTL: -1n };
      return {
        header: header(context),
        ID,
        TTL: BigInt(member.leases.remaining(lease)),
        grantedTTL: BigInt(lease.ttl),
        keys: keys ? [...lease.keys].sort().map((k) => Buffer.from(k, "latin1")) : [],
      };
    },

    leaseLeases: () => {
      const leases = [...lessor.all()].sort((a, b) => a.expiry - b.expiry);
      return { header: header(context), leases: leases.map(({ id }) => ({ ID: id })) };
    },
  });
}

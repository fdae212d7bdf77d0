// The Cluster service: who the members are, and changing that.
import { Cluster } from "../../rpc/gen/etcd/rpc_pb.ts";
import { service } from "../../rpc/service.ts";
import type { ClusterMember } from "../membership/members.ts";
import type { MemberChange } from "../membership/operations.ts";
import { checkUnique, peerUrlsOf } from "../membership/operations.ts";
import { Refused } from "../mvcc/errors.ts";
import { header, type ServerContext } from "./context.ts";
import { answering } from "./errors.ts";

export function clusterService(context: ServerContext) {
  const { member } = context;
  const { membership } = member.state;
  const message = (m: ClusterMember) => ({
    ID: m.id,
    name: m.name,
    peerURLs: [...m.peerUrls],
    clientURLs: [...m.clientUrls],
    isLearner: membership.isLearner(m.id),
  });
  // Nothing of this has to do with revisions, so etcd tells none.
  const head = () => header(context, 0);
  const members = () => membership.members.map(message);
  const change = async (kind: MemberChange["kind"], id: bigint, peerUrls: readonly string[] = []) => {
    const done = await member.changeMembership({ kind, id, peerUrls });
    return { header: head(), members: members(), id: done.id };
  };

  return service(Cluster, {
    memberAdd: (r) =>
      answering(async () => {
        const peerURLs = peerUrlsOf(r.peerURLs);
        const { id, ...answer } = await change(r.isLearner ? "addLearner" : "add", 0n, peerURLs);
        const added = { ID: id, name: "", peerURLs, clientURLs: [], isLearner: r.isLearner };
        return { ...answer, member: added };
      }),
    memberRemove: (r) => answering(() => change("remove", r.ID)),
    memberPromote: (r) => answering(() => change("promote", r.ID)),
    memberUpdate: (r) =>
      answering(async () => {
        const peerUrls = peerUrlsOf(r.peerURLs);
        await member.consensus.readBarrier();
        if (!membership.get(r.ID)) throw new Refused("member-not-found");
        checkUnique(membership, peerUrls, r.ID);
        await member.propose({ type: "memberUpdate", id: r.ID, peerUrls });
        return { header: head(), members: members() };
      }),
    memberList: (r) =>
      answering(async () => {
        if (r.linearizable) await member.consensus.readBarrier();
        return { header: head(), members: members() };
      }),
  });
}

// The paths of etcd's gateway, as its .proto files annotate them.

const KV = "/etcdserverpb.KV/";
const LEASE = "/etcdserverpb.Lease/";
const CLUSTER = "/etcdserverpb.Cluster/";
const MAINTENANCE = "/etcdserverpb.Maintenance/";
const AUTH = "/etcdserverpb.Auth/";
const ELECTION = "/v3electionpb.Election/";
const LOCK = "/v3lockpb.Lock/";

/** By what follows /v3/; some have older paths beside theirs. */
const METHODS: Readonly<Record<string, string>> = {
  "kv/range": `${KV}Range`,
  "kv/put": `${KV}Put`,
  "kv/deleterange": `${KV}DeleteRange`,
  "kv/txn": `${KV}Txn`,
  "kv/compaction": `${KV}Compact`,
  watch: "/etcdserverpb.Watch/Watch",
  "lease/grant": `${LEASE}LeaseGrant`,
  "lease/revoke": `${LEASE}LeaseRevoke`,
  "kv/lease/revoke": `${LEASE}LeaseRevoke`,
  "lease/keepalive": `${LEASE}LeaseKeepAlive`,
  "lease/timetolive": `${LEASE}LeaseTimeToLive`,
  "kv/lease/timetolive": `${LEASE}LeaseTimeToLive`,
  "lease/leases": `${LEASE}LeaseLeases`,
  "kv/lease/leases": `${LEASE}LeaseLeases`,
  "cluster/member/add": `${CLUSTER}MemberAdd`,
  "cluster/member/remove": `${CLUSTER}MemberRemove`,
  "cluster/member/update": `${CLUSTER}MemberUpdate`,
  "cluster/member/list": `${CLUSTER}MemberList`,
  "cluster/member/promote": `${CLUSTER}MemberPromote`,
  "maintenance/alarm": `${MAINTENANCE}Alarm`,
  "maintenance/status": `${MAINTENANCE}Status`,
  "maintenance/defragment": `${MAINTENANCE}Defragment`,
  "maintenance/hash": `${MAINTENANCE}Hash`,
  "maintenance/hashkv": `${MAINTENANCE}HashKV`,
  "maintenance/snapshot": `${MAINTENANCE}Snapshot`,
  "maintenance/transfer-leadership": `${MAINTENANCE}MoveLeader`,
  "maintenance/downgrade": `${MAINTENANCE}Downgrade`,
  "auth/enable": `${AUTH}AuthEnable`,
  "auth/disable": `${AUTH}AuthDisable`,
  "auth/status": `${AUTH}AuthStatus`,
  "auth/authenticate": `${AUTH}Authenticate`,
  "auth/user/add": `${AUTH}UserAdd`,
  "auth/user/get": `${AUTH}UserGet`,
  "auth/user/list": `${AUTH}UserList`,
  "auth/user/delete": `${AUTH}UserDelete`,
  "auth/user/changepw": `${AUTH}UserChangePassword`,
  "auth/user/grant": `${AUTH}UserGrantRole`,
  "auth/user/revoke": `${AUTH}UserRevokeRole`,
  "auth/role/add": `${AUTH}RoleAdd`,
  "auth/role/get": `${AUTH}RoleGet`,
  "auth/role/list": `${AUTH}RoleList`,
  "auth/role/delete": `${AUTH}RoleDelete`,
  "auth/role/grant": `${AUTH}RoleGrantPermission`,
  "auth/role/revoke": `${AUTH}RoleRevokePermission`,
  "election/campaign": `${ELECTION}Campaign`,
  "election/proclaim": `${ELECTION}Proclaim`,
  "election/leader": `${ELECTION}Leader`,
  "election/observe": `${ELECTION}Observe`,
  "election/resign": `${ELECTION}Resign`,
  "lock/lock": `${LOCK}Lock`,
  "lock/unlock": `${LOCK}Unlock`,
};

/** /v3beta/ is where etcd 3.3 began, and 3.4 still answers. */
const ROUTES: ReadonlyMap<string, string> = new Map(
  ["/v3/", "/v3beta/"].flatMap((prefix) => Object.entries(METHODS).map(([path, method]) => [prefix + path, method] as const)),
);

export const routeOf = (path: string): string | undefined => ROUTES.get(path);

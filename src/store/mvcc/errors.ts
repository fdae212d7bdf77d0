// What the store refuses, in etcd's words; server/errors.ts has the gRPC codes.

export type Refusal =
  | "compacted"
  | "future-revision"
  | "no-space"
  | "lease-not-found"
  | "lease-exists"
  | "lease-ttl-too-large"
  | "key-not-found"
  | "empty-key"
  | "duplicate-key"
  | "too-many-ops"
  | "value-provided"
  | "lease-provided"
  | "invalid-sort"
  | "request-too-large"
  | "unavailable"
  | "corrupt"
  | "timeout"
  | "too-many-requests"
  | "storage-failed"
  | "root-user-not-found"
  | "root-role-not-found"
  | "user-exists"
  | "user-empty"
  | "user-not-found"
  | "role-exists"
  | "role-not-found"
  | "role-empty"
  | "auth-failed"
  | "permission-not-given"
  | "permission-denied"
  | "role-not-granted"
  | "permission-not-granted"
  | "auth-not-enabled"
  | "invalid-auth-token"
  | "invalid-auth-management"
  | "auth-old-revision"
  | "no-password-user"
  | "no-signing-key"
  | "no-leader"
  | "not-leader"
  | "leader-changed"
  | "timeout-leader-failure"
  | "timeout-connection-lost"
  | "unhealthy"
  | "not-for-learner"
  | "bad-transferee"
  | "transfer-timeout"
  | "member-exists"
  | "peer-url-exists"
  | "not-enough-started"
  | "bad-member-urls"
  | "member-not-found"
  | "member-not-learner"
  | "learner-not-ready"
  | "too-many-learners"
  | "downgrade-version-format"
  | "downgrade-target"
  | "downgrade-in-process";

export const MESSAGES: Record<Refusal, string> = {
  compacted: "etcdserver: mvcc: required revision has been compacted",
  "future-revision": "etcdserver: mvcc: required revision is a future revision",
  "no-space": "etcdserver: mvcc: database space exceeded",
  "lease-not-found": "etcdserver: requested lease not found",
  "lease-exists": "etcdserver: lease already exists",
  "lease-ttl-too-large": "etcdserver: too large lease TTL",
  "key-not-found": "etcdserver: key not found",
  "empty-key": "etcdserver: key is not provided",
  "duplicate-key": "etcdserver: duplicate key given in txn request",
  "too-many-ops": "etcdserver: too many operations in txn request",
  "value-provided": "etcdserver: value is provided",
  "lease-provided": "etcdserver: lease is provided",
  "invalid-sort": "etcdserver: invalid sort option",
  "request-too-large": "etcdserver: request is too large",
  unavailable: "etcdserver: server stopped",
  corrupt: "etcdserver: corrupt cluster",
  timeout: "etcdserver: request timed out",
  "too-many-requests": "etcdserver: too many requests",
  "storage-failed": "etcdserver: write-ahead log failed",
  "root-user-not-found": "etcdserver: root user does not exist",
  "root-role-not-found": "etcdserver: root user does not have root role",
  "user-exists": "etcdserver: user name already exists",
  "user-empty": "etcdserver: user name is empty",
  "user-not-found": "etcdserver: user name not found",
  "role-exists": "etcdserver: role name already exists",
  "role-not-found": "etcdserver: role name not found",
  "role-empty": "etcdserver: role name is empty",
  "auth-failed": "etcdserver: authentication failed, invalid user ID or password",
  "permission-not-given": "etcdserver: permission not given",
  "permission-denied": "etcdserver: permission denied",
  "role-not-granted": "etcdserver: role is not granted to the user",
  "permission-not-granted": "etcdserver: permission is not granted to the role",
  "auth-not-enabled": "etcdserver: authentication is not enabled",
  "invalid-auth-token": "etcdserver: invalid auth token",
  "invalid-auth-management": "etcdserver: invalid auth management",
  "auth-old-revision": "etcdserver: revision of auth store is old",
  "no-password-user": "auth: authentication failed, password was given for no password user",
  "no-signing-key": "auth: token signing attempted with verify-only key",
  "no-leader": "etcdserver: no leader",
  "not-leader": "etcdserver: not leader",
  "leader-changed": "etcdserver: leader changed",
  "timeout-leader-failure": "etcdserver: request timed out, possibly due to previous leader failure",
  "timeout-connection-lost": "etcdserver: request timed out, possibly due to connection lost",
  unhealthy: "etcdserver: unhealthy cluster",
  "not-for-learner": "etcdserver: rpc not supported for learner",
  "bad-transferee": "etcdserver: bad leader transferee",
  "transfer-timeout": "etcdserver: request timed out, leader transfer took too long",
  "member-exists": "etcdserver: member ID already exist",
  "peer-url-exists": "etcdserver: Peer URLs already exists",
  "not-enough-started": "etcdserver: re-configuration failed due to not enough started members",
  "bad-member-urls": "etcdserver: given member URLs are invalid",
  "member-not-found": "etcdserver: member not found",
  "member-not-learner": "etcdserver: can only promote a learner member",
  "learner-not-ready": "etcdserver: can only promote a learner member which is in sync with leader",
  "too-many-learners": "etcdserver: too many learner members in cluster",
  "downgrade-version-format": "etcdserver: wrong downgrade target version format",
  "downgrade-target": "etcdserver: invalid downgrade target version",
  "downgrade-in-process": "etcdserver: cluster has a downgrade job in progress",
};

/** A request that the store refuses; it changed nothing. */
export class Refused extends Error {
  override name = "Refused";
  readonly refusal: Refusal;
  constructor(refusal: Refusal, options?: ErrorOptions) {
    super(MESSAGES[refusal], options);
    this.refusal = refusal;
  }

  /** The refusal with these words, as another member gave it. */
  static of(message: string): Refused | undefined {
    const found = (Object.keys(MESSAGES) as Refusal[]).find((refusal) => MESSAGES[refusal] === message);
    return found && new Refused(found);
  }
}

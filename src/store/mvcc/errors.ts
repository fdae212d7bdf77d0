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
  | "storage-failed";

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
};

/** A request that the store refuses; it changed nothing. */
export class Refused extends Error {
  override name = "Refused";
  readonly refusal: Refusal;
  constructor(refusal: Refusal, options?: ErrorOptions) {
    super(MESSAGES[refusal], options);
    this.refusal = refusal;
  }
}

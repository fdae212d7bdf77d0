// Refusals as the gRPC codes that etcd gives them, so that client libraries
// recognise them (etcd's api/v3rpc/rpctypes).
import { Code, RpcError } from "../../rpc/types.ts";
import { type Refusal, Refused } from "../mvcc/errors.ts";

const CODES: Record<Refusal, Code> = {
  compacted: Code.OutOfRange,
  "future-revision": Code.OutOfRange,
  "no-space": Code.ResourceExhausted,
  "lease-not-found": Code.NotFound,
  "lease-exists": Code.FailedPrecondition,
  "lease-ttl-too-large": Code.OutOfRange,
  "key-not-found": Code.InvalidArgument,
  "empty-key": Code.InvalidArgument,
  "duplicate-key": Code.InvalidArgument,
  "too-many-ops": Code.InvalidArgument,
  "value-provided": Code.InvalidArgument,
  "lease-provided": Code.InvalidArgument,
  "invalid-sort": Code.InvalidArgument,
  "request-too-large": Code.InvalidArgument,
  unavailable: Code.Unavailable,
  corrupt: Code.DataLoss,
  timeout: Code.Unavailable,
  "too-many-requests": Code.ResourceExhausted,
  "storage-failed": Code.Unavailable,
  "root-user-not-found": Code.FailedPrecondition,
  "root-role-not-found": Code.FailedPrecondition,
  "user-exists": Code.FailedPrecondition,
  "user-empty": Code.InvalidArgument,
  "user-not-found": Code.FailedPrecondition,
  "role-exists": Code.FailedPrecondition,
  "role-not-found": Code.FailedPrecondition,
  "role-empty": Code.InvalidArgument,
  "auth-failed": Code.InvalidArgument,
  "permission-not-given": Code.InvalidArgument,
  "permission-denied": Code.PermissionDenied,
  "role-not-granted": Code.FailedPrecondition,
  "permission-not-granted": Code.FailedPrecondition,
  "auth-not-enabled": Code.FailedPrecondition,
  "invalid-auth-token": Code.Unauthenticated,
  "invalid-auth-management": Code.InvalidArgument,
  "auth-old-revision": Code.InvalidArgument,
  // Those that etcd has no code for.
  "no-password-user": Code.Unknown,
  "no-signing-key": Code.Unknown,
  "no-leader": Code.Unavailable,
  "not-leader": Code.FailedPrecondition,
  "leader-changed": Code.Unavailable,
  "timeout-leader-failure": Code.Unavailable,
  "timeout-connection-lost": Code.Unavailable,
  unhealthy: Code.Unavailable,
  "not-for-learner": Code.Unavailable,
  "bad-transferee": Code.FailedPrecondition,
  "transfer-timeout": Code.Unavailable,
  "member-exists": Code.FailedPrecondition,
  "peer-url-exists": Code.FailedPrecondition,
  "not-enough-started": Code.FailedPrecondition,
  "bad-member-urls": Code.InvalidArgument,
  "member-not-found": Code.NotFound,
  "member-not-learner": Code.FailedPrecondition,
  "learner-not-ready": Code.FailedPrecondition,
  "too-many-learners": Code.FailedPrecondition,
  "downgrade-version-format": Code.InvalidArgument,
  "downgrade-target": Code.InvalidArgument,
  "downgrade-in-process": Code.FailedPrecondition,
};

/** What a client is told of an error. */
export function rpcError(error: unknown): unknown {
  return error instanceof Refused ? new RpcError(CODES[error.refusal], error.message, { cause: error }) : error;
}

/** Runs a handler's body with refusals turned into statuses. */
export async function answering<T>(run: () => T | Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    throw rpcError(error);
  }
}

// What a user needs for a command or a request: the table of etcd's rules.
import type { Command } from "../command.ts";
import type { Lease } from "../lease/lessor.ts";
import { keySpan, spanOf } from "../mvcc/key.ts";
import type { Op, TxnRequest } from "../mvcc/types.ts";
import type { Auth } from "./auth.ts";
import type { Author } from "./types.ts";

export interface Leases {
  get(id: bigint): Lease | undefined;
}

/** @throws Refused where `by` may not do this now */
export function permitCommand(auth: Auth, leases: Leases, by: Author, command: Command): void {
  switch (command.type) {
    case "txn":
      return permitTxn(auth, leases, by, command);
    case "leaseGrant":
      return auth.requireUser(by);
    case "leaseRevoke":
      auth.requireUser(by);
      return permitLease(auth, by, "write", leases.get(command.id));
    case "auth":
      // Whose password was right becomes a user by this alone.
      if (command.change.do === "authenticate") return;
      return auth.requireRoot(by);
    default:
      return auth.requireRoot(by);
  }
}

/** All of it, whichever branch is taken. */
export function permitTxn(auth: Auth, leases: Leases, by: Author, txn: TxnRequest): void {
  // Not even an empty one is for nobody.
  auth.requireUser(by);
  for (const { key, end } of txn.compare) auth.permit(by, "read", spanOf(key, end));
  for (const op of txn.success) permitOp(auth, leases, by, op);
  for (const op of txn.failure) permitOp(auth, leases, by, op);
}

/** For every key that hangs on a lease: to end it, or to put it off, is to write them. */
export function permitLease(auth: Auth, by: Author, access: "read" | "write", lease: Lease | undefined): void {
  if (!lease || auth.isRoot(by.user)) return;
  for (const key of lease.keys) auth.permit(by, access, keySpan(key));
}

function permitOp(auth: Auth, leases: Leases, by: Author, op: Op): void {
  switch (op.type) {
    case "range":
      return auth.permit(by, "read", spanOf(op.key, op.end));
    case "put":
      auth.permit(by, "write", spanOf(op.key, undefined));
      // A key on a lease goes when its other keys go, and whoever can't write those could not revoke it.
      if (op.lease) permitLease(auth, by, "write", leases.get(op.lease));
      if (op.prevKv) auth.permit(by, "read", spanOf(op.key, undefined));
      return;
    case "delete":
      auth.permit(by, "write", spanOf(op.key, op.end));
      if (op.prevKv) auth.permit(by, "read", spanOf(op.key, op.end));
      return;
    case "txn":
      return permitTxn(auth, leases, by, op);
  }
}

// The rules of users, roles and permissions, as the state machine has them.
import { expect, test } from "bun:test";
import { decodeCommand, encodeCommand } from "../codec.ts";
import type { Command } from "../command.ts";
import { Refused } from "../mvcc/errors.ts";
import { SnapshotLoader, snapshotOf } from "../snapshot/content.ts";
import { StateMachine } from "../state.ts";
import { type Access, ANONYMOUS, type AuthChange, type Author } from "./types.ts";

const bytes = (s: string) => new TextEncoder().encode(s);

class Bench {
  state = new StateMachine();
  now = 0;
  #index = 0;

  run<C extends Command>(command: C): { token?: string; revision?: number } {
    // What the log keeps is what is applied.
    return this.state.apply(++this.#index, 1, decodeCommand(encodeCommand(command)), this.now) as { token?: string };
  }

  change(change: AuthChange, by?: Author) {
    return this.run({ type: "auth", change, by });
  }

  refused(command: Command): string | undefined {
    try {
      this.run(command);
      return undefined;
    } catch (error) {
      if (error instanceof Refused) return error.refusal;
      throw error;
    }
  }

  refusedChange(change: AuthChange, by?: Author) {
    return this.refused({ type: "auth", change, by });
  }

  user(name: string, ...roles: string[]) {
    this.change({ do: "userAdd", user: name, password: "hash", noPassword: false });
    for (const role of roles) this.change({ do: "userGrant", user: name, role });
  }

  role(name: string, ...permissions: [Access, string, string][]) {
    this.change({ do: "roleAdd", role: name });
    for (const [access, key, end] of permissions) this.change({ do: "roleGrant", role: name, permission: { access, key, end } });
  }

  as(user: string): Author {
    return { user, revision: this.state.auth.revision };
  }
}

const put = (key: string, more: { lease?: bigint; prevKv?: boolean } = {}) => ({
  type: "put" as const,
  key: bytes(key),
  value: bytes("x"),
  ...more,
});
const range = (key: string, end?: string) => ({ type: "range" as const, key: bytes(key), end: end === undefined ? undefined : bytes(end) });
const remove = (key: string, end?: string, prevKv = false) => ({
  type: "delete" as const,
  key: bytes(key),
  end: end === undefined ? undefined : bytes(end),
  prevKv,
});
const txn = (success: Extract<Command, { type: "txn" }>["success"], by?: Author) => ({
  type: "txn" as const,
  compare: [],
  success,
  failure: [],
  by,
});

function withUsers(): Bench {
  const b = new Bench();
  b.user("root", "root");
  b.role("r", ["read", "a", "c"], ["write", "b", "d"], ["readwrite", "x", "\0"]);
  b.user("alice", "r");
  b.change({ do: "enable" });
  return b;
}

test("auth is only enabled with a user root that has the role root", () => {
  const b = new Bench();
  expect(b.refusedChange({ do: "enable" })).toBe("root-user-not-found");
  b.user("root");
  expect(b.refusedChange({ do: "enable" })).toBe("root-role-not-found");
  b.change({ do: "userGrant", user: "root", role: "root" });
  const { revision } = b.state.auth;
  b.change({ do: "enable" });
  expect([b.state.auth.enabled, b.state.auth.revision]).toEqual([true, revision]);
  expect(b.refusedChange({ do: "userDelete", user: "root" })).toBe("invalid-auth-management");
  expect(b.refusedChange({ do: "roleDelete", role: "root" })).toBe("invalid-auth-management");
  expect(b.refusedChange({ do: "userRevoke", user: "root", role: "root" })).toBe("invalid-auth-management");
  b.change({ do: "disable" });
  expect([b.state.auth.enabled, b.state.auth.revision]).toEqual([false, revision + 1]);
});

test("users and roles are refused in etcd's words, and each change is a revision", () => {
  const b = new Bench();
  b.role("r");
  b.user("alice", "r");
  expect(b.state.auth.revision).toBe(4);
  const cases: [AuthChange, string][] = [
    [{ do: "userAdd", user: "", password: "", noPassword: true }, "user-empty"],
    [{ do: "userAdd", user: "alice", password: "", noPassword: true }, "user-exists"],
    [{ do: "userDelete", user: "bob" }, "user-not-found"],
    [{ do: "userPassword", user: "bob", password: "h" }, "user-not-found"],
    [{ do: "userGrant", user: "bob", role: "r" }, "user-not-found"],
    [{ do: "userGrant", user: "alice", role: "none" }, "role-not-found"],
    [{ do: "userRevoke", user: "alice", role: "none" }, "role-not-granted"],
    [{ do: "roleAdd", role: "" }, "role-empty"],
    [{ do: "roleAdd", role: "r" }, "role-exists"],
    [{ do: "roleDelete", role: "none" }, "role-not-found"],
    [{ do: "roleGrant", role: "none", permission: { access: "read", key: "a", end: "" } }, "role-not-found"],
    [{ do: "roleRevoke", role: "r", key: "a", end: "" }, "permission-not-granted"],
    [{ do: "authenticate", user: "alice", token: "t" }, "auth-not-enabled"],
  ];
  for (const [change, refusal] of cases) expect([change, b.refusedChange(change)]).toEqual([change, refusal]);
  expect(b.state.auth.revision).toBe(4);
  b.change({ do: "userGrant", user: "alice", role: "r" });
  expect(b.state.auth.revision).toBe(4);
  b.change({ do: "roleDelete", role: "r" });
  expect(b.state.auth.user("alice")!.roles).toEqual([]);
});

test("what a command touches needs its permission, in compares and in both branches of nested transactions", () => {
  const b = withUsers();
  const alice = b.as("alice");
  const nested = (op: Extract<Command, { type: "txn" }>["success"][number]) => [
    { type: "txn" as const, compare: [], success: [], failure: [op] },
  ];
  const cases: [Command, string | undefined][] = [
    [txn([range("a", "c")], alice), undefined],
    [txn([range("a", "d")], alice), "permission-denied"],
    [txn([range("c")], alice), "permission-denied"],
    [txn([range("x", "\0")], alice), undefined],
    [txn([range("w", "\0")], alice), "permission-denied"],
    [txn([put("c")], alice), undefined],
    [txn([put("a")], alice), "permission-denied"],
    [txn([put("c", { prevKv: true })], alice), "permission-denied"],
    [txn([put("b", { prevKv: true })], alice), undefined],
    [txn([remove("b", "d")], alice), undefined],
    [txn([remove("b", "d", true)], alice), "permission-denied"],
    [txn([remove("a", "d")], alice), "permission-denied"],
    [txn(nested(range("d")), alice), "permission-denied"],
    [txn(nested(range("a")), alice), undefined],
    [{ ...txn([], alice), failure: [put("a")] }, "permission-denied"],
    [{ ...txn([], alice), compare: [{ key: bytes("c"), op: "=", target: "version", value: 0 }] }, "permission-denied"],
    [{ ...txn([], alice), compare: [{ key: bytes("a"), end: bytes("d"), op: "=", target: "version", value: 0 }] }, "permission-denied"],
    [{ type: "compact", revision: 1, by: alice }, "permission-denied"],
    [{ type: "alarm", raise: true, alarm: { memberId: 1n, kind: "nospace" }, by: alice }, "permission-denied"],
    [{ type: "leaseGrant", id: 7n, ttl: 60, by: alice }, undefined],
    [{ type: "leaseGrant", id: 8n, ttl: 60, by: ANONYMOUS }, "user-empty"],
    [txn([], ANONYMOUS), "user-empty"],
    [txn([put("c")], ANONYMOUS), "user-empty"],
    [txn([put("c")], { user: "alice", revision: alice.revision - 1 }), "auth-old-revision"],
    [txn([put("c")], b.as("nobody")), "permission-denied"],
    [txn([put("a")], b.as("root")), undefined],
    // The store's own.
    [txn([put("a")]), undefined],
    [{ type: "auth", change: { do: "roleAdd", role: "s" }, by: alice }, "permission-denied"],
    [{ type: "auth", change: { do: "disable" }, by: ANONYMOUS }, "user-empty"],
  ];
  for (const [command, refusal] of cases) {
    expect([command, b.refused(command)]).toEqual([command, refusal]);
  }
});

test("a lease is its keys', to end and to hang more on", () => {
  const b = withUsers();
  b.run({ type: "leaseGrant", id: 7n, ttl: 60 });
  expect(b.refused(txn([put("c", { lease: 7n })], b.as("alice")))).toBeUndefined();
  b.run(txn([put("a", { lease: 7n })]));
  expect(b.refused(txn([put("c", { lease: 7n })], b.as("alice")))).toBe("permission-denied");
  expect(b.refused({ type: "leaseRevoke", id: 7n, by: b.as("alice") })).toBe("permission-denied");
  expect(b.refused({ type: "leaseRevoke", id: 7n, by: b.as("root") })).toBeUndefined();
});

test("a change of a role holds at once, also for what was proposed before", () => {
  const b = withUsers();
  const before = b.as("alice");
  b.change({ do: "roleRevoke", role: "r", key: "b", end: "d" }, b.as("root"));
  expect(b.refused(txn([put("c")], before))).toBe("auth-old-revision");
  expect(b.refused(txn([put("c")], b.as("alice")))).toBe("permission-denied");
  b.change({ do: "userDelete", user: "alice" }, b.as("root"));
  expect(b.refused(txn([range("a")], b.as("alice")))).toBe("permission-denied");
});

test("tokens end with their time, their user's password, their user and with auth", () => {
  const b = withUsers();
  const { tokens } = b.state.auth;
  tokens.ttl = 1000;
  const give = (user = "alice") => b.change({ do: "authenticate", user, token: "t" }, ANONYMOUS).token!;
  const token = give();
  expect(token).toMatch(/^t\.\d+$/);
  expect(tokens.use(token, 900)).toBe("alice");
  expect(tokens.use(token, 1800)).toBe("alice");
  expect(tokens.use(token, 2800)).toBeUndefined();
  expect(tokens.size).toBe(0);
  const [first, others] = [give(), give("root")];
  b.change({ do: "userPassword", user: "alice", password: "h2" }, b.as("root"));
  expect([tokens.use(first, 0), tokens.use(others, 0)]).toEqual([undefined, "root"]);
  const second = give();
  b.change({ do: "userDelete", user: "alice" }, b.as("root"));
  expect(tokens.use(second, 0)).toBeUndefined();
  b.change({ do: "disable" }, b.as("root"));
  expect(tokens.size).toBe(0);
  // What nobody asks for any more goes with the next that is given.
  b.change({ do: "enable" });
  b.now = 0;
  give("root");
  b.now = 5000;
  give("root");
  expect(tokens.size).toBe(1);
});

test("users without a password get no token", () => {
  const b = withUsers();
  b.change({ do: "userAdd", user: "cn", password: "", noPassword: true }, b.as("root"));
  expect(b.refusedChange({ do: "authenticate", user: "cn", token: "t" })).toBe("no-password-user");
  expect(b.refusedChange({ do: "authenticate", user: "none", token: "t" })).toBe("auth-failed");
});

test("a snapshot has all of it", () => {
  const b = withUsers();
  const { id, chunks } = snapshotOf(b.state);
  const restored = withUsers();
  restored.change({ do: "userAdd", user: "gone", password: "h", noPassword: false });
  const { token } = restored.change({ do: "authenticate", user: "gone", token: "t" });
  const loader = new SnapshotLoader(restored.state, id);
  for (const chunk of chunks) loader.add(chunk, 0);
  loader.finish();
  expect(restored.state.auth.dump()).toEqual(b.state.auth.dump());
  expect(restored.state.auth.tokens.use(token!, 0)).toBeUndefined();
  expect(restored.refused(txn([put("a")], restored.as("alice")))).toBe("permission-denied");
  expect(restored.refused(txn([put("c")], restored.as("alice")))).toBeUndefined();
});

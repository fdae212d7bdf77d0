// The Auth service: users, roles, and the tokens that passwords are traded for.

import { Permission_Type, type Permission as PermissionMessage } from "../../rpc/gen/etcd/auth_pb.ts";
import { Auth } from "../../rpc/gen/etcd/rpc_pb.ts";
import { service } from "../../rpc/service.ts";
import { Code, type HandlerContext, RpcError } from "../../rpc/types.ts";
import { hashPassword, isHash, verifyPassword } from "../auth/password.ts";
import type { Access, AuthChange, Author, Permission } from "../auth/types.ts";
import { ROOT } from "../auth/types.ts";
import { Refused } from "../mvcc/errors.ts";
import { keyText } from "../mvcc/key.ts";
import { header, type ServerContext } from "./context.ts";
import { answering } from "./errors.ts";

const ACCESS: Partial<Record<Permission_Type, Access>> = {
  [Permission_Type.READ]: "read",
  [Permission_Type.WRITE]: "write",
  [Permission_Type.READWRITE]: "readwrite",
};
const TYPES: Record<Access, Permission_Type> = {
  read: Permission_Type.READ,
  write: Permission_Type.WRITE,
  readwrite: Permission_Type.READWRITE,
};

/** What the role root is shown with, whose rights are not a list. */
const EVERYTHING: Permission = { access: "readwrite", key: "", end: "\0" };

/** @throws Refused for a kind of access that there is not */
function permissionOf(m: PermissionMessage): Permission {
  const access = ACCESS[m.permType];
  if (!access) throw new Refused("permission-not-given");
  return { access, key: keyText(m.key), end: keyText(m.rangeEnd) };
}

const permissionMessage = (p: Permission) => ({
  permType: TYPES[p.access],
  key: Buffer.from(p.key, "latin1"),
  rangeEnd: Buffer.from(p.end, "latin1"),
});

export function authService(context: ServerContext) {
  const { member, gate } = context;

  const change = (call: HandlerContext, make: () => AuthChange | Promise<AuthChange>) =>
    answering(async () => {
      // Who may not do it can't make this member hash passwords either.
      if (gate.on) await gate.as(call, requireRoot);
      const what = await make();
      const { revision } = await gate.as(call, (by) => member.propose({ type: "auth", by, change: what }));
      return { header: header(context, revision) };
    });

  /** A member that is behind looks again once it has caught up. */
  async function requireRoot(by: Author): Promise<void> {
    const allowed = () => !gate.on || member.state.auth.isRoot(by.user);
    if (allowed()) return;
    await member.consensus.readBarrier();
    if (!allowed()) member.state.auth.requireRoot(by);
  }

  /** Asks what the state holds, as of every change acknowledged before. */
  const read = <T>(call: HandlerContext, allowed: (user: string) => boolean, answer: () => T) =>
    answering(() =>
      gate.as(call, async (by) => {
        await member.consensus.readBarrier();
        if (gate.on && !allowed(by.user)) member.state.auth.requireRoot(by);
        return { header: header(context), ...answer() };
      }),
    );

  /** The hash to keep: of the password, or one that a client made itself. */
  async function hashOf({ password, hashedPassword }: { password: string; hashedPassword: string }): Promise<string> {
    if (password === "" && hashedPassword !== "") {
      const given = Buffer.from(hashedPassword, "base64").toString("latin1");
      if (!isHash(given)) throw new RpcError(Code.InvalidArgument, "etcdserver: the hashed password is not one of bcrypt");
      return given;
    }
    const hash = await hashPassword(password, gate.bcryptCost);
    if (hash === undefined) throw new RpcError(Code.Unknown, "bcrypt: password length exceeds 72 bytes");
    return hash;
  }

  return service(Auth, {
    authEnable: (_, call) => change(call, () => ({ do: "enable" })),
    authDisable: (_, call) => change(call, () => ({ do: "disable" })),

    authStatus: () =>
      answering(async () => {
        await member.consensus.readBarrier();
        const { enabled, revision } = member.state.auth;
        return { header: header(context), enabled, authRevision: BigInt(revision) };
      }),

    authenticate: ({ name, password }) =>
      answering(async () => {
        await member.consensus.readBarrier();
        for (;;) {
          const { auth } = member.state;
          const { revision } = auth;
          if (!(await verifyPassword(password, auth.mayAuthenticate(name).password))) throw new Refused("auth-failed");
          const token = await gate.issue(name);
          // Else the password that was checked may have been changed since.
          if (member.state.auth.revision === revision) return { header: header(context), token };
        }
      }),

    userAdd: (r, call) =>
      change(call, async () => {
        const noPassword = r.options?.noPassword ?? false;
        return { do: "userAdd", user: r.name, password: noPassword ? "" : await hashOf(r), noPassword };
      }),
    userDelete: (r, call) => change(call, () => ({ do: "userDelete", user: r.name })),
    userChangePassword: (r, call) => change(call, async () => ({ do: "userPassword", user: r.name, password: await hashOf(r) })),
    userGrantRole: (r, call) => change(call, () => ({ do: "userGrant", user: r.user, role: r.role })),
    userRevokeRole: (r, call) => change(call, () => ({ do: "userRevoke", user: r.name, role: r.role })),
    userList: (_, call) =>
      read(
        call,
        () => false,
        () => ({ users: member.state.auth.users().map((u) => u.name) }),
      ),
    userGet: ({ name }, call) =>
      read(
        call,
        (user) => user !== "" && user === name,
        () => {
          const user = member.state.auth.user(name);
          if (!user) throw new Refused("user-not-found");
          return { roles: [...user.roles] };
        },
      ),

    roleAdd: (r, call) => change(call, () => ({ do: "roleAdd", role: r.name })),
    roleDelete: (r, call) => change(call, () => ({ do: "roleDelete", role: r.role })),
    roleGrantPermission: (r, call) =>
      change(call, () => {
        if (!r.perm) throw new Refused("permission-not-given");
        return { do: "roleGrant", role: r.name, permission: permissionOf(r.perm) };
      }),
    roleRevokePermission: (r, call) =>
      change(call, () => ({ do: "roleRevoke", role: r.role, key: keyText(r.key), end: keyText(r.rangeEnd) })),
    roleList: (_, call) =>
      read(
        call,
        () => false,
        () => ({ roles: member.state.auth.roles().map((r) => r.name) }),
      ),
    roleGet: ({ role: name }, call) =>
      read(
        call,
        (user) => member.state.auth.hasRole(user, name),
        () => {
          const role = member.state.auth.role(name);
          if (!role) throw new Refused("role-not-found");
          return { perm: (name === ROOT ? [EVERYTHING] : role.permissions).map(permissionMessage) };
        },
      ),
  });
}

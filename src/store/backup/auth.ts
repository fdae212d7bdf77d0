// Users and roles as etcd's backend keeps them.
import { Permission_Type, RoleSchema, UserSchema } from "../../rpc/gen/etcd/auth_pb.ts";
import { create, fromBinary, toBinary } from "../../rpc/protobuf.ts";
import type { Access, AuthDump, Role, User } from "../auth/types.ts";
import type { BoltReader } from "../bolt/reader.ts";
import { keyBytes, keyText } from "../mvcc/key.ts";

const ACCESS: Record<Access, Permission_Type> = {
  read: Permission_Type.READ,
  write: Permission_Type.WRITE,
  readwrite: Permission_Type.READWRITE,
};

const utf8 = (text: string) => new TextEncoder().encode(text);
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const byKey = <T extends { key: string }>(a: T, b: T) => (a.key < b.key ? -1 : 1);

export const userBytes = ({ name, password, noPassword, roles }: User): Uint8Array =>
  toBinary(UserSchema, create(UserSchema, { name: utf8(name), password: utf8(password), roles: [...roles], options: { noPassword } }));

export const roleBytes = ({ name, permissions }: Role): Uint8Array =>
  toBinary(
    RoleSchema,
    create(RoleSchema, {
      name: utf8(name),
      keyPermission: permissions.map((p) => ({ permType: ACCESS[p.access], key: keyBytes(p.key), rangeEnd: keyBytes(p.end) })),
    }),
  );

function userOf(bytes: Uint8Array): User {
  const { name, password, roles, options } = fromBinary(UserSchema, bytes);
  return { name: text(name), password: text(password), noPassword: options?.noPassword ?? false, roles: roles.sort() };
}

function roleOf(bytes: Uint8Array): Role {
  const { name, keyPermission } = fromBinary(RoleSchema, bytes);
  const permissions = keyPermission.map(({ permType, key, rangeEnd }) => {
    const access = (Object.keys(ACCESS) as Access[]).find((a) => ACCESS[a] === permType);
    if (!access) throw new Error(`role ${JSON.stringify(text(name))} has a permission of unknown type ${permType}`);
    return { access, key: keyText(key), end: keyText(rangeEnd) };
  });
  return { name: text(name), permissions: permissions.sort(byKey) };
}

/** All of the buckets auth, authUsers and authRoles. */
export function readAuth(db: BoltReader): AuthDump {
  // As a store that never had users, where an old etcd wrote nothing.
  const auth: AuthDump = { enabled: false, revision: 1, users: [], roles: [] };
  for (const { key, value } of db.pairs("auth")) {
    if (text(key) === "authEnabled") auth.enabled = value[0] === 1;
    else if (text(key) === "authRevision" && value.length === 8) auth.revision = Number(Buffer.from(value).readBigUInt64BE());
  }
  for (const { value } of db.pairs("authUsers")) auth.users.push(userOf(value));
  for (const { value } of db.pairs("authRoles")) auth.roles.push(roleOf(value));
  return auth;
}

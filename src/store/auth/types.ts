// Who may do what, as etcd's authpb has it. Keys are strings with one code unit a byte (mvcc/key.ts).

/** On whose behalf a command is proposed: a user, and the auth revision that this was found out at. */
export interface Author {
  /** Empty: nobody said who they are. */
  readonly user: string;
  /** 0 without a user. */
  readonly revision: number;
}

export const ANONYMOUS: Author = { user: "", revision: 0 };

export type Access = "read" | "write" | "readwrite";

export interface Permission {
  readonly access: Access;
  readonly key: string;
  /** Empty: the one key; "\0": all keys from `key` on. */
  readonly end: string;
}

export interface User {
  readonly name: string;
  /** The bcrypt hash; empty for a user that only certificates authenticate. */
  readonly password: string;
  readonly noPassword: boolean;
  /** Sorted. */
  readonly roles: readonly string[];
}

export interface Role {
  readonly name: string;
  /** Sorted by key. */
  readonly permissions: readonly Permission[];
}

/** The user and the role that may do everything. */
export const ROOT = "root";

/** What a command changes of users, roles and tokens. */
export type AuthChange =
  | { do: "enable" }
  | { do: "disable" }
  /** Gives a token to a user whose password a member has checked. */
  | { do: "authenticate"; user: string; token: string }
  | { do: "userAdd"; user: string; password: string; noPassword: boolean }
  | { do: "userDelete"; user: string }
  | { do: "userPassword"; user: string; password: string }
  | { do: "userGrant"; user: string; role: string }
  | { do: "userRevoke"; user: string; role: string }
  | { do: "roleAdd"; role: string }
  | { do: "roleDelete"; role: string }
  | { do: "roleGrant"; role: string; permission: Permission }
  | { do: "roleRevoke"; role: string; key: string; end: string };

/** All of it, for a snapshot. Tokens are not part: whoever holds an unknown one authenticates again. */
export interface AuthDump {
  enabled: boolean;
  revision: number;
  users: User[];
  roles: Role[];
}

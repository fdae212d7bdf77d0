// Users, roles and permissions: a part of the state machine, so the same on
// every member. What may be done is decided from it alone.
import { Refused } from "../mvcc/errors.ts";
import type { Span } from "../mvcc/key.ts";
import { KeyRanges, spanOfPermission } from "./ranges.ts";
import { SimpleTokens } from "./tokens.ts";
import { type AuthChange, type AuthDump, type Author, type Permission, ROOT, type Role, type User } from "./types.ts";

/** What a user may do, put together from the permissions of all its roles. */
interface Allowed {
  root: boolean;
  read: KeyRanges;
  write: KeyRanges;
}

/** What a change answers: the token that was given, if that is what it did. */
export type AuthAnswer = { token?: string };

/** Go orders strings by their bytes. */
const byBytes = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b));

export class Auth {
  readonly tokens = new SimpleTokens();
  readonly #users = new Map<string, User>();
  readonly #roles = new Map<string, Role>();
  /** By user; forgotten with every change. */
  readonly #allowed = new Map<string, Allowed>();
  #revision = 1;
  #enabled = false;

  /** Whether anything is checked at all. */
  get enabled(): boolean {
    return this.#enabled;
  }

  /** One more with each change of users and roles; the first is 1. */
  get revision(): number {
    return this.#revision;
  }

  user(name: string): User | undefined {
    return this.#users.get(name);
  }

  role(name: string): Role | undefined {
    return this.#roles.get(name);
  }

  /** In the order of their names. */
  users(): User[] {
    return [...this.#users.values()].sort((a, b) => byBytes(a.name, b.name));
  }

  roles(): Role[] {
    return [...this.#roles.values()].sort((a, b) => byBytes(a.name, b.name));
  }

  /** @throws Refused "user-empty", "auth-old-revision" or "permission-denied" */
  permit(by: Author, access: "read" | "write", span: Span): void {
    if (by.revision === 0) throw new Refused("user-empty");
    if (by.revision < this.#revision) throw new Refused("auth-old-revision");
    const allowed = this.#allowedTo(by.user);
    if (!allowed.root && !allowed[access].covers(span)) throw new Refused("permission-denied");
  }

  /** Whoever it is, they have to have said so. */
  requireUser(by: Author): void {
    if (by.revision === 0) throw new Refused("user-empty");
  }

  /** @throws Refused "user-empty", "user-not-found" or "permission-denied" */
  requireRoot(by: Author): void {
    if (by.user === "") throw new Refused("user-empty");
    if (!this.#users.has(by.user)) throw new Refused("user-not-found");
    if (!this.isRoot(by.user)) throw new Refused("permission-denied");
  }

  isRoot(user: string): boolean {
    return this.hasRole(user, ROOT);
  }

  hasRole(user: string, role: string): boolean {
    return this.#users.get(user)?.roles.includes(role) === true;
  }

  /**
   * @param index that of the log's entry, which ends a token
   * @param now milliseconds, to date tokens
   * @throws Refused, and then nothing changed
   */
  apply(change: AuthChange, index: number, now: number): AuthAnswer {
    if (change.do === "authenticate") return { token: this.#authenticate(change.user, change.token, index, now) };
    if (this.#change(change)) {
      this.#revision++;
      this.#allowed.clear();
    }
    return {};
  }

  dump(): AuthDump {
    return { enabled: this.#enabled, revision: this.#revision, users: this.users(), roles: this.roles() };
  }

  /** Takes the place of all there is; no token is sure to be its user's any more. */
  restore(dump: AuthDump): void {
    this.#users.clear();
    this.#roles.clear();
    this.#allowed.clear();
    this.tokens.clear();
    for (const user of dump.users) this.#users.set(user.name, { ...user, roles: [...user.roles] });
    for (const role of dump.roles) this.#roles.set(role.name, { ...role, permissions: role.permissions.map((p) => ({ ...p })) });
    this.#enabled = dump.enabled;
    this.#revision = dump.revision;
  }

  #authenticate(name: string, prefix: string, index: number, now: number): string {
    this.mayAuthenticate(name);
    const token = `${prefix}.${index}`;
    this.tokens.assign(token, name, now);
    return token;
  }

  /**
   * The user that a password would be checked of.
   *
   * @throws Refused "auth-not-enabled", "auth-failed" or "no-password-user"
   */
  mayAuthenticate(name: string): User {
    if (!this.#enabled) throw new Refused("auth-not-enabled");
    const user = this.#users.get(name);
    if (!user) throw new Refused("auth-failed");
    if (user.noPassword) throw new Refused("no-password-user");
    return user;
  }

  /** Whether that makes a new revision. */
  #change(change: Exclude<AuthChange, { do: "authenticate" }>): boolean {
    switch (change.do) {
      case "enable":
        return this.#enable();
      case "disable":
        if (!this.#enabled) return false;
        this.#enabled = false;
        this.tokens.clear();
        return true;
      case "userAdd": {
        const { user: name, password, noPassword } = change;
        if (name === "") throw new Refused("user-empty");
        if (this.#users.has(name)) throw new Refused("user-exists");
        this.#users.set(name, { name, password: noPassword ? "" : password, noPassword, roles: [] });
        return true;
      }
      case "userDelete":
        if (this.#enabled && change.user === ROOT) throw new Refused("invalid-auth-management");
        this.#userOf(change.user);
        this.#users.delete(change.user);
        this.tokens.revoke(change.user);
        return true;
      case "userPassword": {
        const user = this.#userOf(change.user);
        this.#users.set(user.name, { ...user, password: user.noPassword ? "" : change.password });
        this.tokens.revoke(user.name);
        return true;
      }
      case "userGrant": {
        const user = this.#userOf(change.user);
        // root can be granted without having been made: it is no set of permissions.
        if (change.role !== ROOT) this.#roleOf(change.role);
        if (user.roles.includes(change.role)) return false;
        this.#users.set(user.name, { ...user, roles: [...user.roles, change.role].sort(byBytes) });
        return true;
      }
      case "userRevoke": {
        if (this.#enabled && change.user === ROOT && change.role === ROOT) throw new Refused("invalid-auth-management");
        const user = this.#userOf(change.user);
        if (!user.roles.includes(change.role)) throw new Refused("role-not-granted");
        this.#users.set(user.name, { ...user, roles: user.roles.filter((r) => r !== change.role) });
        return true;
      }
      case "roleAdd":
        if (change.role === "") throw new Refused("role-empty");
        if (this.#roles.has(change.role)) throw new Refused("role-exists");
        this.#roles.set(change.role, { name: change.role, permissions: [] });
        return true;
      case "roleDelete":
        if (this.#enabled && change.role === ROOT) throw new Refused("invalid-auth-management");
        this.#roleOf(change.role);
        this.#roles.delete(change.role);
        for (const user of this.#users.values()) {
          if (user.roles.includes(change.role)) this.#users.set(user.name, { ...user, roles: user.roles.filter((r) => r !== change.role) });
        }
        return true;
      case "roleGrant":
        this.#grant(change.role, change.permission);
        return true;
      case "roleRevoke": {
        const role = this.#roleOf(change.role);
        const kept = role.permissions.filter((p) => p.key !== change.key || p.end !== change.end);
        if (kept.length === role.permissions.length) throw new Refused("permission-not-granted");
        this.#roles.set(role.name, { ...role, permissions: kept });
        return true;
      }
    }
  }

  /** Makes no revision of its own, as with etcd. */
  #enable(): false {
    if (this.#enabled) return false;
    if (!this.#users.has(ROOT)) throw new Refused("root-user-not-found");
    if (!this.isRoot(ROOT)) throw new Refused("root-role-not-found");
    this.#enabled = true;
    return false;
  }

  #grant(name: string, permission: Permission): void {
    const role = this.#roleOf(name);
    const { start, end } = spanOfPermission(permission);
    if (end !== undefined && start >= end) throw new Refused("invalid-auth-management");
    const others = role.permissions.filter((p) => p.key !== permission.key || p.end !== permission.end);
    const permissions = [...others, permission].sort((a, b) => (a.key === b.key ? (a.end < b.end ? -1 : 1) : a.key < b.key ? -1 : 1));
    this.#roles.set(name, { ...role, permissions });
  }

  #userOf(name: string): User {
    const user = this.#users.get(name);
    if (!user) throw new Refused("user-not-found");
    return user;
  }

  #roleOf(name: string): Role {
    const role = this.#roles.get(name);
    if (!role) throw new Refused("role-not-found");
    return role;
  }

  #allowedTo(name: string): Allowed {
    const known = this.#allowed.get(name);
    if (known) return known;
    const user = this.#users.get(name);
    if (!user) throw new Refused("permission-denied");
    const permissions = user.roles.flatMap((role) => this.#roles.get(role)?.permissions ?? []);
    const ranges = (access: "read" | "write") =>
      new KeyRanges(permissions.filter((p) => p.access === access || p.access === "readwrite").map(spanOfPermission));
    const made = { root: user.roles.includes(ROOT), read: ranges("read"), write: ranges("write") };
    this.#allowed.set(name, made);
    return made;
  }
}

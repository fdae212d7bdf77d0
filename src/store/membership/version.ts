// What all members are able to, found out by the leader (etcd's
// server/etcdserver/version): features come with the last member that is upgraded.
import { logger } from "../../platform/log.ts";
import type { StateMachine } from "../state.ts";
import { VERSION } from "../version.ts";

export interface VersionHost {
  readonly state: StateMachine;
  own(): bigint;
  /** The release of another member; rejects while it can't be asked. */
  versionOf(id: bigint): Promise<string>;
  agree(version: string): Promise<unknown>;
}

/** Milliseconds between two looks. */
const INTERVAL = 4000;

/** Major and minor as one number. */
const rank = (version: string) => {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major * 1000 + minor;
};
const base = (version: string) => `${version.split(".").slice(0, 2).join(".")}.0`;

/** The release that members of these have in common. */
export const commonVersion = (versions: readonly string[]): string => base(versions.reduce((a, b) => (rank(b) < rank(a) ? b : a)));

export class VersionMonitor {
  readonly #host: VersionHost;
  #timer: ReturnType<typeof setInterval> | undefined;
  #looking = false;

  constructor(host: VersionHost) {
    this.#host = host;
  }

  /** As the leader. */
  start(): void {
    this.#timer ??= setInterval(() => this.look(), INTERVAL).unref();
    setImmediate(() => this.look());
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  async look(): Promise<void> {
    const { membership } = this.#host.state;
    const others = membership.members.filter((m) => m.id !== this.#host.own());
    // One that is alone needs nobody's word.
    if (this.#timer === undefined || this.#looking || others.length === 0) return;
    this.#looking = true;
    try {
      const version = commonVersion([VERSION, ...(await Promise.all(others.map((m) => this.#host.versionOf(m.id))))]);
      const before = membership.version;
      // It never goes back by itself.
      if (before === undefined || rank(version) > rank(before)) await this.#host.agree(version);
    } catch (error) {
      // Whoever can't be asked now is asked at the next look.
      logger("etcd").info("Could not find out what all members are able to", { error: String(error) }, 1);
    } finally {
      this.#looking = false;
    }
  }
}

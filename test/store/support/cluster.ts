// Clusters of store processes to do harm to: Debian's etcd or kubun's store, with
// the same flags, each member with a folder, ports and if wanted a host of its own.
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { freePorts } from "../../../src/testing/ports.ts";
import { must, run } from "./commands.ts";
import { FailingDisk } from "./failing-disk.ts";
import { Hosts } from "./hosts.ts";

export const root = resolve(import.meta.dirname, "../../..");

/** What the members run. */
export type Kind = "etcd" | "kubun";

export interface ClusterOptions {
  kind: Kind;
  members?: number;
  /** Give each member a network namespace of its own, so that the network between them can be cut. */
  hosts?: boolean;
  /** Bytes of a file system of its own for each member's data. */
  diskBytes?: number;
  /** Give each member's data a disk of its own that can be made to fail. */
  failingDisks?: boolean;
  /** More flags for every member. */
  flags?: readonly string[];
}

export interface StartOptions {
  /** Of --initial-cluster; default: all members. */
  initial?: readonly Member[];
  state?: "new" | "existing";
  flags?: readonly string[];
}

export class Member {
  readonly cluster: StoreCluster;
  readonly index: number;
  readonly name: string;
  readonly address: { host: string; port: number };
  readonly peerUrl: string;
  readonly dataDir: string;
  #process: Bun.Subprocess | undefined;
  #starts = 0;

  constructor(cluster: StoreCluster, index: number, address: { host: string; port: number }, peerPort: number) {
    this.cluster = cluster;
    this.index = index;
    this.name = `m${index}`;
    this.address = address;
    this.peerUrl = `http://${address.host}:${peerPort}`;
    this.dataDir = join(cluster.dir, this.name, "data");
  }

  get endpoint(): string {
    return `${this.address.host}:${this.address.port}`;
  }

  get clientUrl(): string {
    return `http://${this.endpoint}`;
  }

  get pid(): number {
    if (!this.#process) throw new Error(`${this.name} does not run`);
    return this.#process.pid;
  }

  get running(): boolean {
    return this.#process !== undefined && this.#process.exitCode === null && this.#process.signalCode === null;
  }

  /** Of the last start. */
  get log(): string {
    return readFileSync(this.#logFile(), "utf8");
  }

  #logFile(): string {
    return join(this.cluster.dir, this.name, `log.${this.#starts}`);
  }

  start(options: StartOptions = {}): void {
    if (this.running) throw new Error(`${this.name} runs already`);
    mkdirSync(this.dataDir, { recursive: true });
    this.#starts++;
    const { kind, hosts } = this.cluster;
    const initial = options.initial ?? this.cluster.members;
    // etcd 3.4 has pre-vote, and has to be asked for it.
    const program = kind === "etcd" ? ["etcd", "--logger", "zap", "--pre-vote"] : [process.execPath, join(root, "src/main.ts"), "store"];
    const log = Bun.file(this.#logFile());
    // setpriv: no member outlives the tests, however they end.
    const command = [
      ...(hosts ? hosts.enter(this.index) : []),
      ...["setpriv", "--pdeathsig", "KILL", ...program],
      ...["--name", this.name, "--data-dir", this.dataDir],
      ...["--listen-client-urls", this.clientUrl, "--advertise-client-urls", this.clientUrl],
      ...["--listen-peer-urls", this.peerUrl, "--initial-advertise-peer-urls", this.peerUrl],
      ...["--initial-cluster", initial.map((m) => `${m.name}=${m.peerUrl}`).join(",")],
      ...["--initial-cluster-state", options.state ?? "new"],
      ...this.cluster.flags,
      ...(options.flags ?? []),
    ];
    this.#process = Bun.spawn(command, { stdin: "ignore", stdout: log, stderr: log, cwd: this.cluster.dir });
  }

  signal(signal: "SIGKILL" | "SIGTERM" | "SIGSTOP" | "SIGCONT"): void {
    this.#process?.kill(signal);
  }

  /** Resolves with the exit code once the process has ended; a signal's is 128 and more. */
  async ended(milliseconds = 30_000): Promise<number> {
    if (!this.#process) throw new Error(`${this.name} does not run`);
    let timer: Timer | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new Error(`${this.name} still runs after ${milliseconds} ms:\n${this.log.slice(-2000)}`)),
        milliseconds,
      );
    });
    return Promise.race([this.#process.exited, late]).finally(() => clearTimeout(timer));
  }

  async kill(): Promise<void> {
    this.signal("SIGKILL");
    if (this.#process) await this.#process.exited;
  }

  /** Ends it as an operator would. */
  async stop(): Promise<void> {
    this.signal("SIGTERM");
    await this.ended();
  }

  /** Removes its data, as if its disk were new. */
  wipe(): void {
    if (this.cluster.diskBytes)
      for (const path of ["member", "wal", "snap"]) rmSync(join(this.dataDir, path), { recursive: true, force: true });
    else rmSync(this.dataDir, { recursive: true, force: true });
  }
}

let clusters = 0;

/** Ends its processes and removes all it made when disposed of. */
export class StoreCluster implements AsyncDisposable {
  readonly kind: Kind;
  readonly dir: string;
  readonly hosts: Hosts | undefined;
  readonly flags: readonly string[];
  readonly diskBytes: number | undefined;
  readonly members: Member[] = [];
  /** Those that can be made to fail, by the members' order. */
  readonly disks: FailingDisk[] = [];
  readonly #failingDisks: boolean;
  readonly #mounts: string[] = [];
  #made = 0;

  private constructor(options: ClusterOptions) {
    this.kind = options.kind;
    this.flags = ["--initial-cluster-token", `test-${process.pid}-${clusters}`, ...(options.flags ?? [])];
    this.diskBytes = options.diskBytes;
    this.#failingDisks = options.failingDisks === true;
    this.dir = mkdtempSync(join(tmpdir(), "kubun-store-"));
    if (options.hosts) this.hosts = new Hosts(clusters);
    clusters++;
  }

  /** Makes the members, and starts them unless told not to. */
  static async make(options: ClusterOptions, start = true): Promise<StoreCluster> {
    const cluster = new StoreCluster(options);
    try {
      for (let i = 0; i < (options.members ?? 3); i++) await cluster.extend();
      if (start) for (const m of cluster.members) m.start();
    } catch (error) {
      await cluster[Symbol.asyncDispose]();
      throw error;
    }
    return cluster;
  }

  get endpoints(): string[] {
    return this.members.map((m) => m.endpoint);
  }

  /** One more member, not started. */
  async extend(): Promise<Member> {
    const index = this.#made++;
    let host = "127.0.0.1";
    let [port, peer] = [2379, 2380];
    if (this.hosts) host = this.hosts.add(index);
    else [port, peer] = freePorts(2) as [number, number];
    const member = new Member(this, index, { host, port }, peer);
    mkdirSync(member.dataDir, { recursive: true });
    if (this.diskBytes) {
      must("mount", "-t", "tmpfs", "-o", `size=${this.diskBytes}`, "kubun-test", member.dataDir);
      this.#mounts.push(member.dataDir);
    }
    if (this.#failingDisks) this.disks.push(new FailingDisk(member.dataDir));
    this.members.push(member);
    return member;
  }

  /** The members' last words, for the message of a failure. */
  logs(): string {
    return this.members.map((m) => `--- ${m.name}${m.running ? "" : " (ended)"}\n${m.log.split("\n").slice(-15).join("\n")}`).join("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const m of this.members) await m.kill();
    this.hosts?.remove();
    for (const dir of this.#mounts) run("umount", "-l", dir);
    for (const disk of this.disks) disk[Symbol.dispose]();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

// Hosts for members: network namespaces on one bridge, whose links can be cut
// one way or both. Names carry this process's id, so that those of a run that
// was killed are found and removed by the next.
import { existsSync } from "node:fs";
import { must, run } from "./commands.ts";

/** Why there can be none, if so. */
export const noHosts =
  process.getuid?.() !== 0
    ? "network namespaces need root"
    : !Bun.which("ip") || !Bun.which("nft")
      ? "no ip or nft on PATH (Debian packages iproute2 and nftables)"
      : undefined;

const NAMESPACE = /^(kubun-st-(\d+)-(\d+)-\d+)/;
const bridgeOf = (pid: number | string, n: number | string) => `ks${pid}-${n}`;

function sweep(): void {
  const bridges = new Set<string>();
  for (const line of run("ip", "netns", "list").out.split("\n")) {
    const [, name, pid, n] = NAMESPACE.exec(line) ?? [];
    if (!name || existsSync(`/proc/${pid}`)) continue;
    run("ip", "netns", "delete", name);
    bridges.add(bridgeOf(pid!, n!));
  }
  for (const bridge of bridges) run("ip", "link", "delete", bridge);
}

export class Hosts {
  readonly #n: number;
  readonly #bridge: string;
  readonly #net: string;
  readonly #indexes: number[] = [];

  constructor(n: number) {
    sweep();
    this.#n = n;
    this.#bridge = bridgeOf(process.pid, n);
    this.#net = freeNet();
    must("ip", "link", "add", this.#bridge, "type", "bridge");
    must("ip", "address", "add", `${this.#net}.1/24`, "dev", this.#bridge);
    must("ip", "link", "set", this.#bridge, "up");
  }

  #name(index: number): string {
    return `kubun-st-${process.pid}-${this.#n}-${index}`;
  }

  address(index: number): string {
    return `${this.#net}.${10 + index}`;
  }

  /** Makes a host and tells its address. */
  add(index: number): string {
    const name = this.#name(index);
    const link = `${this.#bridge}-${index}`;
    must("ip", "netns", "add", name);
    this.#indexes.push(index);
    must("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name);
    must("ip", "link", "set", link, "master", this.#bridge, "up");
    must("ip", "-n", name, "address", "add", `${this.address(index)}/24`, "dev", "eth0");
    must("ip", "-n", name, "link", "set", "eth0", "up");
    must("ip", "-n", name, "link", "set", "lo", "up");
    const chain = (hook: string) => `add chain ip cut ${hook} { type filter hook ${hook} priority 0; }`;
    must("ip", "netns", "exec", name, "nft", `add table ip cut; ${chain("input")}; ${chain("output")}`);
    return this.address(index);
  }

  /** What a command begins with to run on the host. */
  enter(index: number): string[] {
    return ["ip", "netns", "exec", this.#name(index)];
  }

  #nft(index: number, rules: string): void {
    must(...this.enter(index), "nft", rules);
  }

  /** Drops all that `from` sends to `to`; what comes back the other way still does. */
  cutOneWay(from: number, to: number): void {
    this.#nft(to, `add rule ip cut input ip saddr ${this.address(from)} drop`);
  }

  /** Drops all between the host and these others; who stands outside still reaches it. */
  isolate(index: number, others: readonly number[]): void {
    for (const other of others) {
      this.cutOneWay(index, other);
      this.cutOneWay(other, index);
    }
  }

  /** Undoes all cuts. */
  heal(): void {
    for (const index of this.#indexes) this.#nft(index, "flush chain ip cut input; flush chain ip cut output");
  }

  remove(): void {
    for (const index of this.#indexes.splice(0)) run("ip", "netns", "delete", this.#name(index));
    run("ip", "link", "delete", this.#bridge);
  }
}

/** The first three bytes of a /24 for tests of networks (RFC 2544) that nobody here uses. */
function freeNet(): string {
  const used = run("ip", "-4", "route", "show", "table", "all").out;
  for (;;) {
    const net = `198.${18 + Math.floor(Math.random() * 2)}.${Math.floor(Math.random() * 256)}`;
    if (!used.includes(`${net}.`)) return net;
  }
}

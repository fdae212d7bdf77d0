// Debian's etcdctl at a store, as a transcript in which what differs from store
// to store by chance (ids, addresses, times, sizes) has been given names, so
// that two stores can be compared line by line.
import { type DescMessage, fromBinary, toJsonString } from "@bufbuild/protobuf";
import { watchersAt } from "./checks.ts";
import { until } from "./commands.ts";
import { Program } from "./program.ts";

/** A command line of etcdctl, or one with more to it. */
export type Step = string | Run | Background | Fill;

export interface Run {
  run: string;
  stdin?: string;
  /** Keeps the first group of a match in the output as $NAME for later command lines. */
  save?: Record<string, RegExp>;
  /** The output is a protobuf message of this type. */
  decode?: DescMessage;
  /** Don't compare the output: how much it took to get there is the store's own business. */
  quiet?: boolean;
  /** Lines, and members within them, come in the order of ids, which is chance. */
  sort?: boolean;
  /** Compare hashes, too: no ids of leases are in the data. */
  exact?: boolean;
  env?: Record<string, string>;
}

/** A command that goes on, is waited for, and is ended. */
export interface Background {
  background: string;
  stdin?: string;
  /** Wait for this in the output, if it says when the steps below may begin. */
  ready?: RegExp;
  /** Wait until the store has one watcher more. */
  watching?: boolean;
  /** What is done meanwhile. */
  meanwhile: Step[];
  /** Wait for this in the output before it is ended; it must stand at the end of all that is expected. */
  until: RegExp;
  save?: Record<string, RegExp>;
}

/** Puts values of so many bytes until one is refused; what is compared is how. */
export interface Fill {
  fill: number;
}

export interface Subject {
  /** host:port of each member. */
  endpoints: readonly string[];
  /** Peer URLs. */
  peers: readonly string[];
  /** For files of the commands, as $DIR. */
  dir: string;
  /** Ids of the members, as $IDn and in the output MEMBERn. */
  ids?: readonly bigint[];
}

/** Splits a command line as a shell does: blanks, single and double quotes, no expansion. */
export function words(line: string): string[] {
  return [...line.matchAll(/(?:[^\s'"]|'[^']*'|"[^"]*")+/g)].map(([word]) => word.replace(/'([^']*)'|"([^"]*)"/g, (_, a, b) => a ?? b));
}

const HASHES: [RegExp, string][] = [
  [/("hash"|"Hash" ):( ?)\d+/g, "$1:$2H"],
  [/(CLIENT\d, )\d+$/gm, "$1H"],
  [/(CLIENT\d \| +)\d+/g, "$1H"],
];

const CHANCE: [RegExp, string][] = [
  // A table's columns are as wide as what chance put in them.
  [/-{2,}/g, "--"],
  [/ {2,}/g, " "],
  [/("raft_?term"|"raft_?index"|"raftAppliedIndex"|"dbSize(?:InUse)?"):"?\d+"?/gi, "$1:N"],
  // Of endpoint status: term, index and applied index.
  [/((?:true|false),) \d+, \d+, \d+,/g, "$1 N, N, N,"],
  [/(\| (?:true|false) \|) \d+ \| \d+ \| \d+ \|/g, "$1 N | N | N |"],
  [/("RaftTerm"|"RaftIndex"|"RaftAppliedIndex"|"DBSize") : \d+/g, "$1 : N"],
  [/("version"|"Version")( ?: ?)"3\.\d+\.\d+"/g, '$1$2"V"'],
  [/\b3\.\d+\.\d+\b/g, "V"],
  [/\b\d+(\.\d+)? [kM]?B\b/g, "SIZE"],
  [/remaining\(\d+s\)/g, "remaining(Ns)"],
  [/"ttl":\d+,"granted-ttl"/g, '"ttl":N,"granted-ttl"'],
  [/("TTL" : )\d+(\n"GrantedTTL")/g, "$1N$2"],
  [/took(: | = )?[\d.]+(ms|µs|s)/g, "took T"],
  [/"took":"[^"]*"/g, '"took":"T"'],
  [/\| [\d.]+(ms|µs|s) \|/g, "| T |"],
];

export class Terminal {
  readonly #subject: Subject;
  readonly #ids = new Map<bigint, string>();
  readonly #saved = new Map<string, string>();

  constructor(subject: Subject) {
    this.#subject = subject;
    for (const [i, id] of (subject.ids ?? []).entries()) {
      this.#ids.set(id, `MEMBER${i}`);
      this.#saved.set(`ID${i}`, id.toString(16));
    }
  }

  /** What the commands and their output look like, one after the other. */
  async transcript(steps: readonly Step[]): Promise<string> {
    let told = "";
    for (const step of steps) {
      if (typeof step === "string") told += await this.#run({ run: step });
      else if ("background" in step) told += await this.#background(step);
      else if ("fill" in step) told += await this.#fill(step);
      else told += await this.#run(step);
    }
    return told;
  }

  async #fill({ fill }: Fill): Promise<string> {
    const value = "x".repeat(fill);
    for (let n = 0; ; n++) {
      const child = this.#start(`put /fill/${n}`, value);
      child.closeInput();
      const { code, err } = await child.ended();
      if (code !== 0) return `... etcdctl put /fill/N\n${complaints(err)}exit code ${code}\n`;
    }
  }

  #watchers(): Promise<number> {
    return watchersAt(this.#subject.endpoints[0]!);
  }

  /** With $DIR, $ENDPOINTn, $PEERn and what was kept in place of their names. */
  #expand(line: string): string {
    return line.replace(/\$(\w+)/g, (whole, name: string) => {
      if (name === "DIR") return this.#subject.dir;
      const member = /^(ENDPOINT|PEER)(\d)$/.exec(name);
      if (member) return (member[1] === "PEER" ? this.#subject.peers : this.#subject.endpoints)[Number(member[2])]!;
      return this.#saved.get(name) ?? whole;
    });
  }

  #start(line: string, input: string, env: Record<string, string> = {}): Program {
    return new Program(["etcdctl", ...words(line).map((w) => this.#expand(w))], {
      // etcdctl takes both for a mistake.
      env: { ETCDCTL_API: "3", ETCDCTL_ENDPOINTS: line.includes("--endpoints") ? undefined : this.#subject.endpoints.join(","), ...env },
      input: this.#expand(input),
      cwd: this.#subject.dir,
    });
  }

  #keep(save: Record<string, RegExp> | undefined, out: string, line: string): void {
    for (const [name, pattern] of Object.entries(save ?? {})) {
      const found = pattern.exec(out)?.[1];
      if (found === undefined) throw new Error(`etcdctl ${line}: no ${pattern} in\n${out}`);
      this.#saved.set(name, found);
    }
  }

  async #run({ run, stdin = "", save, decode, exact, sort, quiet, env }: Run): Promise<string> {
    const child = this.#start(run, stdin, env);
    child.closeInput();
    const timer = setTimeout(() => child.signal("SIGKILL"), 60_000);
    const { code, raw, err } = await child.ended();
    clearTimeout(timer);
    const out = decode && code === 0 ? `${toJsonString(decode, fromBinary(decode, raw))}\n` : new TextDecoder().decode(raw);
    this.#keep(save, out, run);
    const named = quiet ? "" : this.named(out + complaints(err), exact);
    return `$ etcdctl ${run}\n${sort ? sorted(named) : named}${code ? `exit code ${code}\n` : ""}`;
  }

  async #background({ background, stdin, ready, watching, meanwhile, until: last, save }: Background): Promise<string> {
    const before = watching ? await this.#watchers() : 0;
    await using child = this.#start(background, stdin ?? "");
    if (watching) await until("the store to have the watcher", async () => (await this.#watchers()) > before);
    if (ready) await child.printed(ready);
    this.#keep(save, child.out, background);
    const done = await this.transcript(meanwhile);
    await child.printed(last);
    const { out } = await child.ended("SIGINT");
    return `$ etcdctl ${background} &\n${done.replace(/^/gm, "  ").trimEnd()}\n${this.named(out)}`;
  }

  /** The text with names in place of what differs by chance. */
  named(output: string, exact = false): string {
    let named = output;
    for (const [i, endpoint] of this.#subject.endpoints.entries()) named = named.replaceAll(endpoint, `CLIENT${i}`);
    for (const [i, peer] of this.#subject.peers.entries()) named = named.replaceAll(peer, `PEER${i}`);
    named = named.replaceAll(this.#subject.dir, "DIR");
    named = named.replace(/(?<![\w.])-?(\d{15,20}|[0-9a-f]{13,16})(?!\w)/g, (token) => this.#nameOf(token));
    if (!exact) for (const [pattern, name] of HASHES) named = named.replace(pattern, name);
    for (const [pattern, name] of CHANCE) named = named.replace(pattern, name);
    return named;
  }

  /** Ids are named in order of their first appearance, the same in decimal and in hexadecimal. */
  #nameOf(token: string): string {
    const readings = [
      ...(/^-?\d+$/.test(token) ? [BigInt.asUintN(64, BigInt(token))] : []),
      ...(/^[0-9a-f]{1,16}$/.test(token) ? [BigInt(`0x${token}`)] : []),
    ];
    const known = readings.map((id) => this.#ids.get(id)).find((name) => name !== undefined);
    if (known) return known;
    const name = `ID${new Set(this.#ids.values()).size}`;
    for (const id of readings) this.#ids.set(id, name);
    return name;
  }
}

/** Lines in order, and in each what stands between commas in quotes, or objects of a list. */
function sorted(text: string): string {
  const line = (l: string) =>
    l
      .replace(/="([^"]*,[^"]*)"/g, (_, list: string) => `="${list.split(",").sort().join()}"`)
      .replace(/(?<=\[)(\{.*\})(?=\])/g, (list) =>
        list
          .split(/(?<=\}),(?=\{)/)
          .sort()
          .join(),
      );
  return text.split("\n").map(line).sort().join("\n").trim().concat("\n");
}

/** What etcdctl says on its stderr, without where and when. */
function complaints(err: string): string {
  return err
    .split("\n")
    .filter((l) => l !== "")
    .map((l) => {
      if (!l.startsWith("{")) return `${l}\n`;
      const { msg, error } = JSON.parse(l) as { msg: string; error?: string };
      return `! ${msg}${error ? `: ${error}` : ""}\n`;
    })
    .join("");
}

// One component of a cluster as a process of its own: started, asked how it
// is, ended or killed, and started again with the same flags.
import { closeSync, openSync, readFileSync } from "node:fs";
import { until } from "./cluster.ts";

export interface Probe {
  url: string;
  /** What the answer has to hold. */
  holds: string | RegExp;
  /** PEM of a client's certificate, where nobody else gets an answer. */
  client?: { cert: string; key: string };
}

export interface ComponentSpec {
  name: string;
  command: string[];
  /** Answered once it works; the first tells whether it does. */
  probes: Probe[];
  /** Instead of the first probe, for one that serves no HTTP. */
  ready?(): Promise<boolean>;
}

/** What a probe answers. The certificates of health ports are self-signed. */
export async function answerOf(probe: Probe): Promise<string> {
  const response = await fetch(probe.url, {
    keepalive: false,
    signal: AbortSignal.timeout(5000),
    tls: { rejectUnauthorized: false, ...probe.client },
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${probe.url}: ${response.status} ${text}`);
  return text;
}

export class ComponentProcess {
  readonly spec: ComponentSpec;
  readonly #logFile: string;
  #child: Bun.Subprocess | undefined;

  constructor(spec: ComponentSpec, logFile: string) {
    this.spec = spec;
    this.#logFile = logFile;
  }

  get name(): string {
    return this.spec.name;
  }

  get pid(): number {
    return this.#child!.pid;
  }

  start(): void {
    const log = openSync(this.#logFile, "a", 0o600);
    this.#child = Bun.spawn(this.spec.command, { stdio: ["ignore", log, log] });
    closeSync(log);
  }

  /** Resolves when it works; throws with its log when it ended or does not. */
  async ready(): Promise<void> {
    const [first] = this.spec.probes;
    try {
      await until(
        `${this.name} to be ready`,
        async () => {
          if (this.#child!.exitCode !== null) return true;
          if (this.spec.ready) return this.spec.ready();
          await answerOf(first!);
          return true;
        },
        30_000,
      );
      if (this.#child!.exitCode !== null) throw new Error(`${this.name} ended with code ${this.#child!.exitCode}`);
    } catch (e) {
      throw new Error(`${(e as Error).message}\n${this.log().split("\n").slice(-20).join("\n")}`);
    }
  }

  /** Ends it; returns its exit code, or undefined when the signal itself ended it. */
  async end(signal: "SIGTERM" | "SIGKILL"): Promise<number | undefined> {
    const child = this.#child!;
    child.kill(signal);
    const patience = setTimeout(() => child.kill("SIGKILL"), 15_000);
    await child.exited;
    clearTimeout(patience);
    return child.signalCode === null ? child.exitCode! : undefined;
  }

  get running(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** What all its processes wrote. */
  log(): string {
    try {
      return readFileSync(this.#logFile, "utf8");
    } catch {
      return "(no log)";
    }
  }
}

// An outside program whose output is waited for.
import { until } from "./commands.ts";

export interface ProgramOptions {
  cwd?: string;
  env?: Record<string, string | undefined>;
  /** Written to its input, which then stays open, as a person's would. */
  input?: string;
}

export class Program implements AsyncDisposable {
  readonly name: string;
  readonly #child: Bun.Subprocess<"pipe", "pipe", "pipe">;
  readonly #reading: Promise<void>;
  readonly #errors: Promise<string>;
  readonly #chunks: Uint8Array[] = [];
  #ended = false;

  constructor(command: readonly string[], { cwd, env, input = "" }: ProgramOptions = {}) {
    this.name = command.join(" ");
    const child = Bun.spawn([...command], { cwd, env: { ...process.env, ...env }, stdin: "pipe", stdout: "pipe", stderr: "pipe" });
    child.stdin.write(input);
    child.stdin.flush();
    this.#child = child;
    this.#errors = new Response(child.stderr).text();
    this.#reading = (async () => {
      for await (const chunk of child.stdout) this.#chunks.push(chunk);
      this.#ended = true;
    })();
  }

  /** What it printed so far. */
  get out(): string {
    return Buffer.concat(this.#chunks).toString();
  }

  /** Resolves with the match once it printed what matches. */
  async printed(pattern: RegExp, milliseconds = 20_000): Promise<RegExpExecArray> {
    try {
      return await until(
        `${pattern} from ${this.name}`,
        () => {
          const match = pattern.exec(this.out);
          if (!match && this.#ended) throw new Error("it has ended");
          return match ?? undefined;
        },
        milliseconds,
        () => this.out,
      );
    } catch (error) {
      this.signal("SIGKILL");
      throw new Error(`${(error as Error).message}\n${await this.#errors}`, { cause: error });
    }
  }

  closeInput(): void {
    this.#child.stdin.end();
  }

  signal(signal: "SIGINT" | "SIGKILL"): void {
    this.#child.kill(signal);
  }

  /** Resolves when it has ended by itself, or by the signal. */
  async ended(signal?: "SIGINT" | "SIGKILL"): Promise<{ code: number; out: string; raw: Uint8Array; err: string }> {
    if (signal) this.signal(signal);
    const [code, , err] = await Promise.all([this.#child.exited, this.#reading, this.#errors]);
    return { code, out: this.out, raw: Buffer.concat(this.#chunks), err };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.ended("SIGKILL");
  }
}

/** etcdctl's v3 API at an endpoint. */
export const etcdctl = (endpoint: string, ...args: string[]) =>
  new Program(["etcdctl", "--endpoints", endpoint, ...args], { env: { ETCDCTL_API: "3" } });

/** What etcdctl prints; throws an Error with its complaint if it fails. */
export async function etcdctlSays(endpoint: string, ...args: string[]): Promise<string> {
  const { code, out, err } = await etcdctl(endpoint, ...args).ended();
  if (code !== 0) throw new Error(`etcdctl ${args.join(" ")}: exit code ${code}: ${err}${out}`);
  return out;
}

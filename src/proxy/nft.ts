// The nft program, which carries out what table.ts writes.

async function run(command: string[], input?: string): Promise<string> {
  let child: Bun.Subprocess<"pipe" | "ignore", "pipe", "pipe">;
  try {
    child = Bun.spawn(command, { stdin: input === undefined ? "ignore" : "pipe", stdout: "pipe", stderr: "pipe" });
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code === "ENOENT")
      throw new Error(`${command[0]} is missing: install the package nftables`, { cause: e });
    throw e;
  }
  if (input !== undefined && child.stdin) {
    child.stdin.write(input);
    child.stdin.end();
  }
  const [out, err, code] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text(), child.exited]);
  // nft quotes the command and marks the place below it: its first lines tell enough.
  if (code !== 0) throw new Error(`${command[0]}: ${err.trim().split("\n").slice(0, 2).join(" ") || `exit code ${code}`}`);
  return out;
}

/** What it is called with before nft itself, such as `ip netns exec NAME` in tests. */
export class Nft {
  readonly #prefix: readonly string[];
  constructor(prefix: readonly string[] = []) {
    this.#prefix = prefix;
  }

  /** Carries out all of the commands or none of them. */
  async apply(script: string): Promise<void> {
    await run([...this.#prefix, "nft", "-f", "-"], script);
  }

  /**
   * What the kernel has of a table, without what packets change in it: counters
   * and the clients in affinity sets. Undefined when there is no such table.
   */
  async list(table: string): Promise<string | undefined> {
    try {
      const text = await run([...this.#prefix, "nft", "-s", "-n", "list", "table", "ip", table]);
      return text.replace(/(\n\tset affinity-[^\n]*\{\n(?:\t\t[^\n]*\n)*?)\t\telements = \{[^}]*\}\n/g, "$1");
    } catch (e) {
      if (/No such file or directory/.test((e as Error).message)) return undefined;
      throw e;
    }
  }

  async delete(table: string): Promise<void> {
    await this.apply(`add table ip ${table}\ndelete table ip ${table}\n`);
  }
}

// `kubun image`: builds, imports, lists and removes images, in whichever
// runtime the nodes use, on all of them.
import { existsSync, rmSync } from "node:fs";
import { resolve } from "node:path";
import type { ImageTarget } from "../runtime/images/target.ts";
import { listEvery, onEvery } from "./cluster/images.ts";
import { embeddedPaths, runtimeSocket } from "./cluster/node-runtime.ts";
import { type NodeHome, nodeHome, nodeHomes, nodeName } from "./cluster/nodes.ts";
import { type ClusterFile, DataDir } from "./cluster/state.ts";
import { choice, command, type Flag, list, text, UsageError } from "./flags.ts";

const buildArg: Flag<readonly string[]> = {
  ...list("NAME=VALUE", [], "build: value of an ARG"),
  parse: (s) => {
    if (!/^[A-Za-z_]\w*=/.test(s)) throw new Error("must be NAME=VALUE");
    return [s];
  },
};

const flags = {
  "data-dir": text("DIR", ".kubun", "folder that holds all of the cluster's data"),
  tag: { ...text("NAME", "", "build, import: name of the image"), short: "t" },
  file: { ...text("FILE", "", "build: the Dockerfile (default DIR/Dockerfile or DIR/Containerfile)"), short: "f" },
  "build-arg": buildArg,
  output: { ...text("FILE", "", "build: write an OCI archive there, and import nothing; list: text or json"), short: "o" },
};

type Values = { [K in keyof typeof flags]: (typeof flags)[K] extends Flag<infer T> ? T : never };

/** The images of one node. */
async function openNode(dir: DataDir, cluster: ClusterFile, home: NodeHome): Promise<ImageTarget> {
  const { remoteTarget, localTarget } = await import("../runtime/images/target.ts");
  const endpoint = home.index === 0 ? cluster.runtimeEndpoint : runtimeSocket(cluster, home);
  if (endpoint !== undefined && existsSync(endpoint)) {
    try {
      return await remoteTarget(endpoint);
    } catch (error) {
      // The socket of an embedded runtime that was killed is still there, and nobody behind it.
      if (cluster.runtime !== "embedded" || cluster.pid === undefined) throw error;
    }
  }
  if (cluster.runtime !== undefined && cluster.runtime !== "embedded") {
    throw new UsageError(`the cluster in ${dir.path} is not running; 'kubun up' starts it`);
  }
  return await localTarget(embeddedPaths(home).root);
}

/** The images of every node, by the node's name. */
async function openTargets(dataDir: string): Promise<Map<string, ImageTarget>> {
  const dir = new DataDir(dataDir);
  const cluster = dir.read();
  if (cluster === undefined) throw new UsageError(`no cluster in ${dir.path}: 'kubun up' makes one, --data-dir names another`);
  if (cluster.runtime === "none") throw new UsageError(`the cluster in ${dir.path} has no node, so it has no images`);
  const further = nodeHomes(dir, cluster).filter((h) => h.index > 0);
  const opened = new Map<string, ImageTarget>();
  try {
    for (const home of [nodeHome(dir, cluster, 0), ...further]) opened.set(nodeName(home.index), await openNode(dir, cluster, home));
  } catch (error) {
    for (const target of opened.values()) await target[Symbol.asyncDispose]();
    throw error;
  }
  return opened;
}

const openTarget = async (dataDir: string): Promise<ImageTarget> => onEvery([...(await openTargets(dataDir)).values()]);

const only = (args: string[], what: string): string => {
  if (args.length !== 1)
    throw new UsageError(`expected ${what}, got ${args.length === 0 ? "nothing" : args.map((a) => JSON.stringify(a)).join(" ")}`);
  return args[0]!;
};

function checkedName(name: string, parse: (text: string) => unknown): string {
  try {
    parse(name);
    return name;
  } catch (error) {
    throw new UsageError(`invalid value ${JSON.stringify(name)} for flag --tag: ${(error as Error).message}`);
  }
}

async function build(values: Values, args: string[]): Promise<void> {
  const dir = resolve(only(args, "the folder to build"));
  if (values.tag === "") throw new UsageError("image build needs a name for the image: -t NAME");
  const [{ buildImage, saveArchive }, { parseReference }, { scratchFolder }] = await Promise.all([
    import("../runtime/build/build.ts"),
    import("../runtime/images/reference.ts"),
    import("../runtime/images/target.ts"),
  ]);
  const name = checkedName(values.tag, parseReference);
  const buildArgs = Object.fromEntries(
    values["build-arg"].map((pair) => [pair.slice(0, pair.indexOf("=")), pair.slice(pair.indexOf("=") + 1)]),
  );
  const scratch = scratchFolder();
  let target: ImageTarget | undefined;
  try {
    if (values.output === "") target = await openTarget(values["data-dir"]);
    await buildImage(
      {
        dir,
        name,
        file: values.file === "" ? undefined : resolve(values.file),
        buildArgs,
        base: async (from) => {
          target ??= await openTarget(values["data-dir"]);
          const base = await target.base(from, scratch);
          if (values.output !== "" && base.layers === undefined) {
            throw new Error(`--output can't hold ${from}: the embedded runtime keeps its layers unpacked; build without --output`);
          }
          return base;
        },
      },
      async ({ archive }) => {
        if (values.output !== "") await saveArchive(archive, resolve(values.output));
        else for (const made of await target!.import(archive, [])) process.stdout.write(`${made}\n`);
      },
    );
  } finally {
    await target?.[Symbol.asyncDispose]();
    rmSync(scratch, { recursive: true, force: true });
  }
}

async function importFile(values: Values, args: string[]): Promise<void> {
  const file = resolve(only(args, "the archive to import"));
  if (!existsSync(file)) throw new UsageError(`${file}: no such file`);
  await using target = await openTarget(values["data-dir"]);
  const names = await target.import(file, values.tag === "" ? [] : [values.tag]);
  for (const name of names) process.stdout.write(`${name}\n`);
}

const mib = (bytes: number) => `${(bytes / 1024 / 1024).toFixed(1)} MiB`;

async function listImages(values: Values, args: string[]): Promise<void> {
  if (args.length > 0) throw new UsageError(`unexpected argument ${JSON.stringify(args[0])}`);
  const format = choice(["text", "json"], "text", "").parse(values.output || "text");
  const targets = await openTargets(values["data-dir"]);
  await using _ = onEvery([...targets.values()]);
  const images = await listEvery(targets);
  if (format === "json") {
    process.stdout.write(`${JSON.stringify(images, null, 2)}\n`);
    return;
  }
  const rows = images.flatMap((i) =>
    (i.names.length > 0 ? i.names : ["<none>"]).map((name) => [name, i.id.slice(7, 19), mib(i.size), i.nodes.join(",")]),
  );
  const sorted = [["NAME", "ID", "SIZE", "NODES"], ...rows.sort((a, b) => (a[0]! < b[0]! ? -1 : 1))];
  // Where there is one node, it has all of them.
  const table = targets.size > 1 ? sorted : sorted.map((row) => row.slice(0, 3));
  const widths = table[0]!.map((_, c) => Math.max(...table.map((r) => r[c]!.length)));
  for (const row of table)
    process.stdout.write(
      `${row
        .map((cell, c) => cell.padEnd(widths[c]!))
        .join("   ")
        .trimEnd()}\n`,
    );
}

async function removeImages(values: Values, args: string[]): Promise<number> {
  if (args.length === 0) throw new UsageError("expected names of images to remove");
  await using target = await openTarget(values["data-dir"]);
  let code = 0;
  for (const name of args) {
    if (await target.remove(name)) process.stdout.write(`${name}\n`);
    else {
      process.stderr.write(`kubun: ${name}: no such image\n`);
      code = 1;
    }
  }
  return code;
}

const actions: Record<string, (values: Values, args: string[]) => Promise<number | void>> = {
  build,
  import: importFile,
  list: listImages,
  ls: listImages,
  rm: removeImages,
};

export default command({
  name: "image",
  summary: "Builds, imports, lists and removes images of the nodes",
  usage: "build DIR -t NAME | import FILE | list | rm NAME...",
  maxArguments: 100,
  flags,
  async run(values, [action, ...args]) {
    const run = actions[action ?? ""];
    if (run === undefined)
      throw new UsageError(`expected build, import, list or rm${action === undefined ? "" : `, got ${JSON.stringify(action)}`}`);
    return await run(values as Values, args);
  },
});

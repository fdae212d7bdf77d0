// The images of whichever runtime a node uses, for the command line.
import { closeSync, createReadStream, createWriteStream, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { extract } from "tar-stream";
import { tryLock } from "../../platform/ffi.ts";
import { mustRun } from "../../platform/process.ts";
import { connect, createClient } from "../../rpc/client.ts";
import { ImageService, RuntimeService } from "../../rpc/gen/cri/runtime_pb.ts";
import { Images } from "../../rpc/gen/kubun/runtime/images_pb.ts";
import { Code, RpcError } from "../../rpc/types.ts";
import type { Base } from "../build/build.ts";
import * as layout from "../layout.ts";
import { forThisMachine, hex, type ImageConfig, type Index, isIndex, isManifest, type Manifest, MediaType } from "./oci.ts";
import { normalise } from "./reference.ts";

export interface ListedImage {
  id: string;
  names: string[];
  /** Bytes. */
  size: number;
}

export interface ImageTarget extends AsyncDisposable {
  /** Imports all images of an archive; `names` replaces the names they have. Returns the names. */
  import(file: string, names: readonly string[]): Promise<string[]>;
  list(): Promise<ListedImage[]>;
  /** False if there is no such image. */
  remove(name: string): Promise<boolean>;
  /** What FROM needs of an image. `scratch` is a folder for files. */
  base(name: string, scratch: string): Promise<Base>;
}

/** Minutes would be too short for a big archive on a slow disk. */
const IMPORT_TIMEOUT = 3_600_000;

const notThere = (name: string) =>
  new Error(`image ${JSON.stringify(normalise(name))} is not there; 'kubun image list' shows those that are`);

/** A runtime behind a CRI socket: the embedded one, or containerd. */
export async function remoteTarget(socket: string): Promise<ImageTarget> {
  const channel = connect({ unix: socket });
  try {
    const { runtimeName } = await createClient(RuntimeService, channel).version({}, { timeout: 5000 });
    const cri = createClient(ImageService, channel);
    const common = {
      async list() {
        const { images } = await cri.listImages({});
        return images.map((i) => ({ id: i.id, names: i.repoTags, size: Number(i.size) }));
      },
      async remove(name: string) {
        const { image } = await cri.imageStatus({ image: { image: name } });
        if (image === undefined) return false;
        if (image.pinned) throw new Error(`${name} is part of kubun and can't be removed`);
        await cri.removeImage({ image: { image: name } });
        return true;
      },
      [Symbol.asyncDispose]: async () => channel.close(),
    };
    if (runtimeName === "kubun") {
      const images = createClient(Images, channel);
      return {
        ...common,
        async import(file, names) {
          try {
            const done = await images.import({ path: file, names: [...names] }, { timeout: IMPORT_TIMEOUT });
            return done.images.flatMap((i) => i.names);
          } catch (error) {
            // The server's words are meant for the user; the status around them isn't.
            throw error instanceof RpcError && error.code === Code.InvalidArgument ? new Error(error.message, { cause: error }) : error;
          }
        },
        async base(name) {
          const { image, info } = await cri.imageStatus({ image: { image: name }, verbose: true });
          if (image === undefined) throw notThere(name);
          return { config: (JSON.parse(info.info ?? "{}") as { imageSpec: ImageConfig }).imageSpec };
        },
      };
    }
    if (runtimeName === "containerd") return { ...common, ...withCtr(socket) };
    throw new Error(`images can't be imported into ${runtimeName}: use the tools that come with it`);
  } catch (error) {
    await channel.close();
    throw error;
  }
}

function withCtr(socket: string): Pick<ImageTarget, "import" | "base"> {
  const ctr = (...args: string[]) => mustRun(["ctr", "--address", socket, "--namespace", "k8s.io", "images", ...args]);
  return {
    async import(file, names) {
      const said = await ctr("import", file);
      const found = [...said.matchAll(/^unpacking (\S+) /gm)].map((m) => m[1]!);
      if (names.length === 0) return found;
      if (found.length !== 1) throw new Error(`-t names one image, and ${file} has ${found.length}`);
      for (const name of names.map(normalise)) if (name !== found[0]) await ctr("tag", "--force", found[0]!, name);
      return names.map(normalise);
    },
    async base(name, scratch) {
      const file = join(scratch, "base.tar");
      const full = normalise(name);
      if (!(await ctr("list", "--quiet", `name==${full}`)).includes(full)) throw notThere(name);
      await ctr("export", file, full);
      return await baseFromLayout(file, scratch);
    },
  };
}

/** Unpacks an OCI layout and finds the image of this machine in it. */
async function baseFromLayout(file: string, scratch: string): Promise<Base> {
  const folder = mkdtempSync(join(scratch, "base-"));
  const parser = extract();
  const source = createReadStream(file);
  source.on("error", (error) => parser.destroy(error));
  source.pipe(parser);
  for await (const entry of parser) {
    if (entry.header.type === "file" && /^(index\.json|blobs\/sha256\/[0-9a-f]{64})$/.test(entry.header.name)) {
      mkdirSync(dirname(join(folder, entry.header.name)), { recursive: true });
      await pipeline(entry, createWriteStream(join(folder, entry.header.name)));
    } else {
      entry.resume();
    }
  }
  const blob = (digest: string) => join(folder, "blobs/sha256", hex(digest));
  const read = (path: string) => JSON.parse(readFileSync(path, "utf8")) as unknown;
  let found: Index | Manifest = read(join(folder, "index.json")) as Index;
  while (isIndex(found)) {
    const next = forThisMachine(found) ?? found.manifests[0];
    if (next === undefined) throw new Error("the base image has no manifest");
    found = read(blob(next.digest)) as Index | Manifest;
  }
  if (!isManifest(found)) throw new Error("the base image has no manifest");
  return {
    config: read(blob(found.config.digest)) as ImageConfig,
    layers: found.layers.map((l) => ({ digest: l.digest, size: l.size, file: blob(l.digest), mediaType: l.mediaType ?? MediaType.layer })),
  };
}

/** The embedded runtime's images while it isn't running. @throws Error if it is. */
export async function localTarget(root: string): Promise<ImageTarget> {
  mkdirSync(root, { recursive: true, mode: 0o711 });
  const lock = openSync(layout.lockFile({ root, runDir: "" }), "a", 0o600);
  if (!tryLock(lock)) {
    closeSync(lock);
    throw new Error(`a runtime that doesn't answer has ${root} open`);
  }
  const [{ ImageStore }, { importArchive }] = await Promise.all([import("./store.ts"), import("./archive.ts")]);
  const store = new ImageStore(layout.images({ root, runDir: "" }));
  return {
    import: async (file, names) => (await importArchive(store, file, names)).flatMap((i) => i.tags),
    list: async () => store.list().map((i) => ({ id: i.id, names: i.tags, size: i.size })),
    async remove(name) {
      // Containers of a runtime that is down may stand on its layers, so only a running one removes them.
      const image = store.find(name);
      if (image === undefined) return false;
      if (image.pinned) throw new Error(`${name} is part of kubun and can't be removed`);
      if (existsSync(layout.containers({ root, runDir: "" })))
        throw new Error("images can be removed only while the cluster runs, or after 'kubun down'");
      return await store.remove(name);
    },
    async base(name) {
      const image = store.find(name);
      if (image === undefined) throw notThere(name);
      return { config: store.config(image) };
    },
    async [Symbol.asyncDispose]() {
      closeSync(lock);
    },
  };
}

/** A folder for `base`'s files. */
export const scratchFolder = (): string => mkdtempSync(join(tmpdir(), "kubun-base-"));

// A runtime of its own for a test, with a bridge of its own, and a look at the
// machine before and after.

import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cgroups } from "../../platform/cgroup.ts";
import { run } from "../../platform/process.ts";
import { type Channel, connect, createClient } from "../../rpc/client.ts";
import { ImageService, RuntimeService } from "../../rpc/gen/cri/runtime_pb.ts";
import { Images } from "../../rpc/gen/kubun/runtime/images_pb.ts";
import type { Client } from "../../rpc/types.ts";
import { EmbeddedRuntime, type EmbeddedRuntimeOptions } from "../embedded.ts";
import { removeAll } from "../remove-all.ts";
import { busyboxLayer, dockerArchive } from "./archives.ts";

/** What keeps container tests from running here; undefined if nothing does. */
export function missing(): string | undefined {
  if (process.getuid?.() !== 0) return "containers need root";
  const programs: Record<string, string> = {
    runc: "runc",
    conmon: "conmon",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    busybox: "busybox-static",
  };
  for (const [program, debian] of Object.entries(programs)) {
    if (Bun.which(program, { PATH: `${process.env.PATH}:/usr/sbin` }) === null) return `the Debian package ${debian} is missing`;
  }
  return undefined;
}

export const BUSYBOX = "test.local/busybox:1";

/** From any on, so that those of tests in other processes are others; each of this process has one of its own. */
let subnets = process.pid;

export class TestHost implements AsyncDisposable {
  readonly id = randomBytes(4).toString("hex");
  readonly dir = mkdtempSync(join(tmpdir(), "kubun-cri-"));
  readonly options: EmbeddedRuntimeOptions;
  readonly #bridge = `kb-${this.id}`;
  #component: EmbeddedRuntime | undefined;
  #channel: Channel | undefined;
  runtime!: Client<typeof RuntimeService>;
  images!: Client<typeof ImageService>;
  imports!: Client<typeof Images>;

  constructor() {
    const runDir = `/run/kubun/${this.id}`;
    this.options = {
      root: join(this.dir, "runtime"),
      runDir: join(runDir, "cri"),
      socketPath: join(runDir, "cri.sock"),
      clusterId: this.id,
      cniConfDir: join(this.dir, "net.d"),
      cniBinDirs: ["/usr/lib/cni"],
      cgroupParent: `/kubun-${this.id}`,
    };
    mkdirSync(this.options.cniConfDir);
    const subnet = `10.199.${subnets++ % 256}.0/24`;
    const plugin = {
      type: "bridge",
      bridge: this.#bridge,
      isGateway: true,
      hairpinMode: true,
      ipam: { type: "host-local", dataDir: join(this.dir, "ipam"), ranges: [[{ subnet }]], routes: [{ dst: "0.0.0.0/0" }] },
    };
    const list = { cniVersion: "1.0.0", name: `kubun-${this.id}`, plugins: [plugin] };
    writeFileSync(join(this.options.cniConfDir, "10-test.conflist"), JSON.stringify(list));
  }

  /** Starts a runtime in this process, and clients to it. */
  async up(): Promise<this> {
    this.#component = new EmbeddedRuntime(this.options);
    await this.#component.start();
    this.connect();
    return this;
  }

  connect(): void {
    this.#channel = connect({ unix: this.options.socketPath });
    this.runtime = createClient(RuntimeService, this.#channel);
    this.images = createClient(ImageService, this.#channel);
    this.imports = createClient(Images, this.#channel);
  }

  /** The host's ends of its pods' links. */
  async podLinks(): Promise<string[]> {
    const { stdout } = await run(["ip", "-o", "link", "show", "master", this.#bridge]);
    return stdout
      .split("\n")
      .map((line) => line.split(":")[1]?.trim().split("@")[0] ?? "")
      .filter((name) => name !== "");
  }

  async down(): Promise<void> {
    await this.#channel?.close();
    await this.#component?.stop();
    this.#channel = undefined;
    this.#component = undefined;
  }

  /** Imports a busybox under the name BUSYBOX. */
  async busybox(): Promise<void> {
    const file = join(this.dir, "busybox.tar");
    writeFileSync(file, await dockerArchive(BUSYBOX, [(await busyboxLayer())!], { Cmd: ["sh"], Env: ["FROM_IMAGE=1"] }));
    await this.imports.import({ path: file });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.down();
    await removeAll(this.options);
    await run(["ip", "link", "del", this.#bridge]);
    rmSync(`/run/kubun/${this.id}`, { recursive: true, force: true });
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** What of the machine a runtime changes: links, mounts, groups and processes. */
export async function machineState(marks: readonly string[]): Promise<string[]> {
  const marked = (text: string) => marks.some((mark) => text.includes(mark));
  const links = (await run(["ip", "-o", "link"])).stdout.split("\n").map((l) => `link ${l.split(":")[1]?.trim().split("@")[0]}`);
  const mounts = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((l) => `mount ${l.split(" ")[4]}`);
  const groups = cgroups().hierarchies.flatMap((h) => readdirSync(h.mountPoint).map((name) => `cgroup ${h.mountPoint}/${name}`));
  const processes = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return `process ${readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ")}`;
      } catch (error) {
        if (["ENOENT", "ESRCH"].includes((error as NodeJS.ErrnoException).code ?? "")) return "";
        throw error;
      }
    });
  return [...links, ...mounts, ...groups, ...processes].filter(marked).sort();
}

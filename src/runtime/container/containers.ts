// Containers from creation to removal. What they need to go on by themselves
// is in their processes, in conmon and on disk; what is here can be lost.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { killCgroup } from "../../platform/cgroup.ts";
import { readJson, writeAtomic } from "../../platform/files.ts";
import type { Logger } from "../../platform/log.ts";
import { alive, bootId, identify, signal } from "../../platform/process.ts";
import { type ContainerConfig, ContainerEventType, type LinuxContainerResources, Signal } from "../../rpc/gen/cri/runtime_pb.ts";
import { Code, RpcError } from "../../rpc/types.ts";
import { message, notFound } from "../errors.ts";
import type { EventStream } from "../events.ts";
import { newId } from "../ids.ts";
import type { ImageStore } from "../images/store.ts";
import * as layout from "../layout.ts";
import type { OciRuntime } from "../oci/runtime.ts";
import { resources } from "../oci/spec.ts";
import type { OciSpec } from "../oci/types.ts";
import type { SandboxRecord } from "../sandbox/record.ts";
import type { Sandboxes } from "../sandbox/sandboxes.ts";
import { createUnderConmon, pidFile, reopenLog } from "./conmon.ts";
import { ExitWatcher } from "./exits.ts";
import { containerUser, mergeResources, prepareSpec } from "./prepare.ts";
import { type ContainerRecord, decodeContainer, type Exit, encodeContainer, stateOf } from "./record.ts";
import { mountRootfs, unmountRootfs } from "./rootfs.ts";
import { signalName, signalNumber } from "./signals.ts";

export interface ContainersOptions extends layout.RuntimePaths {
  oci: OciRuntime;
  images: ImageStore;
  sandboxes: Sandboxes;
  events: EventStream;
  log: Logger;
}

/** containerd's code for a container whose end nobody saw. */
const UNKNOWN_EXIT = 255;
/** containerd's code for a container that could not be started. */
const START_ERROR = 128;
/** Milliseconds that a killed process may take to end before we say so. */
const KILL_PATIENCE = 30_000;

const now = () => BigInt(Date.now()) * 1_000_000n;

interface Entry {
  record: ContainerRecord;
  /** The OCI runtime creating it, from CreateContainer on, so that StartContainer finds it done. */
  creating?: Promise<void>;
  /** StartContainer is at work, and will look for the end itself. */
  starting?: boolean;
  /** Resolves at its end. */
  ended: PromiseWithResolvers<void>;
  /** What is taken away after its end: the OCI runtime's state, its group, its mount. */
  reaping?: Promise<void>;
  removing?: Promise<void>;
}

export class Containers {
  readonly #options: ContainersOptions;
  readonly #all = new Map<string, Entry>();
  readonly #exits: ExitWatcher;

  constructor(options: ContainersOptions) {
    this.#options = options;
    this.#exits = new ExitWatcher(layout.exits(options), (id) => this.#sawExit(id));
  }

  /** Takes over what runs and learns of what ended. Sandboxes have to be adopted before. */
  async adopt(): Promise<void> {
    mkdirSync(layout.containers(this.#options), { recursive: true, mode: 0o711 });
    this.#exits.start();
    for (const id of readdirSync(layout.containers(this.#options))) {
      try {
        const stored = readJson<unknown>(join(this.#dir(id), "state.json"));
        if (stored === undefined) throw new Error("no state.json");
        const entry: Entry = { record: decodeContainer(stored), ended: Promise.withResolvers() };
        if (this.#options.sandboxes.find(entry.record.sandboxId) === undefined) throw new Error("its sandbox is gone");
        this.#all.set(id, entry);
        this.#recover(entry.record);
        this.#reconcile(entry);
      } catch (error) {
        this.#options.log.warn("Removing a container that was left half made", { containerID: id, err: message(error) });
        await this.#removeTraces(id);
      }
    }
  }

  close(): void {
    this.#exits.stop();
  }

  get(id: string): ContainerRecord {
    return this.#entry(id).record;
  }

  /** By ID or a unique beginning of it. */
  find(id: string): ContainerRecord | undefined {
    return this.#find(id)?.record;
  }

  /** All, after a look at whether those that should run still do. */
  list(): ContainerRecord[] {
    for (const entry of this.#all.values()) this.#reconcile(entry);
    return [...this.#all.values()].map((e) => e.record);
  }

  ofSandbox(sandboxId: string): ContainerRecord[] {
    return [...this.#all.values()].filter((e) => e.record.sandboxId === sandboxId).map((e) => e.record);
  }

  dir(record: ContainerRecord): string {
    return this.#dir(record.id);
  }

  /** Layers that containers stand on. */
  layersInUse(): Set<string> {
    return new Set([...this.#all.values()].flatMap((e) => e.record.imageLayers));
  }

  async create(sandbox: SandboxRecord, config: ContainerConfig): Promise<ContainerRecord> {
    if (!sandbox.ready) throw new RpcError(Code.Unknown, `sandbox container ${JSON.stringify(sandbox.id)} is not running`);
    const name = config.image?.image ?? "";
    const image = this.#options.images.find(name);
    if (image === undefined) throw new RpcError(Code.NotFound, `failed to resolve image ${JSON.stringify(name)}: not found`);
    const id = newId();
    const dir = this.#dir(id);
    mkdirSync(dir, { recursive: true, mode: 0o711 });
    try {
      const imageConfig = this.#options.images.config(image);
      const rootfs = mountRootfs(dir, this.#options.images.lowerDirs(image), join(this.#options.runDir, "l", id.slice(0, 12)));
      const user = containerUser(config, imageConfig.config?.User, rootfs);
      const cgroupPath = `${this.#options.sandboxes.cgroupParent(sandbox)}/${id}`;
      const spec = prepareSpec(
        { id, config, image: imageConfig, user, rootfs, cgroupPath, sandbox, sandboxDir: this.#options.sandboxes.dir(sandbox) },
        (target) => this.running(target).init?.pid,
        this.#options.log,
      );
      const criStop = config.stopSignal === Signal.RUNTIME_DEFAULT ? "" : signalName(config.stopSignal);
      const logPath = config.logPath === "" ? undefined : join(sandbox.config.logDirectory, config.logPath);
      const record: ContainerRecord = {
        id,
        sandboxId: sandbox.id,
        bootId: bootId(),
        createdAt: now(),
        config,
        imageId: image.id,
        imageRef: image.digests[0] ?? image.id,
        imageLayers: image.layers,
        user,
        cgroupPath,
        ...(logPath === undefined ? {} : { logPath }),
        stopSignal: criStop || imageConfig.config?.StopSignal || "SIGTERM",
      };
      if (logPath !== undefined) mkdirSync(dirname(logPath), { recursive: true, mode: 0o755 });
      writeFileSync(join(dir, "config.json"), JSON.stringify(spec));
      this.#save(record);
      const entry: Entry = { record, ended: Promise.withResolvers() };
      entry.creating = this.#createProcess(entry, spec.process.terminal ?? false);
      // StartContainer reports what went wrong; until then nobody may be waiting.
      entry.creating.catch(() => {});
      this.#all.set(id, entry);
      this.#emit(record, ContainerEventType.CONTAINER_CREATED_EVENT);
      return record;
    } catch (error) {
      await this.#removeTraces(id);
      throw error;
    }
  }

  async start(id: string): Promise<void> {
    const entry = this.#entry(id);
    const { record } = entry;
    if (stateOf(record) !== 0 || entry.removing) {
      throw new RpcError(Code.Unknown, `container ${JSON.stringify(record.id)} is not in created state`);
    }
    entry.starting = true;
    let startedAt = now();
    try {
      await entry.creating;
      if (record.init === undefined) throw new Error("the container was never created");
      // Taken before, for it may be over before we hear that it began.
      startedAt = now();
      await this.#options.oci.start(record.id, record.init);
    } catch (error) {
      const text = `failed to create containerd task: failed to create shim task: OCI runtime create failed: ${message(error)}: unknown`;
      this.#finish(entry, { code: START_ERROR, at: now(), reason: "StartError", message: text });
      throw new RpcError(Code.Unknown, text, { cause: error });
    } finally {
      entry.starting = false;
    }
    record.startedAt = startedAt;
    this.#save(record);
    this.#emit(record, ContainerEventType.CONTAINER_STARTED_EVENT);
    // It may have been too quick for the watcher to know it as started.
    this.#reconcile(entry);
  }

  /** Asks it to end, and makes it end after `timeout` milliseconds. */
  async stop(id: string, timeout: number): Promise<void> {
    const entry = this.#find(id);
    if (entry === undefined) return;
    const { record } = entry;
    await entry.creating?.catch(() => {});
    this.#reconcile(entry);
    if (record.exit !== undefined) return;
    if (record.init === undefined) {
      this.#finish(entry, { code: UNKNOWN_EXIT, at: now(), reason: "Unknown", message: "" });
      return;
    }
    if (timeout > 0 && record.startedAt !== undefined) {
      signal(record.init, signalNumber(record.stopSignal) ?? "SIGTERM");
      if (await this.#endsWithin(entry, timeout)) return;
    }
    signal(record.init, "SIGKILL");
    // Where the pod shares a PID namespace, or has the host's, the rest of its processes don't go with the first one.
    await killCgroup(record.cgroupPath, KILL_PATIENCE);
    if (!(await this.#endsWithin(entry, KILL_PATIENCE))) {
      throw new RpcError(Code.DeadlineExceeded, `container ${JSON.stringify(record.id)} doesn't end after SIGKILL`);
    }
  }

  async remove(id: string): Promise<void> {
    const entry = this.#find(id);
    if (entry === undefined) return;
    entry.removing ??= this.#remove(entry);
    try {
      await entry.removing;
    } finally {
      entry.removing = undefined;
    }
  }

  async #remove(entry: Entry): Promise<void> {
    const { record } = entry;
    await this.stop(record.id, 0);
    await entry.reaping;
    await this.#removeTraces(record.id);
    this.#all.delete(record.id);
    this.#emit(record, ContainerEventType.CONTAINER_DELETED_EVENT);
  }

  async update(id: string, linux: LinuxContainerResources): Promise<void> {
    const { record } = this.#entry(id);
    await this.#entry(id).creating;
    if (record.exit !== undefined) throw new RpcError(Code.Unknown, `container ${JSON.stringify(record.id)} is not running`);
    await this.#options.oci.update(record.id, resources(linux));
    if (record.config.linux !== undefined) record.config.linux.resources = mergeResources(record.config.linux.resources, linux);
    this.#save(record);
  }

  reopenLog(id: string): void {
    const { record } = this.#entry(id);
    if (stateOf(record) !== 1) throw new RpcError(Code.Unknown, "container is not running");
    reopenLog(this.dir(record));
  }

  /** A running container, for exec and attach. @throws RpcError in the words of containerd. */
  running(id: string): ContainerRecord {
    const entry = this.#entry(id);
    this.#reconcile(entry);
    if (stateOf(entry.record) !== 1) {
      const state = ["CONTAINER_CREATED", "CONTAINER_RUNNING", "CONTAINER_EXITED"][stateOf(entry.record)];
      throw new RpcError(Code.Unknown, `container is in ${state} state`);
    }
    return entry.record;
  }

  /** The configuration that it was created with. */
  spec(record: ContainerRecord): OciSpec {
    return JSON.parse(readFileSync(join(this.dir(record), "config.json"), "utf8")) as OciSpec;
  }

  #dir(id: string): string {
    return layout.containerDir(this.#options, id);
  }

  #find(id: string): Entry | undefined {
    const exact = this.#all.get(id);
    if (exact !== undefined || id === "") return exact;
    const matches = [...this.#all.keys()].filter((k) => k.startsWith(id));
    return matches.length === 1 ? this.#all.get(matches[0]!) : undefined;
  }

  #entry(id: string): Entry {
    const entry = this.#find(id);
    if (entry === undefined) throw notFound("container", id);
    return entry;
  }

  #save(record: ContainerRecord): void {
    writeAtomic(join(this.dir(record), "state.json"), encodeContainer(record));
  }

  #emit(record: ContainerRecord, type: ContainerEventType): void {
    this.#options.events.emit({ containerId: record.id, sandboxId: record.sandboxId, type, at: now() });
  }

  async #createProcess(entry: Entry, terminal: boolean): Promise<void> {
    const { record } = entry;
    const pid = await createUnderConmon({
      id: record.id,
      bundle: this.dir(record),
      exitDir: layout.exits(this.#options),
      logPath: record.logPath,
      terminal,
      stdin: record.config.stdin,
      stdinOnce: record.config.stdinOnce,
      runtime: this.#options.oci,
    });
    record.init = identify(pid) ?? { pid, start: "" };
    this.#save(record);
  }

  /** Learns what an earlier runtime did and didn't live to write down. */
  #recover(record: ContainerRecord): void {
    if (record.exit !== undefined || record.bootId !== bootId()) return;
    const pids = pidFile(this.dir(record));
    if (record.init === undefined && existsSync(pids)) {
      const found = identify(Number(readFileSync(pids, "utf8")));
      if (found !== undefined && readFileSync(`/proc/${found.pid}/cgroup`, "utf8").includes(record.id)) record.init = found;
    }
    if (record.startedAt === undefined && record.init !== undefined && alive(record.init) && this.#options.oci.isStarted(record.id)) {
      record.startedAt = now();
      this.#save(record);
    }
  }

  #sawExit(id: string): void {
    const entry = this.#all.get(id);
    if (entry !== undefined) this.#reconcile(entry);
  }

  /** Finds out whether a container that counts as alive has ended. */
  #reconcile(entry: Entry): void {
    const { record } = entry;
    if (record.exit !== undefined || entry.starting) return;
    const file = this.#exits.read(record.id);
    if (file !== undefined) {
      const oom = existsSync(join(this.dir(record), "oom"));
      this.#finish(entry, { ...file, reason: oom ? "OOMKilled" : file.code === 0 ? "Completed" : "Error", message: "" });
      return;
    }
    if (entry.creating !== undefined && record.init === undefined) return;
    const gone = record.bootId !== bootId() || record.init === undefined || !alive(record.init);
    if (gone) void this.#confirmGone(entry);
  }

  /** Its process is gone, but conmon may be about to write why. */
  async #confirmGone(entry: Entry): Promise<void> {
    const { record } = entry;
    const bundle = this.dir(record);
    const conmon = existsSync(join(bundle, "conmon.pid")) ? Number(readFileSync(join(bundle, "conmon.pid"), "utf8")) : Number.NaN;
    const watched = record.bootId === bootId() && Number.isInteger(conmon) ? identify(conmon) : undefined;
    while (watched !== undefined && alive(watched) && this.#exits.read(record.id) === undefined) await delay(5);
    if (record.exit !== undefined) return;
    const file = this.#exits.read(record.id);
    if (file !== undefined) {
      this.#reconcile(entry);
    } else {
      this.#finish(entry, { code: UNKNOWN_EXIT, at: now(), reason: "Unknown", message: "" });
    }
  }

  #finish(entry: Entry, exit: Exit): void {
    const { record } = entry;
    if (record.exit !== undefined) return;
    // A file's time is the kernel's coarse clock's, which is some milliseconds behind.
    record.exit = record.startedAt !== undefined && exit.at < record.startedAt ? { ...exit, at: record.startedAt } : exit;
    if (existsSync(this.dir(record))) this.#save(record);
    entry.reaping = this.#reap(record).catch((error: unknown) => {
      this.#options.log.error("Can't clean up after a container", error, { containerID: record.id });
    });
    entry.ended.resolve();
    this.#emit(record, ContainerEventType.CONTAINER_STOPPED_EVENT);
  }

  async #reap(record: ContainerRecord): Promise<void> {
    await killCgroup(record.cgroupPath);
    await this.#options.oci.delete(record.id);
    unmountRootfs(this.dir(record));
  }

  async #endsWithin(entry: Entry, timeout: number): Promise<boolean> {
    const timer = new AbortController();
    const deadline = delay(timeout, false, { signal: timer.signal }).catch(() => false);
    const ended = await Promise.race([entry.ended.promise.then(() => true), this.#watch(entry, timer.signal), deadline]);
    timer.abort();
    return ended;
  }

  /** Looks after the process itself now and then, for the day conmon is killed. */
  async #watch(entry: Entry, signal: AbortSignal): Promise<boolean> {
    while (!signal.aborted) {
      this.#reconcile(entry);
      if (entry.record.exit !== undefined) return true;
      await delay(500, undefined, { signal }).catch(() => {});
    }
    return false;
  }

  async #removeTraces(id: string): Promise<void> {
    const dir = this.#dir(id);
    await this.#options.oci.delete(id);
    unmountRootfs(dir);
    this.#exits.forget(id);
    await rm(dir, { recursive: true, force: true });
  }
}

import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import fc from "fast-check";
import { ContainerConfigSchema, MountPropagation, NamespaceMode } from "../../rpc/gen/cri/runtime_pb.ts";
import { signalNumber } from "../container/signals.ts";
import { pauseProgram } from "../pause.ts";
import { capabilitySets } from "./capabilities.ts";
import { lastMessage } from "./runtime.ts";
import { defaultProfile } from "./seccomp.ts";
import { commandLine, containerSpec, environment, type SpecInput } from "./spec.ts";
import { resolveUser } from "./user.ts";

const config = (init: MessageInitShape<typeof ContainerConfigSchema> = {}) => create(ContainerConfigSchema, init);
const image = (entrypoint?: string[], cmd?: string[], env: string[] = []) => ({
  architecture: "amd64",
  os: "linux",
  config: { Entrypoint: entrypoint, Cmd: cmd, Env: env },
  rootfs: { type: "layers" as const, diff_ids: [] },
});

const input = (init: MessageInitShape<typeof ContainerConfigSchema> = {}, more: Partial<SpecInput> = {}): SpecInput => ({
  id: "c",
  config: config(init),
  image: image(["run"]),
  user: { uid: 0, gid: 0, groups: [0] },
  sandbox: {
    hostname: "pod",
    namespaces: { net: "/n/net", ipc: "/n/ipc", uts: "/n/uts" },
    shm: "/shm",
    resolvConf: "/s/resolv.conf",
    hostsFile: "/s/hosts",
    hostnameFile: "/s/hostname",
    privileged: false,
  },
  rootfs: "/rootfs",
  cgroupPath: "/pods/c",
  cgroupVersion: 1,
  devices: [],
  annotations: {},
  ...more,
});

describe("the command line", () => {
  test.each([
    [[], [], ["e"], ["c"], ["e", "c"]],
    [[], ["a"], ["e"], ["c"], ["e", "a"]],
    [["x"], [], ["e"], ["c"], ["x"]],
    [["x"], ["a"], ["e"], ["c"], ["x", "a"]],
    [[], [], undefined, ["c"], ["c"]],
  ])("command %j, args %j, entrypoint %j, cmd %j give %j", (command, args, entrypoint, cmd, expected) => {
    expect(commandLine(config({ command, args }), image(entrypoint, cmd))).toEqual(expected);
  });
  test("nothing to run is an error", () => {
    expect(() => commandLine(config(), image())).toThrow("no command specified");
  });
});

test("the container's environment goes over the image's, and both over the defaults", () => {
  const value = (text: string) => new TextEncoder().encode(text);
  const envs = [
    { key: "A", value: value("own=1") },
    { key: "B", value: value("") },
  ];
  expect(environment(config({ envs, tty: true }), image(["e"], [], ["A=image", "PATH=/x", "broken"]), "h")).toEqual([
    "PATH=/x",
    "HOSTNAME=h",
    "TERM=xterm",
    "A=own=1",
    "B=",
  ]);
});

describe("the configuration", () => {
  const destinations = (i: SpecInput) => containerSpec(i).mounts.map((m) => m.destination);
  test("a mount of one's own takes the place of the sandbox's, and parents come before children", () => {
    const mounts = ["/a/b/c", "/etc/hosts", "/a", "/dev/shm"].map((containerPath) => ({ containerPath, hostPath: "/h" }));
    const found = destinations(input({ mounts }));
    for (const path of ["/etc/hosts", "/dev/shm"]) expect(found.filter((d) => d === path).length).toBe(1);
    expect(found.indexOf("/a")).toBeLessThan(found.indexOf("/a/b/c"));
    expect(found).toContain("/etc/resolv.conf");
  });

  test("propagation and access become mount options", () => {
    const mounts = [
      { containerPath: "/p", hostPath: "/h", readonly: true },
      { containerPath: "/s", hostPath: "/h", propagation: MountPropagation.PROPAGATION_HOST_TO_CONTAINER },
      { containerPath: "/b", hostPath: "/h", propagation: MountPropagation.PROPAGATION_BIDIRECTIONAL },
    ];
    const spec = containerSpec(input({ mounts }));
    const options = (path: string) => spec.mounts.find((m) => m.destination === path)?.options;
    expect([options("/p"), options("/s"), options("/b")]).toEqual([
      ["rbind", "rprivate", "ro"],
      ["rbind", "rslave", "rw"],
      ["rbind", "rshared", "rw"],
    ]);
    expect(spec.linux.rootfsPropagation).toBe("rshared");
  });

  const pid = (mode: NamespaceMode, more: Partial<SpecInput> = {}) =>
    containerSpec(input({ linux: { securityContext: { namespaceOptions: { pid: mode } } } }, more)).linux.namespaces.find(
      (n) => n.type === "pid",
    );
  test("PID namespaces are the container's own, the pod's, another container's or the host's", () => {
    const shared = { ...input().sandbox, pidHolder: 5 };
    expect(pid(NamespaceMode.CONTAINER)).toEqual({ type: "pid" });
    expect(pid(NamespaceMode.POD)).toEqual({ type: "pid" });
    expect(pid(NamespaceMode.POD, { sandbox: shared })).toEqual({ type: "pid", path: "/proc/5/ns/pid" });
    expect(pid(NamespaceMode.TARGET, { pidTarget: 7 })).toEqual({ type: "pid", path: "/proc/7/ns/pid" });
    expect(pid(NamespaceMode.NODE)).toBeUndefined();
  });

  test("a score below what the kernel allows is raised to it", () => {
    const linux = { resources: { oomScoreAdj: -997n } };
    expect(containerSpec(input({ linux })).process.oomScoreAdj).toBe(-997);
    expect(containerSpec(input({ linux }, { oomScoreFloor: 0 })).process.oomScoreAdj).toBe(0);
  });

  test("resources that aren't set stay away", () => {
    expect(containerSpec(input({ linux: { resources: {} } })).linux.resources).toEqual({ devices: [{ allow: false, access: "rwm" }] });
    const some = { memoryLimitInBytes: 5n, cpuShares: 2n, cpuQuota: -1n, cpusetCpus: "0-1", unified: { "memory.high": "1" } };
    expect(containerSpec(input({ linux: { resources: some } })).linux.resources).toMatchObject({
      memory: { limit: 5, swap: undefined },
      cpu: { shares: 2, quota: -1, period: undefined, cpus: "0-1" },
      unified: { "memory.high": "1" },
    });
  });

  test("privileged containers have no masks and no filter", () => {
    const securityContext = { privileged: true, maskedPaths: ["/proc/kcore"], seccomp: { profileType: 0 } };
    const { linux } = containerSpec(input({ linux: { securityContext } }));
    expect([linux.maskedPaths, linux.seccomp]).toEqual([undefined, undefined]);
    expect(linux.resources.devices).toEqual([{ allow: true, access: "rwm" }]);
  });
});

describe("capabilities", () => {
  const all = new Set(["CAP_CHOWN", "CAP_NET_ADMIN", "CAP_KILL", "CAP_SYS_ADMIN"]);
  const none = { privileged: false, add: [], drop: [], ambient: [] };
  test.each([
    [none, ["CAP_CHOWN", "CAP_KILL"]],
    [{ ...none, add: ["NET_ADMIN"] }, ["CAP_CHOWN", "CAP_KILL", "CAP_NET_ADMIN"]],
    [{ ...none, drop: ["ALL"] }, []],
    [{ ...none, drop: ["ALL"], add: ["cap_kill"] }, ["CAP_KILL"]],
    [{ ...none, add: ["ALL"], drop: ["KILL"] }, ["CAP_CHOWN", "CAP_NET_ADMIN", "CAP_SYS_ADMIN"]],
    [{ ...none, privileged: true }, ["CAP_CHOWN", "CAP_KILL", "CAP_NET_ADMIN", "CAP_SYS_ADMIN"]],
    [{ ...none, add: ["SYS_TIME"] }, ["CAP_CHOWN", "CAP_KILL"]],
  ])("%j gives %j", (request, expected) => {
    expect(capabilitySets(request, all).effective).toEqual(expected);
  });
  test("an unknown one is an error", () => {
    expect(() => capabilitySets({ ...none, add: ["FLY"] }, all)).toThrow('unknown capability "CAP_FLY"');
  });
});

describe("users", () => {
  const passwd = "root:x:0:0::/:\napp:x:5:6::/:\n";
  const group = "root:x:0:\nstaff:x:6:\nextra:x:7:app,root\n";
  const ask = { supplementalGroups: [], mergeGroups: true };
  test.each([
    [{ ...ask }, { uid: 0, gid: 0, groups: [0, 7] }],
    [
      { ...ask, imageUser: "app" },
      { uid: 5, gid: 6, groups: [6, 7] },
    ],
    [
      { ...ask, imageUser: "app:extra" },
      { uid: 5, gid: 7, groups: [7] },
    ],
    [
      { ...ask, imageUser: "9:8" },
      { uid: 9, gid: 8, groups: [8] },
    ],
    [
      { ...ask, uid: 5, imageUser: "root" },
      { uid: 5, gid: 6, groups: [6, 7] },
    ],
    [
      { ...ask, uid: 5, gid: 1, mergeGroups: false, supplementalGroups: [3] },
      { uid: 5, gid: 1, groups: [1, 3] },
    ],
    [
      { ...ask, username: "app" },
      { uid: 5, gid: 6, groups: [6, 7] },
    ],
  ])("%j is %j", (request, expected) => {
    expect(resolveUser(request, passwd, group)).toEqual(expected);
  });
  test("names that aren't there are told", () => {
    expect(() => resolveUser({ ...ask, imageUser: "who" }, passwd, group)).toThrow(
      "unable to find user who: no matching entries in passwd file",
    );
    expect(() => resolveUser({ ...ask, imageUser: "app:who" }, passwd, group)).toThrow("unable to find group who");
  });
  test("no content of the files breaks the lookup", () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (p, g) => {
        const { uid, gid } = resolveUser({ ...ask, uid: 12 }, p, g);
        expect(uid).toBe(12);
        expect(gid).toBeGreaterThanOrEqual(0);
      }),
    );
  });
});

test("the filter lets namespaces be made only with CAP_SYS_ADMIN", () => {
  const names = (bounding: string[]) =>
    new Set(
      defaultProfile(bounding)
        .syscalls.filter((s) => s.action === "SCMP_ACT_ALLOW" && !s.args)
        .flatMap((s) => s.names),
    );
  expect([names([]).has("unshare"), names([]).has("read"), names([]).has("clone")]).toEqual([false, true, false]);
  expect([names(["CAP_SYS_ADMIN"]).has("unshare"), names(["CAP_SYS_ADMIN"]).has("clone")]).toEqual([true, true]);
});

test.each([
  ["SIGTERM", 15],
  ["term", 15],
  ["9", 9],
  ["SIGRTMIN+3", 37],
  ["RTMAX-1", 63],
  ["0", undefined],
  ["NOPE", undefined],
])("signal %s is %p", (name, number) => {
  expect(signalNumber(name)).toBe(number);
});

test("the pause program runs, and is an ELF file for both architectures", async () => {
  expect(pauseProgram("arm64").readUInt16LE(18)).toBe(183);
  expect(() => pauseProgram("mips")).toThrow("no pause program for mips");
  if (process.arch !== "x64" && process.arch !== "arm64") return;
  const dir = mkdtempSync(join(tmpdir(), "kubun-pause-"));
  try {
    writeFileSync(join(dir, "pause"), pauseProgram(), { mode: 0o755 });
    const child = Bun.spawn([join(dir, "pause")]);
    const first = await Promise.race([child.exited, Bun.sleep(50).then(() => "waits")]);
    expect(first).toBe("waits");
    child.kill("SIGTERM");
    await child.exited;
    expect(child.signalCode).toBe("SIGTERM");
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

test("what a runtime says is found in its log", () => {
  expect(lastMessage('time="x" level=warning msg="first"\ntime="x" level=error msg="exec: \\"a\\": not found"\n')).toBe(
    'exec: "a": not found',
  );
  expect(lastMessage("plain words\n")).toBe("plain words");
  expect(lastMessage("")).toBe("");
});

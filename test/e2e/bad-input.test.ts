// What a user can do wrong, and what they are told.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { kubun, ok, run, TestCluster, until } from "./support/cluster.ts";

describe("flags", () => {
  const rows: [args: string[], says: string][] = [
    [["up", "--no-such-flag"], "unknown flag: --no-such-flag"],
    [["up", "--port"], "flag needs an argument: --port"],
    [["up", "--port=70000"], 'invalid value "70000" for flag --port: must be a whole number from 0 to 65535'],
    [["up", "--pod-cidr=10.0.0.0/33"], 'invalid value "10.0.0.0/33" for flag --pod-cidr: must be a network such as "10.244.0.0/16"'],
    [["up", "--pod-cidr=10.1.2.3/16"], "did you mean 10.1.0.0/16?"],
    [["up", "--pod-cidr=10.96.0.0/16"], "overlap"],
    [["up", "--runtime=docker"], "must be one of auto, containerd, embedded"],
    [["up", "--cluster-domain=Bad_Name"], "must be a DNS name in lower case"],
    [["up", "extra"], 'unexpected argument "extra"'],
    [["nonsense"], 'unknown command "nonsense"'],
    [["down", "--data-dir"], "flag needs an argument: --data-dir"],
  ];
  for (const [args, says] of rows) {
    test(`kubun ${args.join(" ")}`, async () => {
      const r = await kubun(args);
      expect(r.stderr).toContain(says);
      expect(r.code).toBe(2);
    });
  }
});

describe("data directories", () => {
  const dirs: string[] = [];
  const fresh = () => {
    const dir = mkdtempSync(join(tmpdir(), "kubun-bad-"));
    dirs.push(dir);
    return dir;
  };
  afterAll(() => {
    for (const d of dirs) rmSync(d, { recursive: true, force: true });
  });
  const up = (dir: string, ...more: string[]) =>
    kubun(["up", "--control-plane-only", "--detach", "--port=0", `--data-dir=${dir}`, ...more]);

  test("of something else", async () => {
    const dir = fresh();
    writeFileSync(join(dir, "thesis.txt"), "precious");
    const r = await up(dir);
    expect(r).toMatchObject({ code: 2 });
    expect(r.stderr).toContain("is not empty and holds no cluster (thesis.txt)");
  });

  test("of a newer version", async () => {
    const dir = fresh();
    writeFileSync(join(dir, "cluster.json"), JSON.stringify({ format: 99, id: "0000000a" }));
    const r = await up(dir);
    expect(r).toMatchObject({ code: 2 });
    expect(r.stderr).toContain("was written by a newer version of kubun (format 99");
  });

  test("of a cluster with other networks", async () => {
    const dir = join(fresh(), "data");
    expect(await up(dir)).toMatchObject({ code: 0 });
    await kubun(["down", `--data-dir=${dir}`]);
    const r = await up(dir, "--service-cidr=10.77.0.0/16");
    expect(r).toMatchObject({ code: 2 });
    expect(r.stderr).toContain("holds a cluster made with 10.96.0.0/12, which can't change");
    await kubun(["down", "--purge", `--data-dir=${dir}`]);
  });

  test("that can't be written", async () => {
    const dir = fresh();
    await ok(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", dir]);
    try {
      const r = await up(join(dir, "data"));
      expect(r).toMatchObject({ code: 2 });
      expect(r.stderr).toContain("can't be used");
      expect(r.stderr).toContain("EROFS");
    } finally {
      await ok(["umount", dir]);
    }
  });

  test("that is full: writes are refused, reads go on, and nothing acknowledged is lost", async () => {
    const dir = fresh();
    await ok(["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", dir]);
    const data = join(dir, "data");
    try {
      expect(await up(data)).toMatchObject({ code: 0 });
      const kubectl = (...args: string[]) => run(["kubectl", `--kubeconfig=${data}/admin.kubeconfig`, ...args]);
      await ok(["sh", "-c", `head -c 200m /dev/zero > ${dir}/filler || true`]);
      const value = `--from-literal=v=${"x".repeat(100_000)}`;
      const written: string[] = [];
      let refused = "";
      for (let i = 0; i < 2000 && refused === ""; i++) {
        const r = await kubectl("create", "configmap", `c${i}`, value);
        if (r.code === 0) written.push(`c${i}`);
        else refused = r.stderr;
      }
      expect(refused).toMatch(/space/i);
      expect((await kubectl("get", "configmap", "kube-root-ca.crt")).code).toBe(0);
      rmSync(join(dir, "filler"));
      await kubun(["down", `--data-dir=${data}`]);
      expect(await up(data)).toMatchObject({ code: 0 });
      const names = (await kubectl("get", "configmaps", "-o", "jsonpath={.items[*].metadata.name}")).stdout.split(" ");
      for (const w of written) expect(names).toContain(w);
    } finally {
      await kubun(["down", `--data-dir=${data}`]);
      await ok(["umount", dir]);
    }
  }, 300_000);

  test("a port in use", async () => {
    using taken = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
    const dir = join(fresh(), "data");
    const r = await kubun(["up", "--control-plane-only", "--detach", `--port=${taken.port}`, `--data-dir=${dir}`]);
    expect(r).toMatchObject({ code: 2 });
    expect(r.stderr).toContain(`--port ${taken.port} is in use by another process`);
    await kubun(["down", "--purge", `--data-dir=${dir}`]);
  });

  test("status where nothing runs", async () => {
    const r = await kubun(["status", `--data-dir=${fresh()}`]);
    expect(r.code).toBe(1);
    expect(r.stderr).toContain("no cluster in");
  });
});

describe("manifests and requests", () => {
  let cluster: TestCluster;
  beforeAll(async () => {
    cluster = await TestCluster.up(["--control-plane-only"]);
  });
  afterAll(() => cluster?.[Symbol.asyncDispose]());
  const apply = (manifest: object, ...more: string[]) =>
    cluster.tryKubectl(["apply", "-f", "-", ...more], { stdin: JSON.stringify(manifest) });
  const pod = (spec: object) => ({ apiVersion: "v1", kind: "Pod", metadata: { name: "bad" }, spec });

  const rows: [name: string, manifest: object, flags: string[], says: string][] = [
    [
      "a pod without containers",
      pod({ containers: [] }),
      ["--validate=false"],
      'The Pod "bad" is invalid: spec.containers: Required value',
    ],
    [
      "a bad name",
      { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "Bad_Name" } },
      [],
      'metadata.name: Invalid value: "Bad_Name": a lowercase RFC 1123 subdomain must consist of',
    ],
    [
      "an unknown field with --validate=strict",
      pod({ containers: [{ name: "a", image: "b", imagee: "c" }] }),
      ["--validate=strict"],
      'unknown field "spec.containers[0].imagee"',
    ],
    ["an unknown kind", { apiVersion: "v1", kind: "Podd", metadata: { name: "x" } }, [], 'no matches for kind "Podd" in version "v1"'],
    [
      "a wrong type",
      pod({ containers: [{ name: "a", image: "b", ports: [{ containerPort: "http" }] }] }),
      ["--validate=false"],
      "cannot unmarshal string into Go struct field ContainerPort",
    ],
    [
      "a namespace that does not exist",
      { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "x", namespace: "nowhere" } },
      [],
      'namespaces "nowhere" not found',
    ],
    [
      "a selector that does not match",
      {
        apiVersion: "apps/v1",
        kind: "Deployment",
        metadata: { name: "d" },
        spec: {
          selector: { matchLabels: { a: "1" } },
          template: { metadata: { labels: { a: "2" } }, spec: { containers: [{ name: "a", image: "b" }] } },
        },
      },
      [],
      "`selector` does not match template `labels`",
    ],
    [
      "limits below requests",
      pod({ containers: [{ name: "a", image: "b", resources: { requests: { cpu: "2" }, limits: { cpu: "1" } } }] }),
      [],
      "must be less than or equal to cpu limit of 1",
    ],
  ];
  for (const [name, manifest, flags, says] of rows) {
    test(name, async () => {
      const r = await apply(manifest, ...flags);
      expect(r.code).toBe(1);
      expect(r.stderr).toContain(says);
    });
  }

  test("a conflicting update", async () => {
    await cluster.kubectl(["create", "configmap", "c", "--from-literal=a=1"]);
    const old = await cluster.kubectl(["get", "configmap", "c", "-o", "json"]);
    await cluster.kubectl(["label", "configmap", "c", "x=y"]);
    const r = await cluster.tryKubectl(["replace", "-f", "-"], { stdin: old });
    expect(r.stderr).toContain(
      'Operation cannot be fulfilled on configmaps "c": the object has been modified; please apply your changes to the latest version and try again',
    );
  });

  test("a wrong token", async () => {
    const server = cluster.state.server;
    const r = await run(["kubectl", `--server=${server}`, "--insecure-skip-tls-verify", "--token=wrong", "get", "pods"], {
      env: { HOME: cluster.dir, KUBECONFIG: "/dev/null" },
    });
    expect(r.stderr).toContain("You must be logged in to the server");
    const anonymous = await run(["curl", "-sk", `${server}/api/v1/pods`]);
    expect(JSON.parse(anonymous.stdout)).toMatchObject({
      code: 403,
      reason: "Forbidden",
      message: 'pods is forbidden: User "system:anonymous" cannot list resource "pods" in API group "" at the cluster scope',
    });
  });

  test("a path, a method and a body that make no sense", async () => {
    const raw = (...args: string[]) => cluster.tryKubectl(args);
    expect((await raw("get", "--raw", "/apis/nope/v1")).stderr).toContain("could not find the requested resource");
    expect((await raw("get", "--raw", "/api/v1/namespaces/default/pods?limit=x")).stderr).toContain('parsing "x": invalid syntax');
    expect((await raw("get", "pods", "-l", "a in b")).stderr).toContain("unable to parse requirement");
    expect((await raw("create", "--raw", "/api/v1/namespaces/default/configmaps", "-f", "/dev/null")).code).toBe(1);
  });

  test("the control plane alone runs without a node", async () => {
    expect(await cluster.kubectl(["get", "nodes"])).toBe("");
    await cluster.kubectl(["create", "deployment", "waiting", "--image=x"]);
    await until("the event", async () => (await cluster.kubectl(["get", "events"])).includes("no nodes available to schedule pods"));
  });
});

test("--control-plane-only needs no root", async () => {
  const dir = mkdtempSync(join(tmpdir(), "kubun-user-"));
  chmodSync(dir, 0o777);
  mkdirSync(join(dir, "home"), { mode: 0o777 });
  const asUser = (...args: string[]) =>
    run(
      [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        process.execPath,
        join(import.meta.dirname, "../../src/main.ts"),
        ...args,
      ],
      { env: { HOME: join(dir, "home"), XDG_RUNTIME_DIR: "" } },
    );
  try {
    const up = await asUser("up", "--control-plane-only", "--detach", "--port=0", `--data-dir=${dir}/data`);
    expect(up, up.stderr).toMatchObject({ code: 0 });
    expect(await ok(["kubectl", `--kubeconfig=${dir}/data/admin.kubeconfig`, "get", "namespaces"])).toContain("kube-system");
    expect((await asUser("status", `--data-dir=${dir}/data`)).stdout).toContain("kube-apiserver");
    expect((await asUser("down", "--purge", `--data-dir=${dir}/data`)).code).toBe(0);
    const refused = await asUser("up", `--data-dir=${dir}/data`);
    expect(refused).toMatchObject({ code: 2 });
    expect(refused.stderr).toContain("a node needs root");
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

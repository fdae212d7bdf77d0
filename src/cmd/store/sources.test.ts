// Where `kubun store` takes its settings from, and what it makes of all of etcd's flags.
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { noEtcd } from "../../testing/etcd.ts";
import { parseFlags, UsageError } from "../flags.ts";
import { table } from "./flags.ts";
import { plan } from "./options.ts";
import { readSettings } from "./sources.ts";

const dir = mkdtempSync(join(tmpdir(), "kubun-store-flags-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

async function settings(line: string, env: Record<string, string> = {}) {
  const { values, given } = parseFlags({ name: "store", flags: table }, line.split(" ").filter(Boolean));
  return readSettings(values, given, env);
}

async function planned(line: string, env: Record<string, string> = {}) {
  const found = await settings(line, env);
  const warnings = [...found.warnings];
  return { ...(await plan(found, warnings)), warnings };
}

const refusal = (line: string, env: Record<string, string> = {}) =>
  planned(line, env).then(
    () => "nothing",
    (error) => {
      expect(error).toBeInstanceOf(UsageError);
      return error.message as string;
    },
  );

test("without flags it listens and is found where an etcd is", async () => {
  const { store, warnings } = await planned("");
  expect(store).toMatchObject({
    name: "default",
    dataDir: "default.etcd",
    listen: [{ host: "127.0.0.1", port: 2379 }],
    advertiseClientUrls: ["http://localhost:2379"],
    peer: { listen: [{ host: "127.0.0.1", port: 2380 }] },
    peerUrls: ["http://localhost:2380"],
    initialCluster: "default=http://localhost:2380",
    strictReconfigCheck: true,
    gateway: true,
  });
  expect(warnings).toEqual([]);
  expect((await planned("--enable-grpc-gateway=false")).store.gateway).toBe(false);
  expect((await planned("--name x")).store).toMatchObject({ dataDir: "x.etcd", initialCluster: "x=http://localhost:2380" });
  // What is listened at is told, whatever port that will be.
  expect((await planned("--listen-client-urls http://127.0.0.1:0")).store.advertiseClientUrls).toEqual([]);
  expect(await refusal("--listen-client-urls http://0.0.0.0:2379")).toBe(
    "--advertise-client-urls is required when --listen-client-urls is set explicitly",
  );
});

/** Of kubeadm's static pods, 1.27 to 1.35. */
const KUBEADM = `
  --advertise-client-urls=https://10.0.0.1:2379 --client-cert-auth=true --data-dir=/var/lib/etcd --initial-advertise-peer-urls=https://10.0.0.1:2380
  --initial-cluster=m=https://10.0.0.1:2380 --listen-client-urls=https://127.0.0.1:2379,https://10.0.0.1:2379
  --listen-metrics-urls=http://127.0.0.1:2381 --listen-peer-urls=https://10.0.0.1:2380 --name=m --peer-client-cert-auth=true --snapshot-count=10000`
  .replace(/\s+/g, " ")
  .trim();

test("the flags of kubeadm's manifests mean here what they mean to etcd", async () => {
  for (const name of ["ca", "server", "peer"]) writeFileSync(join(dir, name), "-----BEGIN CERTIFICATE-----\n");
  const files = ["", "peer-"].flatMap((prefix) => {
    const own = join(dir, prefix ? "peer" : "server");
    return [`--${prefix}cert-file=${own}`, `--${prefix}key-file=${own}`, `--${prefix}trusted-ca-file=${join(dir, "ca")}`];
  });
  const versions = [
    "--experimental-initial-corrupt-check=true --experimental-watch-progress-notify-interval=5s",
    "--feature-gates=InitialCorruptCheck=true --watch-progress-notify-interval=5s",
  ];
  for (const flags of versions) {
    const { store, http, warnings } = await planned(`${KUBEADM} ${files.join(" ")} ${flags}`);
    expect(warnings).toEqual([]);
    expect(store).toMatchObject({
      name: "m",
      dataDir: "/var/lib/etcd",
      advertiseClientUrls: ["https://10.0.0.1:2379"],
      listen: [
        { host: "127.0.0.1", port: 2379 },
        { host: "10.0.0.1", port: 2379 },
      ],
      tls: { requireClientCert: true },
      peer: { listen: [{ host: "10.0.0.1", port: 2380 }], tls: { requireClientCert: true } },
      initialCorruptCheck: true,
      progressInterval: 5000,
      snapshotCount: 10_000,
    });
    expect(http.map((h) => h.address)).toEqual([{ host: "127.0.0.1", port: 2381 }]);
  }
});

test("ETCD_ variables count where a flag is not given, and never together with it", async () => {
  const env = { ETCD_NAME: "v", ETCD_HEARTBEAT_INTERVAL: "50", ETCD_PRE_VOTE: "false", ETCD_NOTHING: "1", ETCDCTL_API: "3", OTHER: "1" };
  const { store, warnings } = await planned("--election-timeout 500", env);
  expect(store).toMatchObject({ name: "v", dataDir: "v.etcd", heartbeatInterval: 50, electionTimeout: 500 });
  expect(warnings.toSorted()).toEqual([
    "--pre-vote is ignored: there is always a pre-vote",
    "unrecognized environment variable ETCD_NOTHING=1",
  ]);
  expect(await refusal("--name x", env)).toBe(
    'conflicting environment variable "ETCD_NAME" is shadowed by corresponding command-line flag (either unset environment variable or disable flag)',
  );
  expect(await refusal("", { ETCD_HEARTBEAT_INTERVAL: "abc" })).toStartWith('invalid value "abc" for ETCD_HEARTBEAT_INTERVAL: must be');
  // An empty one is as none, as in Go.
  expect((await planned("--name x", { ETCD_NAME: "" })).store.name).toBe("x");
});

test("a configuration file counts alone, with etcd's sections, lists and nanoseconds", async () => {
  const file = join(dir, "etcd.yaml");
  writeFileSync(join(dir, "cert"), "-----BEGIN CERTIFICATE-----\n");
  writeFileSync(
    file,
    `name: f
cors:
listen-client-urls: https://127.0.0.1:3379
advertise-client-urls: https://127.0.0.1:3379
grpc-keepalive-timeout: 5000000000
watch-progress-notify-interval: 7s
strict-reconfig-check: false
log-outputs: [stderr, stdout]
nonsense: 1
client-transport-security:
  cert-file: ${join(dir, "cert")}
  key-file: ${join(dir, "cert")}
peer-transport-security:
  cert-file: ${join(dir, "cert")}
  key-file: ${join(dir, "cert")}
  allowed-cn: [one, two]
`,
  );
  for (const [line, env] of [
    [`--config-file ${file} --name line`, {}],
    ["", { ETCD_CONFIG_FILE: file, ETCD_NAME: "environment" }],
  ] as const) {
    const { store, warnings } = await planned(line, env);
    expect(store).toMatchObject({
      name: "f",
      listen: [{ host: "127.0.0.1", port: 3379 }],
      connections: { keepaliveTimeout: 5000, cors: ["*"] },
      progressInterval: 7000,
      strictReconfigCheck: false,
      peer: { allowed: { commonNames: ["one", "two"] } },
    });
    expect(store.tls?.cert).toStartWith("-----BEGIN");
    expect(warnings).toEqual([`unrecognized key nonsense in ${file}`]);
  }
  writeFileSync(file, "heartbeat-interval: abc\n");
  expect(await refusal(`--config-file ${file}`)).toStartWith(`invalid value "abc" for heartbeat-interval in ${file}: must be`);
  writeFileSync(file, "a: [\n");
  expect(await refusal(`--config-file ${file}`)).toStartWith(`--config-file ${file}: `);
  writeFileSync(file, "discovery-srv: example.com\n");
  expect(await refusal(`--config-file ${file}`)).toStartWith("--discovery-srv=example.com is not supported: ");
  expect(await refusal("--config-file /none.yaml")).toStartWith("--config-file /none.yaml: ENOENT");
});

test("what is not there is refused where somebody may rely on it, and ignored aloud where it only tunes", async () => {
  const refused = [
    "--client-crl-file x",
    "--client-cert-allowed-hostname x",
    "--host-whitelist example.com",
    "--discovery https://x",
    "--enable-v2",
    "--proxy on",
  ];
  for (const line of refused) expect(await refusal(line)).toContain("is not supported: ");
  // As etcd's own files and manifests name what is the default anyway.
  const silent =
    "--proxy off --enable-v2=false --discovery-fallback exit --pre-vote --metrics basic --host-whitelist * --enable-pprof=false";
  expect((await planned(silent)).warnings).toEqual([]);
  expect((await planned("--max-wals 3 --unsafe-no-fsync --experimental-compaction-batch-limit 100")).warnings).toHaveLength(3);
  expect(await refusal("--feature-gates=InitialCorruptCheck=true,None=true")).toContain("unrecognized feature gate: None");
  expect(await refusal("--cipher-suites TLS_NONE")).toBe('unexpected TLS cipher suite "TLS_NONE"');
  expect(await refusal("--tls-min-version TLS1.3 --tls-max-version TLS1.2")).toBe(
    "min version (TLS1.3) is greater than max version (TLS1.2)",
  );
  expect(await refusal("--listen-peer-urls http://some.where:1")).toContain("expected IP in URL for binding (http://some.where:1)");
});

/** Where our default is another one than Debian's 3.4.23's, and why. */
const OTHER_DEFAULTS: Record<string, string> = {
  "data-dir": "NAME.etcd, which is what we do",
  "snapshot-count": "10 000 since 3.6",
  "initial-cluster": "made of --name and --initial-advertise-peer-urls, as etcd's is",
  "max-concurrent-streams": "a number in words",
  "advertise-client-urls": "it is, where no others are listened at",
};

if (noEtcd) console.log(`skipped: etcd's own help: ${noEtcd}`);

test.skipIf(noEtcd !== undefined)("every flag of `etcd --help` is known, with its default", async () => {
  const help = await new Response(Bun.spawn(["etcd", "--help"], { stdout: "pipe", stderr: "pipe" }).stdout).text();
  const theirs = [...help.matchAll(/^ {2}--([\w-]+)(?: '?([^'\n]*)'?)?$/gm)].map(([, name, value = ""]) => [name!, value] as const);
  expect(theirs.length).toBeGreaterThan(75);
  expect(theirs.filter(([name]) => !table[name]).map(([name]) => name)).toEqual([]);
  const { values } = await settings("");
  const own = values as Record<string, unknown>;
  const different = theirs.filter(([name, value]) => {
    if (own[name] === undefined || value === "" || OTHER_DEFAULTS[name]) return false;
    return JSON.stringify(table[name]!.parse(value)) !== JSON.stringify(own[name]);
  });
  expect(different).toEqual([]);
});

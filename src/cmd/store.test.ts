import { afterEach, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EtcdClient } from "../client/etcd-grpc.ts";
import { connect, createClient } from "../rpc/client.ts";
import { Cluster } from "../rpc/gen/etcd/rpc_pb.ts";
import { until } from "../store/testing/members.ts";
import { listenDatagrams } from "../testing/datagrams.ts";
import { freePorts } from "../testing/ports.ts";

const main = join(import.meta.dir, "../main.ts");
const cleanup: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const undo of cleanup.splice(0).reverse()) await undo();
});

function folder(): string {
  const dir = mkdtempSync(join(tmpdir(), "kubun-cmd-store-"));
  cleanup.push(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

async function fails(...flags: string[]): Promise<{ code: number; message: string }> {
  const child = Bun.spawn([process.execPath, main, "store", ...flags], { cwd: folder(), stdout: "ignore", stderr: "pipe" });
  const message = await new Response(child.stderr).text();
  return { code: await child.exited, message: message.trim() };
}

/** Any port for other members, because etcd's own may be taken. */
const PEERS = ["--listen-peer-urls", "http://127.0.0.1:0"];

/** Starts a store; resolves with its URL once it says that it serves. */
async function start(...flags: string[]) {
  const child = Bun.spawn([process.execPath, main, "store", ...(flags.includes(PEERS[0]!) ? [] : PEERS), ...flags], {
    cwd: folder(),
    stdout: "ignore",
    stderr: "pipe",
  });
  cleanup.push(async () => {
    child.kill("SIGKILL");
    await child.exited;
  });
  let log = "";
  for await (const chunk of child.stderr) {
    log += new TextDecoder().decode(chunk);
    const url = /urls="([^"]+)"/.exec(log)?.[1];
    if (url) return { url, child };
  }
  throw new Error(log);
}

test("bad flags end with exit code 2 and a message that names flag and value", async () => {
  const cases: [string[], string][] = [
    [["--no-such-flag"], "unknown flag: --no-such-flag"],
    [["--listen-client-urls", "ftp://x:1"], '"ftp://x:1" for flag --listen-client-urls: must be an http://, https:// or unix:// URL'],
    [["--listen-client-urls", "http://127.0.0.1"], "must name a port"],
    [["--listen-client-urls", "https://127.0.0.1:0"], "https needs --cert-file and --key-file"],
    [["--cert-file", "x.pem"], "--cert-file and --key-file go together"],
    [["--client-cert-auth"], "--client-cert-auth needs --trusted-ca-file"],
    [["--cert-file", "/none.pem", "--key-file", "/none.key"], '"/none.pem" for flag --cert-file: ENOENT'],
    [["--quota-backend-bytes", "1GB"], '"1GB" for flag --quota-backend-bytes: must be a whole number'],
    [["--auto-compaction-mode", "revision", "--auto-compaction-retention", "5m"], '"5m" for flag --auto-compaction-retention'],
    [["--auth-token", "jwt,sign-method=HS256"], '"jwt,sign-method=HS256" for flag --auth-token: auth: missing key data'],
    [["--auth-token", "jwt,sign-method=RS256,priv-key=/none"], "for flag --auth-token: ENOENT"],
    [["--bcrypt-cost", "3"], '"3" for flag --bcrypt-cost'],
    [["--snapshot-count", "0"], '"0" for flag --snapshot-count'],
    [["--election-timeout", "400"], "--election-timeout[400ms] should be at least as 5 times as --heartbeat-interval[100ms]"],
    [["--initial-cluster", "a=http://127.0.0.1:1"], `couldn't find local name "default" in the initial cluster configuration`],
    [["--listen-peer-urls", "https://127.0.0.1:1"], "https needs --peer-cert-file and --peer-key-file"],
    [["--peer-client-cert-auth"], "--peer-client-cert-auth needs --peer-trusted-ca-file"],
    [["--initial-cluster-state", "old"], '"old" for flag --initial-cluster-state'],
  ];
  const results = await Promise.all(cases.map(([flags]) => fails(...flags)));
  for (const [i, { code, message }] of results.entries()) expect([code, message]).toEqual([2, expect.stringContaining(cases[i]![1])]);
});

test("it serves, keeps its directory and port to itself, and ends cleanly", async () => {
  const dir = join(folder(), "data");
  const { url, child } = await start("--data-dir", dir, "--listen-client-urls", "http://127.0.0.1:0");
  const client = new EtcdClient({ endpoints: [url] });
  await client.txn([], [{ type: "put", key: Uint8Array.of(1), value: Uint8Array.of(2) }]);
  await client.close();
  const locked = await fails("--data-dir", dir, "--listen-client-urls", "http://127.0.0.1:0");
  expect(locked).toEqual({ code: 2, message: `kubun: --data-dir: data directory ${dir} is in use by process ${child.pid}` });
  const taken = await fails(...PEERS, "--listen-client-urls", url);
  const { host } = new URL(url);
  expect(taken).toEqual({ code: 2, message: `kubun: --listen-client-urls: listen tcp ${host}: bind: address already in use` });
  const peerTaken = await fails("--listen-client-urls", "http://127.0.0.1:0", "--listen-peer-urls", url);
  expect(peerTaken).toEqual({ code: 2, message: `kubun: --listen-peer-urls: listen tcp ${host}: bind: address already in use` });
  child.kill("SIGTERM");
  expect(await child.exited).toBe(0);

  const socket = join(folder(), "etcd.sock");
  const again = await start("--data-dir", dir, "--listen-client-urls", `unix://${socket}`);
  expect(again.url).toBe(`unix://${socket}`);
  const second = new EtcdClient({ endpoints: [again.url] });
  expect((await second.range(Uint8Array.of(1))).kvs[0]!.value).toEqual(Uint8Array.of(2));
  await second.close();
});

test("a member that was started alone grows, with certificates that it makes itself", async () => {
  const [a, b, metrics] = freePorts(3).map((port) => `https://127.0.0.1:${port}`);
  const auto = ["--auto-tls", "--peer-auto-tls", "--listen-client-urls", "https://127.0.0.1:0"];
  const alone = ["--listen-peer-urls", a!, "--initial-advertise-peer-urls", a!, "--listen-metrics-urls", metrics!];
  const dirs = [folder(), folder()];
  const first = await start(...auto, ...alone, "--name", "a", "--data-dir", dirs[0]!, "--wal-dir", join(dirs[0]!, "elsewhere"));
  const members = async (url: string) => {
    using channel = connect({ host: "127.0.0.1", port: Number(new URL(url).port) }, { tls: { insecureSkipVerify: true } });
    const cluster = createClient(Cluster, channel);
    return {
      list: await cluster.memberList({ linearizable: true }),
      added: await cluster.memberAdd({ peerURLs: [b!] }).catch(() => undefined),
    };
  };
  expect((await members(first.url)).added?.member?.peerURLs).toEqual([b!]);
  const health = await fetch(`${metrics}/health?serializable=true`, { tls: { rejectUnauthorized: false } });
  expect([health.status, await health.json()]).toEqual([200, { health: "true", reason: "" }]);
  const own = ["--listen-peer-urls", b!, "--initial-advertise-peer-urls", b!, "--name", "b", "--data-dir", dirs[1]!];
  const second = await start(...auto, ...own, "--initial-cluster", `a=${a},b=${b}`, "--initial-cluster-state", "existing");
  const { list } = await members(second.url);
  expect(list.members.map((m) => m.peerURLs).sort()).toEqual([[a!], [b!]].sort());
  expect(readdirSync(join(dirs[0]!, "elsewhere")).some((name) => name.endsWith(".wal"))).toBe(true);
  expect(readdirSync(dirs[0]!).includes("wal")).toBe(false);
}, 60_000);

test("a directory that can't be one is the fault of the flag that names it", async () => {
  const dir = folder();
  await Bun.write(join(dir, "file"), "");
  const fault = (...flags: string[]) => fails(...PEERS, "--listen-client-urls", "http://127.0.0.1:0", ...flags);
  const cases: [string[], RegExp][] = [
    [["--data-dir", join(dir, "file")], /^kubun: --data-dir: ENOTDIR: .*\/file'$/],
    [["--data-dir", join(dir, "file/below")], /^kubun: --data-dir: ENOTDIR: .*\/below'$/],
    [["--data-dir", join(dir, "data"), "--wal-dir", join(dir, "file")], /^kubun: --wal-dir: EEXIST: .*\/file'$/],
  ];
  const results = await Promise.all(cases.map(([flags]) => fault(...flags)));
  for (const [i, { code, message }] of results.entries()) expect([code, message]).toEqual([2, expect.stringMatching(cases[i]![1])]);
});

test("a member is ready, and systemd told so, when its cluster has a leader, and not before", async () => {
  const ports = freePorts(4);
  const peers = { a: `http://127.0.0.1:${ports[0]}`, b: `http://127.0.0.1:${ports[1]}` };
  const notified = join(folder(), "notify");
  using socket = listenDatagrams(notified);
  const member = (name: "a" | "b", port: number) => {
    const flags = ["--name", name, "--data-dir", folder(), "--listen-client-urls", `http://127.0.0.1:${port}`];
    const own = ["--listen-peer-urls", peers[name], "--initial-advertise-peer-urls", peers[name]];
    const child = Bun.spawn([process.execPath, main, "store", ...flags, ...own, "--initial-cluster", `a=${peers.a},b=${peers.b}`], {
      cwd: folder(),
      env: { ...process.env, NOTIFY_SOCKET: name === "a" ? notified : undefined },
      stdout: "ignore",
      stderr: "pipe",
    });
    cleanup.push(async () => {
      child.kill("SIGKILL");
      await child.exited;
    });
    const log = { text: "" };
    void (async () => {
      for await (const chunk of child.stderr) log.text += new TextDecoder().decode(chunk);
    })();
    return log;
  };
  const a = member("a", ports[2]!);
  const answers = async () => (await fetch(`http://127.0.0.1:${ports[2]}/version`).catch(() => undefined))?.ok;
  await until("a answers", answers);
  expect([a.text.includes("Ready to serve"), socket.next()]).toEqual([false, undefined]);
  const b = member("b", ports[3]!);
  await until("both are ready", () => [a, b].every((log) => log.text.includes("Ready to serve client requests")));
  await until("systemd is told", () => socket.next() === "READY=1");
}, 60_000);

// Auth with etcd's own client: the same script against the store and a real
// etcd, with the same output.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { noEtcd, noEtcdctl, type RealEtcd, startEtcd } from "../../testing/etcd.ts";
import { restoreSnapshot } from "../backup/restore.ts";
import { Store } from "../mod.ts";
import { bytes, DENIED, EMPTY, failure, Served } from "../testing/served.ts";

const dir = mkdtempSync(join(tmpdir(), "kubun-auth-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

interface Ran {
  out: string;
  error: string;
  code: number;
}

async function etcdctl(endpoint: string, args: readonly string[], input = ""): Promise<Ran> {
  const child = Bun.spawn(["etcdctl", "--endpoints", endpoint, ...args], {
    env: { ...process.env, ETCDCTL_API: "3" },
    stdin: new TextEncoder().encode(input),
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, err, code] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text(), child.exited]);
  // The client's own log is beside its last line.
  return {
    out,
    error: err
      .split("\n")
      .filter((line) => line.startsWith("Error: "))
      .join("\n"),
    code,
  };
}

/**
 * Commands in words. A line may go on with "<" and what the command reads;
 * after "~" only whether and how it fails is compared.
 */
const SCRIPT = `
auth enable
user add root:pw
auth disable
user add alice:apw
user add alice:again
user add nopw --no-password
user add :x
user add changes --interactive=false < first
user list
user get alice
user get none
user delete none
user passwd none --interactive=false < x
role add readers
role add readers
role add writers
role add "" 
role list
role get none
role grant-permission none read a
role grant-permission readers read /a/ --prefix
role grant-permission readers read /b /d
role grant-permission readers read /z --from-key
role grant-permission readers read "" --prefix
role revoke-permission readers "" --prefix
role grant-permission readers readwrite /both
role grant-permission readers write /both
role grant-permission writers write /a/ --prefix
role grant-permission writers write /c /e
role grant-permission writers readwrite /d
role revoke-permission writers /none
role revoke-permission writers /c /z
role get readers
role get writers
user grant-role none readers
user grant-role alice none
user grant-role alice readers
user grant-role alice readers
user grant-role alice writers
user revoke-role alice none
user revoke-role alice root
user get alice
user get alice --detail
put /a/1 x
auth enable
get /a/1
put /a/1 y
put /a/1 y --user root:pw
get /a/1 --user root:wrong
get /a/1 --user none:pw
get /a/1 --user nopw:pw
get /a/1 --user alice:apw
get /a/ --prefix --user alice:apw
get /b /d --user alice:apw
get /b /e --user alice:apw
get /zz /zzz --user alice:apw
get /z --from-key --user alice:apw
get /y --from-key --user alice:apw
get "" --from-key --user alice:apw
get "" --prefix --user root:pw
put /a/2 x --user alice:apw
put /a/2 x --prev-kv --user alice:apw
put /c x --user alice:apw
put /c x --prev-kv --user alice:apw
put /x x --user alice:apw
put /both x --user alice:apw
get /both --user alice:apw
del /a/2 --user alice:apw
del /a/ --prefix --user alice:apw
del /c /e --prev-kv --user alice:apw
del /c /d --user alice:apw
del /x --user alice:apw
txn --user alice:apw < mod("/a/1") > "0"\\n\\nput /a/1 t\\n\\nget /a/1\\n\\n
txn --user alice:apw < mod("/x") > "0"\\n\\nput /a/1 t\\n\\nget /a/1\\n\\n
txn --user alice:apw < mod("/a/1") > "0"\\n\\nput /a/1 t\\n\\nget /x\\n\\n
txn --user alice:apw < mod("/a/1") > "0"\\n\\nput /x t\\n\\n\\n
txn < mod("/a/1") > "0"\\n\\nput /a/1 t\\n\\n\\n
lease grant 60 --user none:x
~ member list --user root:pw
~ endpoint status --user alice:apw
member remove 1234 --user alice:apw
member remove 1234
member remove 1234 --user root:pw
member update 1234 --peer-urls=http://127.0.0.1:1 --user alice:apw
member add x --peer-urls=http://127.0.0.1:1 --user alice:apw
endpoint hashkv --user alice:apw
defrag --user alice:apw
snapshot save ${dir}/never --user alice:apw
user list
user list --user alice:apw
user get alice --user alice:apw
user get root --user alice:apw
role list --user alice:apw
role get readers --user alice:apw
role get root --user alice:apw
role get none --user root:pw
user add mallory:x --user alice:apw
role grant-permission readers read /x --user alice:apw
auth disable --user alice:apw
auth disable
user delete root --user root:pw
user revoke-role root root --user root:pw
role delete root --user root:pw
role add root --user root:pw
user add late:lpw --user root:pw
user grant-role late root --user root:pw
put /x x --user late:lpw
user passwd late --interactive=false --user root:pw < new
put /x y --user late:lpw
put /x y --user late:new
role delete writers --user root:pw
user get alice --user root:pw
put /a/1 x --user alice:apw
role revoke-permission readers /z --from-key --user root:pw
get /z --from-key --user alice:apw
user delete alice --user root:pw
get /a/1 --user alice:apw
auth enable --user root:pw
auth disable --user root:pw
get /a/1
user delete root
user list
role list
`;

const steps = SCRIPT.trim()
  .split("\n")
  .map((line) => {
    const [command, input] = line.replace(/^~ /, "").split(" < ");
    const args = [...command!.matchAll(/"([^"]*)"|(\S+)/g)].map((m) => m[1] ?? m[2]!);
    return { line, args, input: input === undefined ? "" : `${input.replaceAll("\\n", "\n")}\n` };
  });

const skip = noEtcdctl ?? noEtcd;
if (skip) console.log(`skipped: auth side by side with a real etcd: ${skip}`);

describe.skipIf(skip !== undefined)("side by side with a real etcd", () => {
  let etcd: RealEtcd;
  let store: Store;
  beforeAll(async () => {
    store = new Store({ dataDir: join(dir, "store"), listen: [{ host: "127.0.0.1", port: 0 }], auth: { bcryptCost: 4 } });
    [etcd] = await Promise.all([startEtcd(["--bcrypt-cost", "4"]), store.start()]);
  });
  afterAll(async () => {
    await etcd[Symbol.asyncDispose]();
    await store.stop();
  });

  test("etcdctl prints the same for users, roles, permissions and what they allow", async () => {
    const differences: unknown[] = [];
    for (const { line, args, input } of steps) {
      const [ours, theirs] = await Promise.all([etcdctl(store.address!, args, input), etcdctl(etcd.endpoint, args, input)]);
      // What etcd 3.4 left out of its table of codes, as later ones say it.
      theirs.error = theirs.error.replace("rpc error: code = Unknown desc = auth: permission", "etcdserver: permission");
      if (line.startsWith("~")) ours.out = theirs.out = "";
      if (!Bun.deepEquals(ours, theirs)) differences.push({ line, ours, theirs });
    }
    expect(differences).toEqual([]);
  }, 120_000);
});

test.skipIf(skip !== undefined)(
  "users move to a real etcd and back, with passwords and permissions",
  async () => {
    const [out, there, back, here] = ["out.db", "there", "back.db", "here"].map((name) => join(dir, name)) as [
      string,
      string,
      string,
      string,
    ];
    {
      await using s = await Served.start();
      await s.users();
      expect(await etcdctl(s.store.address!, ["snapshot", "save", out, "--user", "root:pw"])).toMatchObject({ code: 0 });
    }
    expect(await etcdctl("", ["snapshot", "restore", out, "--data-dir", there])).toMatchObject({ code: 0 });
    {
      await using etcd = await startEtcd(["--data-dir", there]);
      expect(await etcdctl(etcd.endpoint, ["put", "a1", "x", "--user", "alice:apw"])).toMatchObject({ out: "OK\n" });
      expect(await etcdctl(etcd.endpoint, ["get", "x", "--user", "alice:apw"])).toMatchObject({
        error: "Error: etcdserver: permission denied",
      });
      await etcdctl(etcd.endpoint, ["user", "add", "carol:cpw", "--user", "root:pw"]);
      await etcdctl(etcd.endpoint, ["user", "grant-role", "carol", "r", "--user", "root:pw"]);
      expect(await etcdctl(etcd.endpoint, ["snapshot", "save", back, "--user", "root:pw"])).toMatchObject({ code: 0 });
    }
    const peer = "http://localhost:2380";
    await restoreSnapshot(back, {
      ...{ dataDir: here, name: "default", skipHashCheck: false },
      ...{ initialCluster: `default=${peer}`, initialClusterToken: "back", initialAdvertisePeerUrls: [peer] },
    });
    await using s = await Served.start({ dataDir: here });
    const carol = await s.token("carol", "cpw");
    expect(Buffer.from((await s.kv.range({ key: bytes("a1") }, carol)).kvs[0]!.value).toString()).toBe("x");
    expect(await failure(s.kv.range({ key: bytes("x") }, await s.token("alice", "apw")))).toBe(DENIED);
    expect(await failure(s.kv.range({ key: bytes("a1") }))).toBe(EMPTY);
  },
  60_000,
);

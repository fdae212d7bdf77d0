// Who a client is: by a simple token, a JWT, or the common name of its certificate.
import { afterAll, describe, expect, test } from "bun:test";
import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SignJWT } from "jose";
import type { CallOptions } from "../../rpc/types.ts";
import { testPki } from "../../testing/certificates.ts";
import { noEtcd, noEtcdctl, startEtcd } from "../../testing/etcd.ts";
import { parseTokenOptions } from "../auth/options.ts";
import { Store } from "../mod.ts";
import { bytes, DENIED, EMPTY, failure, INVALID, OLD, Served } from "../testing/served.ts";

const dir = mkdtempSync(join(tmpdir(), "kubun-identity-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
let files = 0;
const file = (content: string | Buffer) => {
  const path = join(dir, `file${files++}`);
  writeFileSync(path, content);
  return path;
};

test("users, roles and tokens are there again after a restart, from the log and from a snapshot", async () => {
  const dataDir = join(dir, "restarted");
  for (const round of ["log", "snapshot"]) {
    let token: CallOptions;
    {
      await using s = await Served.start({ dataDir });
      if (round === "log") await s.users();
      token = await s.token("alice", "apw");
      await s.kv.put({ key: bytes("a"), value: bytes(round) }, token);
      if (round === "snapshot") await s.store.member.snapshot();
    }
    await using s = await Served.start({ dataDir });
    expect(await failure(s.kv.put({ key: bytes("x") }))).toBe(EMPTY);
    // A snapshot keeps no tokens: their holders authenticate again, as clients of etcd do.
    expect(await failure(s.kv.put({ key: bytes("a") }, token))).toBe(round === "log" ? undefined : INVALID);
    expect(await failure(s.kv.put({ key: bytes("a") }, await s.token("alice", "apw")))).toBeUndefined();
    expect(await failure(s.auth.userList({}, await s.token("alice", "apw")))).toBe(DENIED);
  }
});

test("a user may be added with the hash of a password, without one, and with an empty one", async () => {
  await using s = await Served.start();
  await s.users();
  const root = await s.token("root", "pw");
  const hash = await Bun.password.hash("secret", { algorithm: "bcrypt", cost: 4 });
  await s.auth.userAdd({ name: "hashed", hashedPassword: Buffer.from(hash.replace("$2b$", "$2a$")).toString("base64") }, root);
  await s.token("hashed", "secret");
  expect(await failure(s.token("hashed", "other"))).toBe("InvalidArgument: etcdserver: authentication failed, invalid user ID or password");
  expect(await failure(s.auth.userAdd({ name: "h2", hashedPassword: "bm90" }, root))).toStartWith("InvalidArgument: ");
  await s.auth.userAdd({ name: "empty", password: "" }, root);
  await s.token("empty", "");
  expect(await failure(s.token("empty", "x"))).toStartWith("InvalidArgument: ");
  expect(await failure(s.auth.userAdd({ name: "long", password: "x".repeat(73) }, root))).toBe(
    "Unknown: bcrypt: password length exceeds 72 bytes",
  );
  await s.auth.userAdd({ name: "cn", password: "ignored", options: { noPassword: true } }, root);
  expect(await failure(s.token("cn", "ignored"))).toBe("Unknown: auth: authentication failed, password was given for no password user");
});

describe("JWT", () => {
  const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const ec = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const pem = (key: KeyObject, type: "pkcs1" | "pkcs8" | "sec1" | "spki") =>
    file(key.export({ format: "pem", type: type as never }) as string);
  const withToken = (text: string) => Served.start({ auth: { bcryptCost: 4, token: parseTokenOptions(text) } });

  const methods: [string, string][] = [
    ["RS256", `pub-key=${pem(rsa.publicKey, "spki")},priv-key=${pem(rsa.privateKey, "pkcs1")}`],
    ["PS512", `priv-key=${pem(rsa.privateKey, "pkcs8")}`],
    ["ES256", `pub-key=${pem(ec.publicKey, "spki")},priv-key=${pem(ec.privateKey, "sec1")}`],
    ["HS256", `priv-key=${file(Buffer.alloc(32, 7))}`],
  ];
  for (const [method, keys] of methods) {
    test(`${method}: a token says who, as of which revision`, async () => {
      await using s = await withToken(`jwt,sign-method=${method},${keys},ttl=10m`);
      await s.users();
      const alice = await s.token("alice", "apw");
      const claims = JSON.parse(Buffer.from(alice.headers!.token!.split(".")[1]!, "base64url").toString());
      const { authRevision } = await s.auth.authStatus({});
      expect(claims).toEqual({ username: "alice", revision: Number(authRevision), exp: expect.any(Number) });
      expect(Math.abs(claims.exp - Date.now() / 1000 - 600)).toBeLessThan(60);
      await s.kv.put({ key: bytes("a") }, alice);
      await s.kv.range({ key: bytes("a") }, alice);
      expect(await failure(s.kv.put({ key: bytes("x") }, alice))).toBe(DENIED);
      const [head, body, signature] = alice.headers!.token!.split(".");
      const forged = Buffer.from(JSON.stringify({ ...claims, username: "root" })).toString("base64url");
      expect(await failure(s.kv.range({ key: bytes("a") }, { headers: { token: `${head}.${forged}.${signature}` } }))).toBe(INVALID);
      const none = `${Buffer.from('{"alg":"none"}').toString("base64url")}.${body}.`;
      expect(await failure(s.kv.range({ key: bytes("a") }, { headers: { token: none } }))).toBe(INVALID);
      // Any change of users and roles makes it old.
      await s.auth.roleAdd({ name: "another" }, await s.token("root", "pw"));
      expect(await failure(s.kv.put({ key: bytes("a") }, alice))).toBe(OLD);
      expect(await failure(s.kv.range({ key: bytes("a") }, alice))).toBe(OLD);
      await s.kv.put({ key: bytes("a") }, await s.token("alice", "apw"));
    });
  }

  test("with a public key alone it takes tokens that others signed, and gives none", async () => {
    await using s = await withToken(`jwt,sign-method=ES256,pub-key=${pem(ec.publicKey, "spki")}`);
    await s.users();
    expect(await failure(s.token("alice", "apw"))).toBe("Unknown: auth: token signing attempted with verify-only key");
    const { authRevision } = await s.auth.authStatus({});
    const sign = (exp: number, claims = {}) =>
      new SignJWT({ username: "alice", revision: Number(authRevision), ...claims })
        .setProtectedHeader({ alg: "ES256" })
        .setExpirationTime(exp)
        .sign(ec.privateKey);
    const now = Math.floor(Date.now() / 1000);
    const call = async (token: string) => failure(s.kv.put({ key: bytes("a") }, { headers: { token } }));
    expect(await call(await sign(now + 600))).toBeUndefined();
    expect(await call(await sign(now - 10))).toBe(INVALID);
    expect(await call(await sign(now + 600, { username: 7 }))).toBe(INVALID);
    expect(await call(await sign(now + 600, { username: "bob" }))).toBe(DENIED);
  });

  test("options are refused in etcd's words", async () => {
    const refused = (text: string) => {
      try {
        parseTokenOptions(text);
        return undefined;
      } catch (error) {
        return (error as Error).message;
      }
    };
    expect(parseTokenOptions("simple")).toEqual({ kind: "simple" });
    expect(parseTokenOptions("jwt,sign-method=RS256,priv-key=k,ttl=1h30m")).toMatchObject({ method: "RS256", ttl: 5_400_000 });
    for (const text of ["", "other", "jwt,sign-method", "jwt,a=b=c", "jwt,ttl=1s,ttl=2s", "jwt,what=x,sign-method=RS256"]) {
      expect([text, refused(text)]).toEqual([text, "auth: invalid auth options"]);
    }
    expect(refused("jwt,sign-method=none")).toBe("auth: invalid auth signature method");
    expect(refused("jwt,sign-method=HS256,pub-key=x")).toBe("auth: missing key data");
    expect(refused("jwt,sign-method=RS256,priv-key=x,ttl=5")).toBe('time: invalid duration "5"');
    const mismatch = withToken(
      `jwt,sign-method=RS256,pub-key=${pem(generateKeyPairSync("rsa", { modulusLength: 2048 }).publicKey, "spki")},priv-key=${pem(rsa.privateKey, "pkcs8")}`,
    );
    expect(await failure(mismatch)).toContain("auth: public and private keys don't match");
    expect(await failure(withToken(`jwt,sign-method=ES256,priv-key=${pem(rsa.privateKey, "pkcs8")}`))).toBeDefined();
  });
});

const skip = noEtcdctl ?? noEtcd;
if (skip) console.log(`skipped: common names side by side with a real etcd: ${skip}`);

test.skipIf(skip !== undefined)(
  "a client certificate's common name is its user, with the same output as a real etcd's",
  async () => {
    const pki = await testPki();
    const ca = file(pki.ca);
    const server = await pki.issue("server");
    const [cert, key] = [file(server.cert), file(server.key)];
    const certificates: Record<string, string[]> = {};
    const pems: Record<string, { ca: string; cert: string; key: string }> = {};
    for (const name of ["root", "alice", "stranger", ""]) {
      const issued = await pki.issue(name);
      pems[name] = { ca: pki.ca, cert: issued.cert, key: issued.key };
      certificates[name] = ["--cert", file(issued.cert), "--key", file(issued.key), "--cacert", ca];
    }
    const tls = ["--cert-file", cert, "--key-file", key, "--trusted-ca-file", ca, "--client-cert-auth"];
    await using etcd = await startEtcd([...tls, "--bcrypt-cost", "4"], "https");
    const store = new Store({
      dataDir: join(dir, "tls"),
      listen: [{ host: "127.0.0.1", port: 0 }],
      tls: { cert: server.cert, key: server.key, clientCa: pki.ca, requireClientCert: true },
      auth: { bcryptCost: 4, certificateUsers: true },
    });
    await store.start();
    try {
      const run = async (endpoint: string, who: string, args: string[]) => {
        const child = Bun.spawn(["etcdctl", "--endpoints", endpoint, ...certificates[who]!, ...args], {
          env: { ...process.env, ETCDCTL_API: "3" },
          stdout: "pipe",
          stderr: "pipe",
        });
        const [out, err, code] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text(), child.exited]);
        return { who, args, out, error: err.split("\n").filter((line) => line.startsWith("Error: ")), code };
      };
      /** Over the gateway a certificate says nothing: one that would is refused while auth is on. */
      const put = async (endpoint: string, who: string, key: string) => {
        const body = JSON.stringify({ key: Buffer.from(key).toString("base64") });
        const response = await fetch(`${endpoint}/v3/kv/put`, { method: "POST", body, tls: pems[who]! });
        const answer = await response.text();
        return { who, status: response.status, answer: response.ok ? Object.keys(JSON.parse(answer)) : answer };
      };
      const script: [who: string, command: string][] = [
        ["root", "user add root:pw"],
        ["root", "user grant-role root root"],
        ["root", "user add alice --no-password"],
        ["root", "role add r"],
        ["root", "role grant-permission r readwrite /a/ --prefix"],
        ["root", "user grant-role alice r"],
        ["root", "auth enable"],
        ["alice", "put /a/1 x"],
        ["alice", "put /b x"],
        ["alice", "get / --prefix"],
        ["alice", "get /a/ --prefix"],
        ["root", "get / --prefix"],
        ["alice", "user list"],
        ["root", "user list"],
        ["stranger", "get /a/1"],
        ["stranger", "user list"],
        ["", "get /a/1"],
        ["", "user list"],
        // A password is more than a certificate.
        ["stranger", "user list --user root:pw"],
        ["alice", "get /b --user root:pw"],
        ["alice", "get /a/1 --user alice:x"],
        ["alice", "/v3/kv/put /a/1"],
        ["", "/v3/kv/put /a/1"],
        ["root", "user delete alice"],
        ["alice", "get /a/1"],
        ["root", "auth disable"],
        ["stranger", "/v3/kv/put /b"],
        ["stranger", "get /a/1"],
      ];
      for (const [who, command] of script) {
        const args = command.split(" ");
        const ask = (endpoint: string) => (args[0] === "/v3/kv/put" ? put(endpoint, who, args[1]!) : run(endpoint, who, args));
        const [ours, theirs] = await Promise.all([ask(store.address!), ask(`https://${etcd.endpoint}`)]);
        expect(ours).toEqual(theirs);
      }
    } finally {
      await store.stop();
    }
  },
  60_000,
);

import { expect, test } from "bun:test";
import { createPublicKey, generateKeyPairSync, X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type CertificateSpec, issue, type KeyPair } from "./certificate.ts";

const DAY = 86_400_000;
const times = { notBefore: new Date(Date.now() - 60_000), notAfter: new Date(Date.now() + 30 * DAY) };
const authority = () => issue({ commonName: "kubernetes", authority: true, hosts: ["kubernetes"], ...times });
const leafSpec: CertificateSpec = {
  commonName: "system:node:a",
  organizations: ["system:nodes", "Straße"],
  usages: ["serverAuth"],
  hosts: ["localhost", "10.0.0.1", "fd00::1", "::1"],
  ...times,
};

function openssl(files: Record<string, string>, ...args: string[]): { code: number; out: string } {
  const dir = mkdtempSync(join(tmpdir(), "kubun-cert-"));
  try {
    for (const [name, content] of Object.entries(files)) writeFileSync(join(dir, name), content);
    const p = Bun.spawnSync(["openssl", ...args], { cwd: dir, stdout: "pipe", stderr: "pipe" });
    return { code: p.exitCode, out: p.stdout.toString() + p.stderr.toString() };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

const noOpenssl = Bun.which("openssl") === null;
if (noOpenssl) console.log("skipped: what OpenSSL says of certificates: no openssl on PATH (apt-get install openssl)");

test("a leaf is what was asked for, and its authority's key verifies it", async () => {
  const ca = await authority();
  const leaf = await issue(leafSpec, ca);
  const [parsed, parent] = [new X509Certificate(leaf.cert), new X509Certificate(ca.cert)];
  expect(parsed.verify(parent.publicKey)).toBe(true);
  expect(parsed.checkIssued(parent)).toBe(true);
  expect(parsed.ca).toBe(false);
  expect(parent.ca).toBe(true);
  expect(parsed.subject).toBe("O=system:nodes\nO=Straße\nCN=system:node:a");
  expect(parsed.issuer).toBe("CN=kubernetes");
  expect(parsed.checkHost("localhost")).toBe("localhost");
  for (const ip of ["10.0.0.1", "fd00::1", "::1"]) expect(parsed.checkIP(ip)).toBe(ip);
  expect(parsed.checkIP("10.0.0.2")).toBeUndefined();
  expect(Math.abs(Date.parse(parsed.validTo) - times.notAfter.getTime())).toBeLessThan(1000);
  expect(createPublicKey(leaf.key).export({ type: "spki", format: "pem" })).toBe(
    parsed.publicKey.export({ type: "spki", format: "pem" }) as string,
  );
});

test.skipIf(noOpenssl)("OpenSSL verifies the chain in its strict mode, for the purpose that was asked for and no other", async () => {
  const ca = await authority();
  const files = { "ca.pem": ca.cert, "leaf.pem": (await issue(leafSpec, ca)).cert };
  const verify = (purpose: string) => openssl(files, "verify", "-x509_strict", "-purpose", purpose, "-CAfile", "ca.pem", "leaf.pem");
  expect(verify("sslserver")).toEqual({ code: 0, out: "leaf.pem: OK\n" });
  expect(verify("sslclient").code).not.toBe(0);
  const shown = openssl(files, "x509", "-in", "leaf.pem", "-noout", "-text").out;
  expect(shown).toContain("Digital Signature, Key Encipherment");
  expect(shown).toContain("CA:FALSE");
  expect(shown).toContain("DNS:localhost, IP Address:10.0.0.1");
});

test.skipIf(noOpenssl)("an RSA authority that somebody else made signs too", async () => {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const key = String(privateKey.export({ type: "pkcs8", format: "pem" }));
  const made = openssl({ "ca.key": key }, "req", "-x509", "-new", "-key", "ca.key", "-subj", "/O=elsewhere/CN=own ca", "-days", "3");
  const ca: KeyPair = { cert: made.out.slice(made.out.indexOf("-----BEGIN")), key };
  const leaf = await issue(leafSpec, ca);
  expect(openssl({ "ca.pem": ca.cert, "leaf.pem": leaf.cert }, "verify", "-CAfile", "ca.pem", "leaf.pem").out).toBe("leaf.pem: OK\n");
});

test("a server's TLS is trusted by who trusts the authority, under the names of the certificate", async () => {
  const ca = await authority();
  using server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    tls: await issue({ ...leafSpec, hosts: ["127.0.0.1"] }, ca),
    fetch: () => new Response("ok"),
  });
  expect(await (await fetch(`https://127.0.0.1:${server.port}`, { tls: { ca: ca.cert } })).text()).toBe("ok");
  await expect(fetch(`https://localhost:${server.port}`, { tls: { ca: ca.cert } })).rejects.toThrow();
});

import { expect, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import { copyFileSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Pki } from "./pki.ts";

const spec = { name: "apiserver", commonName: "kube-apiserver", hosts: ["localhost", "127.0.0.1"] };

async function folder(): Promise<{ dir: string; pki: Pki } & Disposable> {
  const dir = mkdtempSync(join(tmpdir(), "kubun-pki-"));
  return { dir, pki: await Pki.open(dir), [Symbol.dispose]: () => rmSync(dir, { recursive: true, force: true }) };
}

test("a certificate stays while it covers what is asked for, and keys are the owner's alone", async () => {
  using at = await folder();
  const first = await at.pki.leaf(spec);
  expect(await (await Pki.open(at.dir)).leaf(spec)).toEqual(first);
  const wider = await at.pki.leaf({ ...spec, hosts: [...spec.hosts, "example.test"] });
  expect(wider.cert).not.toBe(first.cert);
  at.pki.serviceAccountKeys();
  for (const name of readdirSync(at.dir))
    expect([name, statSync(join(at.dir, name)).mode & 0o777]).toEqual([name, name.endsWith(".key") ? 0o600 : 0o644]);
});

test("what a killed start or a power cut left of a certificate is made again", async () => {
  using at = await folder();
  const good = (pair: { cert: string }) => new X509Certificate(pair.cert).verify(new X509Certificate(at.pki.ca.cert).publicKey);
  await at.pki.leaf(spec);
  await at.pki.leaf({ name: "other", commonName: "other" });
  for (const damage of [
    () => writeFileSync(join(at.dir, "apiserver.crt"), ""),
    () => writeFileSync(join(at.dir, "apiserver.key"), ""),
    () => rmSync(join(at.dir, "apiserver.crt")),
    // A new key, killed before the certificate of it.
    () => copyFileSync(join(at.dir, "other.key"), join(at.dir, "apiserver.key")),
  ]) {
    const before = at.pki.stored("apiserver").cert;
    damage();
    const made = await at.pki.leaf(spec);
    expect(made.cert).not.toBe(before);
    expect(good(made)).toBe(true);
    expect(await at.pki.leaf(spec)).toEqual(made);
  }
});

import { expect, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Bun.main is the test itself here, so the program under test is one of its own. */
function program(body: string): { code: number; out: string } {
  const dir = mkdtempSync(join(tmpdir(), "kubun-issuing-"));
  try {
    const file = (name: string) => JSON.stringify(join(import.meta.dirname, name));
    const source = `
      import { IssuingProcess, answerQuestions } from ${file("issuing.ts")};
      import { Pki } from ${file("pki.ts")};
      if (process.argv.includes("--issuing-child")) await answerQuestions();
      else { const dir = ${JSON.stringify(dir)}; const issuing = new IssuingProcess(); ${body}; await issuing.close(); }
    `;
    const main = join(dir, "main.ts");
    writeFileSync(main, source);
    const p = Bun.spawnSync([process.execPath, main], { stdout: "pipe", stderr: "pipe", timeout: 20_000 });
    return { code: p.exitCode, out: p.stdout.toString() + p.stderr.toString() };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

test("certificates come from another process, signed by the authority that came from it too, and both programs end", () => {
  const { code, out } = program(`
    const pki = await Pki.open(dir + "/pki", issuing.issue);
    const [a, b] = await Promise.all(["a", "b"].map((name) => pki.leaf({ name, commonName: name, hosts: ["127.0.0.1"] })));
    console.log(JSON.stringify({ ca: pki.ca.cert, a: a.cert, b: b.cert, loaded: Object.keys(require.cache).filter((f) => f.includes("x509")).length }));
  `);
  expect(code).toBe(0);
  const got = JSON.parse(out) as { ca: string; a: string; b: string; loaded: number };
  const ca = new X509Certificate(got.ca);
  for (const name of ["a", "b"] as const) {
    const leaf = new X509Certificate(got[name]);
    expect(leaf.verify(ca.publicKey)).toBe(true);
    expect(leaf.subject).toBe(`CN=${name}`);
    expect(leaf.checkIP("127.0.0.1")).toBe("127.0.0.1");
  }
  expect(got.loaded).toBe(0);
});

test("once it is closed, the process is gone, and holds no file of anybody's open", () => {
  const { code, out } = program(`
    const { readFileSync } = await import("node:fs");
    const children = () => readFileSync("/proc/self/task/" + process.pid + "/children", "utf8");
    await Pki.open(dir + "/pki", issuing.issue);
    const before = children();
    void issuing.close();
    await issuing.close();
    console.log(before !== "", JSON.stringify(children()));
  `);
  expect({ code, out }).toEqual({ code: 0, out: 'true ""\n' });
});

test("what the library refuses is refused here too", () => {
  const { code, out } = program(`
    const times = { notBefore: new Date(), notAfter: new Date() };
    await issuing.issue({ commonName: "x", ...times }, { cert: "none", key: "none" }).then(() => console.log("made"), (e) => console.log("refused", e instanceof Error));
  `);
  expect({ code, out }).toEqual({ code: 0, out: "refused true\n" });
});

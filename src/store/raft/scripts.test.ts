// The scripts of testdata/: what goes in, and beneath it what must come of it.
// `KUBUN_REWRITE=1 bun test` writes down what does come of it instead.
import { expect, test } from "bun:test";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { rewrite } from "./testing/script.ts";

const dir = join(import.meta.dirname, "testdata");
const names = readdirSync(dir).filter((name) => name.endsWith(".txt"));

for (const name of names) {
  test(`the script ${name} comes out as it says`, () => {
    const path = join(dir, name);
    const script = readFileSync(path, "utf8");
    const outcome = rewrite(script);
    if (process.env.KUBUN_REWRITE) writeFileSync(path, outcome);
    else expect(outcome).toBe(script);
  });
}

test("there are scripts", () => expect(names.length).toBeGreaterThan(8));

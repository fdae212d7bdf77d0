import { expect, test } from "bun:test";
import { AttachedOutput } from "./attached-output.ts";
import type { LogLine } from "./log-format.ts";

const line = (text: string, partial = false): LogLine => ({ time: "", stream: "stdout", partial, content: Buffer.from(text) });
const bytes = (text: string) => Buffer.from(text);

test("the newline after a line goes out with what follows it", () => {
  const output = new AttachedOutput();
  expect([output.line(line("a")), output.line(line("b", true)), output.line(line("c"))].map(String)).toEqual(["a", "\nb", "c"]);
  expect([output.waits, String(output.release()), String(output.release())]).toEqual([true, "\n", ""]);
});

test("what an attached client was sent tells whether the last line ended", () => {
  const cases: [seen: string[], log: LogLine[], ended: boolean | undefined, behind: boolean][] = [
    [[], [line("a")], undefined, false],
    [["a\n"], [line("a")], true, false],
    [["a"], [line("a")], false, false],
    [["\n"], [line("a")], true, false],
    [["a\nb"], [line("a"), line("b")], false, false],
    [["a\nb"], [line("a")], undefined, true],
    [["a"], [], undefined, true],
    [["a"], [line("a"), line("b")], undefined, true],
    [["b", "\n"], [line("a"), line("b", true), line("")], true, false],
    [["b"], [line("a"), line("b", true), line("")], false, false],
    [["x".repeat(1000)], [line("x".repeat(1000))], false, false],
    [["x".repeat(999), "x\n"], [line("x".repeat(1000))], true, false],
  ];
  for (const [seen, log, ended, behind] of cases) {
    const output = new AttachedOutput();
    for (const l of log) output.line(l);
    for (const s of seen) output.seen(bytes(s));
    const what = `${JSON.stringify(seen)} of ${log.map((l) => l.content)}`.slice(0, 60);
    expect([what, output.ended, output.behind]).toEqual([what, ended, behind]);
  }
});

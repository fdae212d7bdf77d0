import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { appendFileSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type LogOptions, readLog } from "./log-reader.ts";
import { logOptions } from "./logs.ts";

let dir: string;
let path: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "log-"));
  path = join(dir, "0.log");
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const line = (second: number, text: string, stream = "stdout", tag = "F") =>
  `2026-01-01T00:00:0${second}.123456789Z ${stream} ${tag} ${text}\n`;
const idle = { running: () => false, onChange: () => () => {} };

async function read(options: LogOptions): Promise<string> {
  let text = "";
  for await (const chunk of readLog({ path, ...idle }, options, new AbortController().signal)) text += chunk.toString();
  return text;
}

describe("readLog", () => {
  beforeEach(() =>
    writeFileSync(path, line(0, "zero") + line(1, "one", "stderr") + line(2, "two ", "stdout", "P") + line(2, "parts") + line(3, "")),
  );

  const cases: [title: string, options: LogOptions, expected: string][] = [
    ["gives what the application wrote, lines in parts joined", {}, "zero\none\ntwo parts\n\n"],
    ["gives the last lines", { tail: 2 }, "parts\n\n"],
    ["gives nothing for a tail of none", { tail: 0 }, ""],
    ["gives all for a tail longer than the file", { tail: 99 }, "zero\none\ntwo parts\n\n"],
    ["leaves out what is older", { since: Date.UTC(2026, 0, 1, 0, 0, 2) }, "two parts\n\n"],
    ["gives one stream", { stream: "stderr" }, "one\n"],
    ["stops at its limit", { limitBytes: 7 }, "zero\non"],
    [
      "puts the time before each line, but not into one",
      { timestamps: true, since: Date.UTC(2026, 0, 1, 0, 0, 2) },
      "2026-01-01T00:00:02.123456789Z two parts\n2026-01-01T00:00:03.123456789Z \n",
    ],
  ];
  for (const [title, options, expected] of cases) test(title, async () => expect(await read(options)).toBe(expected));

  test("finds the tail across blocks of a large file", async () => {
    writeFileSync(path, Array.from({ length: 5000 }, (_, i) => line(0, `number ${i}`)).join(""));
    expect(await read({ tail: 2 })).toBe("number 4998\nnumber 4999\n");
    expect((await read({})).split("\n").length).toBe(5001);
  });
});

test("the last lines are as many as asked for while the container writes on, and a follower gets what comes too", async () => {
  const collect = async (options: LogOptions) => {
    writeFileSync(path, line(0, "first") + line(1, "second") + line(2, "third"));
    const gone = new AbortController();
    let asked = 0;
    // It is asked when the last lines are found, and not yet read.
    const running = () => {
      if (asked++ === 0) appendFileSync(path, line(3, "more"));
      return true;
    };
    let text = "";
    for await (const chunk of readLog({ path, running, onChange: () => () => {} }, options, gone.signal)) {
      text += chunk.toString();
      if (options.follow && text.endsWith("more\n")) gone.abort();
    }
    return text;
  };
  expect(await collect({ tail: 2 })).toBe("second\nthird\n");
  expect(await collect({ tail: 2, follow: true })).toBe("second\nthird\nmore\n");
});

test("a follower sees what comes, over a rotation, until the container has ended", async () => {
  writeFileSync(path, line(0, "first"));
  let running = true;
  let changed = () => {};
  const source = {
    path,
    running: () => running,
    onChange: (fn: () => void) => {
      changed = fn;
      return () => {};
    },
  };
  const got: string[] = [];
  for await (const chunk of readLog(source, { follow: true }, new AbortController().signal)) {
    got.push(chunk.toString());
    if (got.length === 1) appendFileSync(path, line(1, "second"));
    else if (got.length === 2) {
      appendFileSync(path, line(2, "last of the old"));
      renameSync(path, `${path}.1`);
      writeFileSync(path, line(3, "new file"));
    } else if (got.at(-1)!.includes("new file")) {
      running = false;
      changed();
    }
  }
  expect(got.join("")).toBe("first\nsecond\nlast of the old\nnew file\n");
});

test("a follower sees what was written between its last read and a rotation", async () => {
  writeFileSync(path, line(0, "first"));
  const gone = new AbortController();
  let rotate = false;
  const source = {
    // It is asked for when all is read, to see whether the file is still the one.
    get path() {
      if (rotate) {
        rotate = false;
        appendFileSync(path, line(1, "last of the old"));
        renameSync(path, `${path}.1`);
        writeFileSync(path, line(2, "new file"));
      }
      return path;
    },
    running: () => true,
    onChange: () => () => {},
  };
  let text = "";
  for await (const chunk of readLog(source, { follow: true }, gone.signal)) {
    text += chunk.toString();
    if (text === "first\n") rotate = true;
    if (text.endsWith("new file\n")) gone.abort();
  }
  expect(text).toBe("first\nlast of the old\nnew file\n");
});

test("a follower sees what comes right after something else", async () => {
  writeFileSync(path, "");
  const gone = new AbortController();
  let seen = "";
  let more = Promise.withResolvers<void>();
  const reading = (async () => {
    for await (const chunk of readLog({ path, running: () => true, onChange: () => () => {} }, { follow: true }, gone.signal)) {
      seen += chunk.toString();
      more.resolve();
    }
  })();
  for (let i = 0; i < 20; i++) {
    appendFileSync(path, line(0, `first ${i}`));
    while (!seen.includes(`first ${i}`)) {
      await more.promise;
      more = Promise.withResolvers();
    }
    appendFileSync(path, line(0, `second ${i}`));
    while (!seen.includes(`second ${i}`)) {
      await more.promise;
      more = Promise.withResolvers();
    }
  }
  gone.abort();
  await reading;
});

test("a follower ends when its client goes", async () => {
  writeFileSync(path, "");
  const gone = new AbortController();
  const reading = (async () => {
    for await (const _ of readLog({ path, running: () => true, onChange: () => () => {} }, { follow: true }, gone.signal))
      throw new Error("nothing was written");
  })();
  gone.abort();
  await reading;
});

test("options are read as kubectl sends them, and bad ones refused", () => {
  const now = Date.UTC(2026, 0, 1);
  const parse = (q: string) => logOptions(new URLSearchParams(q), now);
  expect(parse("follow=true&tailLines=5&sinceSeconds=10&timestamps=true&previous=true")).toMatchObject({
    follow: true,
    tail: 5,
    since: now - 10_000,
    timestamps: true,
    previous: true,
  });
  expect(() => parse("tailLines=-1")).toThrow("invalid tailLines");
  expect(() => parse("sinceTime=yesterday")).toThrow("invalid sinceTime");
});

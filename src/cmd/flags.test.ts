import { describe, expect, test } from "bun:test";
import { bool, choice, duration, integer, list, parseFlags, text, UsageError, verbosity } from "./flags.ts";

const c = {
  name: "demo",
  flags: {
    port: integer("N", 1, "", [0, 65535]),
    on: bool(false, ""),
    name: text("NAME", "x", ""),
    mode: choice(["a", "b"], "a", ""),
    every: duration(0, ""),
    hosts: list("HOST,…", ["none"], ""),
    v: verbosity,
  },
  maxArguments: 1,
};

describe("parseFlags", () => {
  const rows: [args: string[], expected: Record<string, unknown>][] = [
    [[], { port: 1, on: false, name: "x", mode: "a", hosts: ["none"], v: 0 }],
    [["--port", "8", "--on"], { port: 8, on: true }],
    [["--port=8", "--on=false", "--name="], { port: 8, on: false, name: "" }],
    [["-v", "3"], { v: 3 }],
    [["-v=3"], { v: 3 }],
    [["--v=4"], { v: 4 }],
    [["-v", "--on"], { v: 1, on: true }],
    [["-v"], { v: 1 }],
    [["--every=1m30s"], { every: 90_000 }],
    [["--hosts=a,b", "--hosts", "c"], { hosts: ["a", "b", "c"] }],
  ];
  for (const [args, expected] of rows) {
    test(`takes ${args.join(" ") || "nothing"}`, () => {
      expect(parseFlags(c, args).values).toMatchObject(expected);
    });
  }

  const bad: [args: string[], says: string][] = [
    [["--nope"], "unknown flag: --nope"],
    [["-x"], "unknown shorthand flag: -x"],
    [["--port"], "flag needs an argument: --port"],
    [["--port=abc"], 'invalid value "abc" for flag --port: must be a whole number from 0 to 65535'],
    [["--on=maybe"], 'invalid value "maybe" for flag --on: must be true or false'],
    [["--mode=c"], 'invalid value "c" for flag --mode: must be one of a, b'],
    [["--every=5"], "must be a duration such as"],
    [["one", "two"], 'unexpected argument "two"'],
  ];
  for (const [args, says] of bad) {
    test(`refuses ${args.join(" ")}`, () => {
      expect(() => parseFlags(c, args)).toThrow(UsageError);
      expect(() => parseFlags(c, args)).toThrow(says);
    });
  }

  test("keeps what stands after -- as arguments", () => {
    expect(parseFlags(c, ["--on", "--", "--port"]).args).toEqual(["--port"]);
  });
});

import { expect, test } from "bun:test";
import { normalise, parseReference } from "./reference.ts";

const hex = "a".repeat(64);
const cases: [string, string][] = [
  ["busybox", "docker.io/library/busybox:latest"],
  ["busybox:1.36", "docker.io/library/busybox:1.36"],
  ["user/app", "docker.io/user/app:latest"],
  ["docker.io/busybox", "docker.io/library/busybox:latest"],
  ["index.docker.io/busybox", "docker.io/library/busybox:latest"],
  ["localhost/app", "localhost/app:latest"],
  ["localhost:5000/app:2", "localhost:5000/app:2"],
  ["example.com/pause:3.10", "example.com/pause:3.10"],
  ["kubun.dev/bun", "kubun.dev/bun:latest"],
  [`busybox@sha256:${hex}`, `docker.io/library/busybox@sha256:${hex}`],
  [`a.b/c/d:e@sha256:${hex}`, `a.b/c/d:e@sha256:${hex}`],
  [hex, `sha256:${hex}`],
];

test.each(cases)("%s is %s", (text, full) => {
  expect(normalise(text)).toBe(full);
});

test("normalising is done after one time", () => {
  for (const [text] of cases) expect(normalise(normalise(text))).toBe(normalise(text));
});

test.each(["", "Foo", "a b", "a:", ":a", "a@sha256:1", "a/../b", "-/b", "a//b", "http://a/b"])("%j is refused", (text) => {
  expect(() => parseReference(text)).toThrow("invalid reference format");
});

test("capitals are pointed out", () => {
  expect(() => parseReference("Foo")).toThrow("repository name (library/Foo) must be lowercase");
});

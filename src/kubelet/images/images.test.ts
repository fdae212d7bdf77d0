import { describe, expect, test } from "bun:test";
import { choose } from "./collector.ts";
import { credentialsFor, dockerConfig } from "./credentials.ts";
import { goDuration, withDefaultTag } from "./manager.ts";

describe("image names", () => {
  const cases: [string, string][] = [
    ["busybox", "busybox:latest"],
    ["busybox:1", "busybox:1"],
    ["registry:5000/a/b", "registry:5000/a/b:latest"],
    ["a@sha256:00", "a@sha256:00"],
    ["kubun.dev/bun", "kubun.dev/bun:latest"],
  ];
  for (const [name, expected] of cases) test(`${name} is ${expected}`, () => expect(withDefaultTag(name)).toBe(expected));
  test("what is no name is refused", () => {
    for (const name of ["", " x", "a/B:1", "-x"]) expect(() => withDefaultTag(name)).toThrow("couldn't parse image name");
  });
});

describe("credentials", () => {
  const auth = (user: string) => ({ auth: Buffer.from(`${user}:p:w`).toString("base64") });
  const users = (image: string, registries: string[]) =>
    credentialsFor(image, [Object.fromEntries(registries.map((r) => [r, auth(r.replace(":", "_"))]))]).map((a) => a.username);

  test("fit by host, port and path, the most specific first", () => {
    expect(
      users("reg.example.com/team/app:1", ["reg.example.com", "reg.example.com/team", "reg.example.com/other", "example.com"]),
    ).toEqual(["reg.example.com/team", "reg.example.com"]);
    expect(users("reg.example.com:5000/app", ["reg.example.com", "reg.example.com:5000"])).toEqual(["reg.example.com_5000"]);
  });
  test("fit by globs over one label", () => {
    expect(users("a.example.com/app", ["*.example.com"])).toEqual(["*.example.com"]);
    expect(users("a.b.example.com/app", ["*.example.com"])).toEqual([]);
  });
  test("of Docker Hub fit images without a registry", () => expect(users("library/app", ["https://index.docker.io/v1/"]).length).toBe(1));
  test("keep colons in passwords", () =>
    expect(credentialsFor("r.io/a", [{ "r.io": auth("u") }])[0]).toMatchObject({ username: "u", password: "p:w" }));
  test("come from both kinds of secret, and say which is malformed", () => {
    const data = (key: string, text: string) => ({ [key]: Buffer.from(text).toString("base64") });
    const secret = (type: string, d: Record<string, string>) => ({ metadata: { namespace: "n", name: "s" }, type, data: d });
    expect(dockerConfig(secret("kubernetes.io/dockerconfigjson", data(".dockerconfigjson", '{"auths":{"r.io":{}}}')))).toEqual({
      "r.io": {},
    });
    expect(dockerConfig(secret("kubernetes.io/dockercfg", data(".dockercfg", '{"r.io":{}}')))).toEqual({ "r.io": {} });
    expect(() => dockerConfig(secret("kubernetes.io/dockercfg", data(".dockercfg", "{")))).toThrow("secret n/s: .dockercfg is not JSON");
  });
});

test("durations read as Go prints them", () => {
  expect([5, 1500, 10_000, 80_000, 300_000, 3_661_000].map(goDuration)).toEqual(["5ms", "1.5s", "10s", "1m20s", "5m0s", "1h1m1s"]);
});

test("images are collected least lately used first, the young ones not", () => {
  const now = 1_000_000;
  const candidates = [
    { id: "young", size: 100, used: now - 1000 },
    { id: "old", size: 10, used: 0 },
    { id: "middle", size: 10, used: now - 500_000 },
  ];
  expect(choose(candidates, 5, now)).toEqual(["old"]);
  expect(choose(candidates, 1000, now)).toEqual(["old", "middle"]);
});

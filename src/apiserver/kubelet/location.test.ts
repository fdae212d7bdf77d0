import { describe, expect, test } from "bun:test";
import type * as core from "../../api/gen/core/v1.ts";
import { kubeletOrigin, type PodStream, podLocation } from "./location.ts";

const node = {
  metadata: { name: "n" },
  spec: {},
  status: {
    addresses: [
      { type: "Hostname", address: "n" },
      { type: "InternalIP", address: "10.0.0.1" },
    ],
    daemonEndpoints: { kubeletEndpoint: { Port: 1234 } },
  },
} as core.Node;
const pod = (...containers: string[]): core.Pod =>
  ({ metadata: { name: "p", namespace: "ns" }, spec: { containers: containers.map((name) => ({ name })) } }) as core.Pod;
const at = (kind: PodStream, query: string, p = pod("a"), n: core.Node | undefined = node) =>
  podLocation(kind, p, n, new URLSearchParams(query))?.path;

test("a node is reached at its internal address and the port that it reports", () => {
  expect(kubeletOrigin(node)).toBe("https://10.0.0.1:1234");
  expect(() => kubeletOrigin({ metadata: {}, spec: {}, status: {} })).toThrow("no preferred addresses found");
});

describe("podLocation", () => {
  const rows: [kind: PodStream, query: string, path: string][] = [
    ["log", "", "/containerLogs/ns/p/a"],
    ["log", "follow=true&tailLines=0&container=a", "/containerLogs/ns/p/a?follow=true&tailLines=0"],
    ["exec", "command=sh&command=-c&stdin=true&stdout=true", "/exec/ns/p/a?input=1&output=1&command=sh&command=-c"],
    ["attach", "stdout=true&tty=true&stderr=false", "/attach/ns/p/a?output=1&tty=1"],
    ["portforward", "ports=80&ports=81", "/portForward/ns/p?port=80&port=81"],
  ];
  for (const [kind, query, path] of rows) test(`${kind} ${query}`, () => expect(at(kind, query)).toBe(path));

  const bad: [kind: PodStream, query: string, p: core.Pod, says: string][] = [
    ["log", "", pod("a", "b"), "a container name must be specified for pod p, choose one of: [a b]"],
    ["log", "container=z", pod("a"), "container z is not valid for pod p"],
    ["log", "tailLines=-1", pod("a"), "tailLines: Invalid value: -1: must be greater than or equal to 0"],
    ["exec", "stdout=true", pod("a"), "command is required"],
    ["exec", "command=x", pod("a"), "you must specify at least 1 of stdin, stdout, stderr"],
  ];
  for (const [kind, query, p, says] of bad) test(`refuses ${kind} ${query}`, () => expect(() => at(kind, query, p)).toThrow(says));

  test("a pod without a node has an empty log, and nothing to attach to", () => {
    expect(podLocation("log", pod("a"), undefined, new URLSearchParams())).toBeUndefined();
    expect(() => podLocation("exec", pod("a"), undefined, new URLSearchParams("command=x&stdout=1"))).toThrow(
      "pod p does not have a host assigned",
    );
  });
});

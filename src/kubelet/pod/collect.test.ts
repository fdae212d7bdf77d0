import { expect, test } from "bun:test";
import { container, exited, runtimePod, sandbox } from "../testing/pods.ts";
import { superfluous } from "./collect.ts";

test("of each name the newest container and the one before it stay, with their sandboxes", () => {
  const rt = runtimePod(
    [sandbox({ id: "s2" }), sandbox({ id: "s1", ready: false }), sandbox({ id: "s0", ready: false })],
    [
      container("a", { id: "a3", sandboxId: "s2" }),
      exited("a", 1, { id: "a2", sandboxId: "s1" }),
      exited("a", 1, { id: "a1" }),
      exited("a", 1, { id: "a0" }),
    ],
  );
  expect(superfluous(rt)).toEqual({ containers: ["a1", "a0"], sandboxes: ["s0"] });
});

test("nothing that runs is superfluous", () => {
  const rt = runtimePod([sandbox()], [container("a", { id: "a2" }), container("a", { id: "a1" }), container("a", { id: "a0" })]);
  expect(superfluous(rt)).toEqual({ containers: [], sandboxes: [] });
});

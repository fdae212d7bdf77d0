import type { TestNode, TestRuntime } from "../node.ts";

/** What the tests of a suite are about. */
export interface Subject {
  node: TestNode;
  runtime: TestRuntime;
}

/** A container's command that ends when it is told to. */
export const forever = "trap 'exit 0' TERM; while true; do sleep 0.05; done";

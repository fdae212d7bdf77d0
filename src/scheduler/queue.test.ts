import { describe, expect, test } from "bun:test";
import { Columns } from "./columns.ts";
import type { Plugin } from "./hints.ts";
import { podInfo } from "./pod-info.ts";
import { SchedulingQueue } from "./queue.ts";
import { node, pod } from "./testing.ts";

const columns = new Columns();
const info = (name: string, priority = 0) => podInfo(pod(name, { requests: { cpu: "2" }, spec: { priority } }), columns);
const because = (...plugins: Plugin[]) => new Set(plugins);

describe("SchedulingQueue", () => {
  test("gives pods by priority, then by age", () => {
    const q = new SchedulingQueue();
    q.add(info("old"), 0);
    q.add(info("young"), 1);
    q.add(info("important", 10), 2);
    expect([q.pop(3), q.pop(3), q.pop(3), q.pop(3)].map((p) => p?.info.pod.metadata.name)).toEqual([
      "important",
      "old",
      "young",
      undefined,
    ]);
  });

  test("doubles the backoff of a failing pod from one second to ten", () => {
    const q = new SchedulingQueue();
    q.add(info("p"), 0);
    let now = 0;
    const waits: number[] = [];
    for (let i = 0; i < 6; i++) {
      const p = q.pop(now)!;
      q.fail(p.key, now);
      waits.push(q.due()! - now);
      expect(q.pop(q.due()! - 1)).toBeUndefined();
      now = q.due()!;
    }
    expect(waits).toEqual([1000, 2000, 4000, 8000, 10_000, 10_000]);
  });

  test("wakes an unschedulable pod only for events that may help it", () => {
    const q = new SchedulingQueue();
    q.add(info("p"), 0);
    q.reject(q.pop(0)!.key, because("NodeResourcesFit"), 0);
    expect(q.event({ resource: "node", change: "added", node: node("small", { cpu: "1" }) }, 1)).toBe(false);
    expect(q.event({ resource: "node", change: "taints", node: node("a"), before: node("a") }, 1)).toBe(false);
    expect(q.event({ resource: "node", change: "added", node: node("big", { cpu: "4" }) }, 1)).toBe(true);
    expect(q.pop(1)?.key).toBe("default/p");
  });

  test("counts an event that came while the pod was being tried", () => {
    const q = new SchedulingQueue();
    q.add(info("p"), 0);
    const p = q.pop(0)!;
    q.event({ resource: "pod", change: "removed", pod: pod("gone") }, 1);
    q.reject(p.key, because("NodeResourcesFit"), 1);
    expect(q.counts).toEqual({ active: 0, backoff: 1, unschedulable: 0, gated: 0 });
  });

  test("tries an unschedulable pod again after five minutes in any case", () => {
    const q = new SchedulingQueue();
    q.add(info("p"), 0);
    q.reject(q.pop(0)!.key, because("NodeAffinity"), 0);
    expect(q.due()).toBe(300_000);
    expect(q.pop(299_999)).toBeUndefined();
    expect(q.pop(300_000)?.key).toBe("default/p");
  });

  test("forgets a pod wherever it is", () => {
    const q = new SchedulingQueue();
    for (const name of ["a", "b", "c", "d"]) q.add(info(name), 0);
    q.fail(q.pop(0)!.key, 0);
    q.reject(q.pop(0)!.key, because("NodeAffinity"), 0);
    q.pop(0);
    for (const name of ["a", "b", "c", "d"]) q.remove(`default/${name}`);
    expect(q.due()).toBeUndefined();
    expect(q.pop(1e9)).toBeUndefined();
  });
});

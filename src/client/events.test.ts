import { expect, test } from "bun:test";
import type * as coreV1 from "../api/gen/core/v1.ts";
import type * as eventsV1 from "../api/gen/events/v1.ts";
import { MemoryApi } from "../testing/memory-api.ts";
import { SimulatedClock } from "./clock.ts";
import { EventRecorder, SeriesRecorder } from "./events.ts";
import { coreEvents, events, resource } from "./resources.ts";

const pod = { kind: "Pod", namespace: "default", name: "web", uid: "u1", apiVersion: "v1" };

test("what repeats is counted, and what differs is an event of its own", async () => {
  const clock = new SimulatedClock();
  const api = new MemoryApi(clock);
  const r = new EventRecorder(api, { component: "kubelet", host: "node-1", clock });
  for (let i = 0; i < 3; i++) {
    r.event(pod, "Warning", "BackOff", "Back-off restarting failed container");
    clock.advance(10_000);
  }
  r.event(pod, "Normal", "Pulled", "Image is there");
  await r.flush();
  const all = (await resource(api, coreEvents, "default").list()).items;
  expect(all.map((e: coreV1.Event) => [e.reason, e.count, e.source, e.type])).toEqual([
    ["BackOff", 3, { component: "kubelet", host: "node-1" }, "Warning"],
    ["Pulled", 1, { component: "kubelet", host: "node-1" }, "Normal"],
  ]);
  expect(all[0]).toMatchObject({ firstTimestamp: "2026-01-01T00:00:00Z", lastTimestamp: "2026-01-01T00:00:20Z" });
  expect(all[0]!.metadata.name).toMatch(/^web\.[0-9a-f]{16}$/);
});

test("many different messages of one reason become one event, and one object can't flood the apiserver", async () => {
  const clock = new SimulatedClock();
  const api = new MemoryApi(clock);
  const r = new EventRecorder(api, { component: "c", clock });
  for (let i = 0; i < 40; i++) r.event(pod, "Normal", "Scaled", `to ${i}`);
  await r.flush();
  const all = (await resource(api, coreEvents, "default").list()).items;
  expect(all.length).toBe(11);
  expect(all.at(-1)).toMatchObject({ message: "(combined from similar events): to 24", count: 15 });
});

test("an event that was deleted is written anew", async () => {
  const api = new MemoryApi();
  const r = new EventRecorder(api, { component: "c" });
  r.event(pod, "Normal", "A", "a");
  await r.flush();
  const list = () => resource(api, coreEvents, "default").list();
  await resource(api, coreEvents, "default").delete((await list()).items[0]!.metadata.name!);
  r.event(pod, "Normal", "A", "a");
  await r.flush();
  expect((await list()).items.map((e) => e.count)).toEqual([1]);
});

test("in events.k8s.io/v1 repetition is a series, which ends after six minutes", async () => {
  const clock = new SimulatedClock();
  const api = new MemoryApi(clock);
  const r = new SeriesRecorder(api, { component: "default-scheduler", host: "default-scheduler-h", clock });
  const failed = () => r.event(pod, "Warning", "FailedScheduling", "0/1 nodes are available", { action: "Scheduling" });
  failed();
  clock.advance(60_000);
  failed();
  clock.advance(400_000);
  failed();
  await r.flush();
  const all = (await resource(api, events, "default").list()).items as eventsV1.Event[];
  expect(all.map((e) => e.series)).toEqual([{ count: 2, lastObservedTime: "2026-01-01T00:01:00.000000Z" }, undefined]);
  expect(all[0]).toMatchObject({ regarding: pod, action: "Scheduling", reportingController: "default-scheduler", type: "Warning" });
});

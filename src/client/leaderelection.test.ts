import { expect, test } from "bun:test";
import type * as coordinationV1 from "../api/gen/coordination/v1.ts";
import { internalError } from "../api/status.ts";
import { MemoryApi } from "../testing/memory-api.ts";
import { SimulatedClock } from "./clock.ts";
import { LeaderElector } from "./leaderelection.ts";
import { leases, resource } from "./resources.ts";

const quiet = { info() {}, warn() {}, error() {} };
const settle = async () => {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
};

function candidate(api: MemoryApi, clock: SimulatedClock, identity: string, log: string[]) {
  const stop = new AbortController();
  const elector = new LeaderElector(api, {
    namespace: "kube-system",
    name: "lock",
    identity,
    clock,
    log: quiet,
    onStartedLeading: () => log.push(`${identity} leads`),
    onStoppedLeading: () => log.push(`${identity} stopped`),
  });
  return { run: elector.run(stop.signal), stop: () => stop.abort() };
}

async function pass(clock: SimulatedClock, seconds: number): Promise<void> {
  for (let i = 0; i < seconds * 2; i++) {
    clock.advance(500);
    await settle();
  }
}

const lease = (api: MemoryApi) => resource<coordinationV1.Lease>(api, leases, "kube-system").get("lock");

test("one of two leads, and the other follows at once when it lets go", async () => {
  const clock = new SimulatedClock();
  const api = new MemoryApi(clock);
  const log: string[] = [];
  const a = candidate(api, clock, "a", log);
  await settle();
  const b = candidate(api, clock, "b", log);
  await pass(clock, 60);
  expect(log).toEqual(["a leads"]);
  expect((await lease(api)).spec).toMatchObject({ holderIdentity: "a", leaseDurationSeconds: 15, leaseTransitions: 0 });
  a.stop();
  await settle();
  expect((await lease(api)).spec.holderIdentity).toBe("");
  await pass(clock, 5);
  expect(log).toEqual(["a leads", "a stopped", "b leads"]);
  expect((await lease(api)).spec).toMatchObject({ holderIdentity: "b", leaseTransitions: 1 });
  b.stop();
  await settle();
  await Promise.all([a.run, b.run]);
});

test("a leader that can't renew stops before another may take over", async () => {
  const clock = new SimulatedClock();
  const api = new MemoryApi(clock);
  const log: string[] = [];
  const a = candidate(api, clock, "a", log);
  await settle();
  const begin = clock.now();
  const b = candidate(api, clock, "b", log);
  await pass(clock, 4);
  let stoppedAt = 0;
  api.refuse = (verb, _, object) => {
    if (verb === "update" && (object as coordinationV1.Lease).spec.holderIdentity === "a") throw internalError("cut off");
  };
  for (let i = 0; i < 60 && log.length < 3; i++) {
    await pass(clock, 0.5);
    if (log.includes("a stopped") && !stoppedAt) stoppedAt = clock.now() - begin;
  }
  expect(log).toEqual(["a leads", "a stopped", "b leads"]);
  expect(stoppedAt).toBeLessThan(15_000);
  b.stop();
  await settle();
  await Promise.all([a.run, b.run]);
});

test("periods that do not nest are refused", () => {
  const options = { namespace: "n", name: "l", identity: "i", onStartedLeading() {}, onStoppedLeading() {} };
  expect(() => new LeaderElector(new MemoryApi(), { ...options, leaseDuration: 10_000, renewDeadline: 10_000 })).toThrow(RangeError);
  expect(() => new LeaderElector(new MemoryApi(), { ...options, renewDeadline: 2_000, retryPeriod: 2_000 })).toThrow(RangeError);
});

import { describe, expect, test } from "bun:test";
import type * as batchV1 from "../../api/gen/batch/v1.ts";
import type { Plan } from "../framework/write.ts";
import { reconcileCronJob } from "./core.ts";
import { CronSchedule } from "./schedule.ts";

const at = (text: string) => Date.parse(text);

describe("a schedule's next time", () => {
  const cases: [schedule: string, after: string, next: string | undefined, zone?: string][] = [
    ["*/15 * * * *", "2026-01-01T00:00:30Z", "2026-01-01T00:15:00Z"],
    ["* * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"],
    ["0 9-17/4 * * mon-fri", "2026-01-02T17:00:00Z", "2026-01-05T09:00:00Z"],
    ["30 3 1,15 * *", "2026-01-15T03:30:00Z", "2026-02-01T03:30:00Z"],
    ["0 0 13 * fri", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"],
    ["0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"],
    ["0 0 30 2 *", "2026-01-01T00:00:00Z", undefined],
    ["5/20 * * * *", "2026-01-01T00:30:00Z", "2026-01-01T00:45:00Z"],
    ["@hourly", "2026-01-01T05:59:59Z", "2026-01-01T06:00:00Z"],
    ["@yearly", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"],
    ["@every 1h30m", "2026-01-01T00:00:10Z", "2026-01-01T01:30:10Z"],
    ["0 8 * * *", "2026-01-01T00:00:00Z", "2026-01-01T07:00:00Z", "Europe/Berlin"],
    ["0 8 * * *", "2026-07-01T00:00:00Z", "2026-07-01T06:00:00Z", "Europe/Berlin"],
    // The clock jumps from 02:00 to 03:00 on that day.
    ["30 2 * * *", "2026-03-28T12:00:00Z", "2026-03-30T00:30:00Z", "Europe/Berlin"],
    // The day has 25 hours.
    ["0 0 26 10 *", "2026-10-25T00:00:00Z", "2026-10-25T23:00:00Z", "Europe/Berlin"],
    // Midnight itself does not exist on that day.
    ["30 1 * * sun", "2024-09-07T12:00:00Z", "2024-09-08T04:30:00Z", "America/Santiago"],
  ];
  for (const [schedule, after, next, zone] of cases)
    test(`${schedule} ${zone ?? ""} after ${after}`, () => {
      const found = new CronSchedule(schedule, zone).next(at(after));
      expect(found && new Date(found).toISOString()).toBe(next && new Date(next).toISOString());
    });
});

test("a schedule that makes no sense is refused", () => {
  for (const bad of [
    "* * * *",
    "60 * * * *",
    "* * * * 8",
    "a * * * *",
    "5-1 * * * *",
    "*/0 * * * *",
    "@every",
    "* * 0 * *",
    "* * * * 7",
    "* * L * *",
    "jan * * * *",
  ])
    expect(() => new CronSchedule(bad)).toThrow(RangeError);
  expect(() => new CronSchedule("* * * * *", "Mars/Olympus")).toThrow(RangeError);
});

const cron = (spec: Partial<batchV1.CronJobSpec> = {}, status: batchV1.CronJobStatus = {}): batchV1.CronJob => ({
  metadata: { name: "c", namespace: "default", uid: "c", creationTimestamp: "2026-01-01T00:00:00Z" },
  spec: { schedule: "0 * * * *", jobTemplate: { spec: { template: {} } }, ...spec },
  status,
});
const job = (name: string, state?: "Complete" | "Failed", startTime = "2026-01-01T00:00:00Z"): batchV1.Job => ({
  metadata: { name, uid: name, namespace: "default" },
  spec: { template: {} },
  status: { startTime, ...(state ? { conditions: [{ type: state, status: "True" }], completionTime: "2026-01-01T00:30:00Z" } : {}) },
});
const said = (plan: Plan) =>
  plan.writes.map((w) =>
    w.op === "event"
      ? w.reason
      : w.op === "create" || w.op === "update"
        ? `${w.op} ${w.object.metadata.name}`
        : `${w.op} ${w.on.metadata.name}`,
  );

test("at its time a CronJob makes a Job that is named by it, once", () => {
  const now = at("2026-01-01T01:00:05Z");
  const plan = reconcileCronJob(cron(), [], now);
  expect(said(plan)).toEqual([`create c-${at("2026-01-01T01:00:00Z") / 60_000}`, "SuccessfulCreate", "update c"]);
  expect(plan.requeueAfter).toBe(3_595_100);
  const after = cron({}, { lastScheduleTime: "2026-01-01T01:00:00Z" });
  expect(said(reconcileCronJob(after, [], now))).toEqual([]);
});

test("what runs already decides by policy", () => {
  const now = at("2026-01-01T01:00:05Z");
  const status = { active: [{ kind: "Job", namespace: "default", name: "old", uid: "old", apiVersion: "batch/v1" }] };
  expect(said(reconcileCronJob(cron({ concurrencyPolicy: "Forbid" }, status), [job("old")], now))).toEqual(["JobAlreadyActive"]);
  expect(said(reconcileCronJob(cron({ concurrencyPolicy: "Replace" }, status), [job("old")], now)).slice(0, 2)).toEqual([
    "delete old",
    "SuccessfulDelete",
  ]);
});

test("a start that is too late is missed, and a suspended CronJob makes none", () => {
  const late = at("2026-01-01T01:10:00Z");
  expect(said(reconcileCronJob(cron({ startingDeadlineSeconds: 60 }), [], late))).toEqual([]);
  expect(said(reconcileCronJob(cron({ suspend: true }), [], late))).toEqual([]);
  expect(said(reconcileCronJob(cron({ schedule: "x" }), [], late))).toEqual(["UnparseableSchedule"]);
});

test("finished Jobs are noted, and the oldest beyond the limits deleted", () => {
  const done = [1, 2, 3, 4].map((n) => job(`ok-${n}`, "Complete", `2026-01-01T00:0${n}:00Z`));
  const failed = [1, 2].map((n) => job(`bad-${n}`, "Failed", `2026-01-01T00:0${n}:00Z`));
  const status = {
    active: [{ kind: "Job", name: "ok-4", namespace: "default", uid: "ok-4", apiVersion: "batch/v1" }],
    lastScheduleTime: "2026-01-01T00:00:00Z",
  };
  const plan = reconcileCronJob(cron({}, status), [...done, ...failed], at("2026-01-01T00:40:00Z"));
  expect(said(plan)).toEqual(["SawCompletedJob", "delete ok-1", "SuccessfulDelete", "delete bad-1", "SuccessfulDelete", "update c"]);
  const last = plan.writes.at(-1) as unknown as { object: batchV1.CronJob };
  expect(last.object.status).toMatchObject({ lastSuccessfulTime: "2026-01-01T00:30:00Z" });
  expect(last.object.status?.active).toBeUndefined();
});

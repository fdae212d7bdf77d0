import { expect, test } from "bun:test";
import { ErrorCode, Http2Error } from "./errors.ts";
import { type ConnectionLimits, Patrol } from "./patrol.ts";
import { PingGuard, type PingPolicy } from "./pings.ts";

/** A connection that writes down what is done to it, and a clock. */
function scene(limits: ConnectionLimits) {
  let now = 0;
  const done: string[] = [];
  const connection = {
    ended: false,
    greeted: true,
    streams: 1,
    latest: 1,
    backlog: 0,
    progress: 0,
    drain: () => void done.push("drain"),
    close: ({ message }: Http2Error) => void done.push(`close: ${message}`),
  };
  const patrol = new Patrol(
    limits,
    () => now,
    () => 0.5,
  );
  const guarded = { connection, terminate: () => void done.push("terminate") };
  patrol.watch(guarded);
  return {
    connection,
    /** What is done to it when so much time has passed. */
    after(ms: number) {
      now += ms;
      patrol.sweep();
      return done.splice(0);
    },
  };
}

test("who says nothing for two minutes is cut off", () => {
  const { connection, after } = scene({});
  connection.greeted = false;
  expect(after(119_999)).toEqual([]);
  expect(after(1)).toEqual(["close: no request within the time for a handshake (ENHANCE_YOUR_CALM)", "terminate"]);
});

test("idleness counts from the last stream, and one drain is enough", () => {
  const { connection, after } = scene({ maxIdle: 1000 });
  expect(after(5000)).toEqual([]);
  connection.streams = 0;
  expect(after(999)).toEqual([]);
  expect(after(1)).toEqual(["drain"]);
  expect(after(10_000)).toEqual([]);
});

test("a connection is not idle whose requests are all over before anybody looks", () => {
  const { connection, after } = scene({ maxIdle: 1000 });
  connection.streams = 0;
  for (let i = 0; i < 5; i++) {
    connection.latest += 2;
    expect(after(999)).toEqual([]);
  }
  expect(after(999)).toEqual([]);
  expect(after(1)).toEqual(["drain"]);
});

test("age drains, and a grace later cuts off", () => {
  const { after } = scene({ maxAge: 1000, maxAgeGrace: 500 });
  expect(after(999)).toEqual([]);
  expect(after(1)).toEqual(["drain"]);
  expect(after(499)).toEqual([]);
  expect(after(1)).toEqual(["close: the connection has reached its age (ENHANCE_YOUR_CALM)", "terminate"]);
});

test("a large backlog is cut off only while nothing of it is taken", () => {
  const { connection, after } = scene({});
  connection.backlog = 20 * 1024 * 1024;
  for (let i = 1; i < 5; i++) {
    connection.progress = i;
    expect(after(59_000)).toEqual([]);
  }
  expect(after(60_000)).toEqual(["close: the peer does not take its answers (ENHANCE_YOUR_CALM)", "terminate"]);
});

test("a connection that has ended has five seconds to take the last frames", () => {
  const { connection, after } = scene({});
  connection.ended = true;
  expect(after(1)).toEqual([]);
  expect(after(4999)).toEqual([]);
  expect(after(1)).toEqual(["terminate"]);
});

test("pings: grpc-go's policy", () => {
  /** How many of the pings are taken, so many milliseconds apart. */
  const taken = (policy: PingPolicy, apart: number, streams: number, answers = false) => {
    const guard = new PingGuard(policy);
    for (let i = 0; i < 100; i++) {
      try {
        guard.ping(i * apart, streams, answers ? i + 1 : 0);
      } catch (error) {
        expect([(error as Http2Error).code, error instanceof Http2Error]).toEqual([ErrorCode.ENHANCE_YOUR_CALM, true]);
        return i;
      }
    }
    return 100;
  };
  // The first is free, and two strikes are.
  expect(taken({}, 299_999, 1)).toBe(3);
  expect(taken({}, 300_000, 1)).toBe(100);
  expect(taken({ minInterval: 5000 }, 4999, 1)).toBe(3);
  expect(taken({ minInterval: 5000 }, 5000, 1)).toBe(100);
  expect(taken({ minInterval: 5000 }, 5000, 0)).toBe(3);
  expect(taken({ minInterval: 5000, withoutStreams: true }, 5000, 0)).toBe(100);
  // Between answers a client may measure as often as it likes.
  expect(taken({}, 1, 1, true)).toBe(100);
});

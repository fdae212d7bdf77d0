import { expect, test } from "bun:test";
import { setLogWriter } from "../../platform/log.ts";
import { freePorts } from "../../testing/ports.ts";
import { until } from "../testing/members.ts";
import { PeerLink } from "./link.ts";

test("a member that none of its URLs leads to is told of once for each, and not with every attempt", async () => {
  const urls = freePorts(2).map((port) => `http://127.0.0.1:${port}`);
  const lines: string[] = [];
  const restore = setLogWriter((line) => lines.push(line));
  let unreachable = 0;
  const link = new PeerLink({
    ...{ id: 2n, urls, headers: {}, tls: undefined, silence: 100 },
    unreachable: () => unreachable++,
    refused: () => {},
    roundTrip: () => {},
  });
  try {
    await until("attempts at both", () => {
      link.send({ type: "heartbeat", from: 1n, to: 2n, term: 1, commit: 0, context: 0 } as never);
      return unreachable >= 6;
    });
  } finally {
    link.close();
    restore();
  }
  const hosts = urls.map((url) => new URL(url).host);
  // Links of other tests may have something to tell, too.
  const told = lines.filter((line) => line.includes("can't be reached") && hosts.some((host) => line.includes(host)));
  expect(told.length).toBe(2);
  for (const host of hosts) expect(told.some((line) => line.includes(`connection to ${host} failed`))).toBe(true);
});

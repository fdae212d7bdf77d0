import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { freePorts } from "./ports.ts";

test("free ports are different ones, can be listened on, and are none of the kernel's own choice", () => {
  const ports = [...freePorts(200), ...freePorts(200)];
  expect(new Set(ports).size).toBe(400);
  const ephemeral = Number(readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "utf8").split(/\s+/)[0]);
  expect(ports.filter((port) => port >= ephemeral)).toEqual([]);
  const [port] = freePorts(1);
  const listener = Bun.listen({ hostname: "127.0.0.1", port: port!, socket: { data() {} } });
  expect(listener.port).toBe(port!);
  listener.stop(true);
});

import { afterAll, afterEach, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import net from "node:net";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { detachAllUnder } from "./mount.ts";
import { connectLoopback, createNamespaces, inNamespace, linkCounters, linkUp, removeNamespace, setHostname, setSysctls } from "./netns.ts";

const root = process.getuid?.() === 0;
if (!root) console.log("skipped: namespaces need root");
const dir = mkdtempSync(join(tmpdir(), "kubun-netns-"));
afterEach(() => {
  if (root) detachAllUnder(dir);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

test.skipIf(!root)("a pinned namespace is visited, and the thread comes back to its own", () => {
  const pins = { net: join(dir, "net"), uts: join(dir, "uts"), ipc: join(dir, "ipc") };
  const before = readlinkSync("/proc/thread-self/ns/net");
  const host = hostname();
  createNamespaces(pins, () => {
    setHostname("inside");
    linkUp("lo");
    setSysctls({ "net.core.somaxconn": "77" });
  });
  expect(readlinkSync("/proc/thread-self/ns/net")).toBe(before);
  expect(hostname()).toBe(host);
  expect(inNamespace("uts", pins.uts, () => readFileSync("/proc/sys/kernel/hostname", "utf8"))).toBe("inside\n");
  expect(inNamespace("net", pins.net, () => readFileSync("/proc/sys/net/core/somaxconn", "utf8"))).toBe("77\n");
  expect(() =>
    inNamespace("net", pins.net, () => {
      throw new Error("from inside");
    }),
  ).toThrow("from inside");
  expect(readlinkSync("/proc/thread-self/ns/net")).toBe(before);
  expect(linkCounters(pins.net)).toEqual([]);
  for (const pin of Object.values(pins)) removeNamespace(pin);
  for (const pin of Object.values(pins)) removeNamespace(pin);
});

test.skipIf(!root)("a socket made inside a namespace reaches its loopback from outside", async () => {
  const pin = join(dir, "net2");
  createNamespaces({ net: pin }, () => linkUp("lo"));
  const server = Bun.spawn(
    [
      "nsenter",
      `--net=${pin}`,
      process.execPath,
      "-e",
      `
    const s = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data(c, d) { c.write(d); } } });
    console.log(s.port);`,
    ],
    { stdout: "pipe" },
  );
  const { value } = await server.stdout.getReader().read();
  const port = Number(Buffer.from(value!).toString());
  const socket = net.connect({ fd: await connectLoopback(pin, 4, port) } as unknown as net.NetConnectOpts);
  socket.write("hello");
  const echoed = await new Promise<string>((resolve, reject) => socket.once("data", (d) => resolve(d.toString())).once("error", reject));
  expect(echoed).toBe("hello");
  socket.destroy();
  await expect(connectLoopback(pin, 6, port)).rejects.toThrow("ECONNREFUSED");
  server.kill();
  await server.exited;
  removeNamespace(pin);
});

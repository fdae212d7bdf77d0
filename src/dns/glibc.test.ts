// glibc's resolver, as it is in a pod: a namespace, a search path, ndots:5.
import { expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";

const missing = process.getuid?.() !== 0 ? "needs root" : ["ip", "getent"].some((p) => !Bun.which(p)) ? "needs ip and getent" : undefined;
if (missing) console.log(`the test with glibc's resolver is skipped: ${missing}`);

const program = `
import { endpointSlices, namespaces, services } from "${import.meta.dir}/../client/resources.ts";
import { MemoryApi } from "${import.meta.dir}/../testing/memory-api.ts";
import { DnsServer } from "${import.meta.dir}/mod.ts";
import { service, slice } from "${import.meta.dir}/testing.ts";
const api = new MemoryApi();
await api.create(namespaces, { metadata: { name: "default" } });
const http = { name: "http", port: 80, protocol: "TCP" };
await api.create({ ...services, namespace: "default" }, service("web", { clusterIP: "10.96.0.10", ports: [http] }));
await api.create({ ...services, namespace: "default" }, service("db", { clusterIP: "None", ports: [http] }));
await api.create({ ...endpointSlices, namespace: "default" }, slice("db", [{ ip: "10.244.0.7" }, { ip: "10.244.0.8" }], [http]));
const server = new DnsServer({ transport: api, domain: "cluster.local", listen: [{ host: "127.0.0.1", port: 53 }], upstreams: [] });
await server.start();
console.log("up");
`;

test.skipIf(missing !== undefined)(
  "glibc finds services by their short names, headless ones with all addresses, and names by address",
  async () => {
    const space = `kbdns-${randomBytes(3).toString("hex")}`;
    const etc = `/etc/netns/${space}`;
    let server: Bun.Subprocess<"ignore", "pipe", "inherit"> | undefined;
    try {
      Bun.spawnSync(["ip", "netns", "add", space]);
      Bun.spawnSync(["ip", "-n", space, "link", "set", "lo", "up"]);
      // getaddrinfo asks for addresses of a family only where an interface besides loopback has one.
      Bun.spawnSync(["ip", "-n", space, "link", "add", "eth0", "type", "bridge"]);
      Bun.spawnSync(["ip", "-n", space, "addr", "add", "10.244.0.2/24", "dev", "eth0"]);
      Bun.spawnSync(["ip", "-n", space, "link", "set", "eth0", "up"]);
      mkdirSync(etc, { recursive: true });
      writeFileSync(
        `${etc}/resolv.conf`,
        "search default.svc.cluster.local svc.cluster.local cluster.local\nnameserver 127.0.0.1\noptions ndots:5\n",
      );
      writeFileSync(`${etc}/nsswitch.conf`, "hosts: dns\n");
      server = Bun.spawn(["ip", "netns", "exec", space, process.execPath, "-e", program], {
        stdin: "ignore",
        stdout: "pipe",
        stderr: "inherit",
      });
      await server.stdout.getReader().read();
      const getent = async (...args: string[]) => {
        const child = Bun.spawn(["ip", "netns", "exec", space, "getent", ...args], { stdout: "pipe" });
        return (await new Response(child.stdout).text())
          .trim()
          .split("\n")
          .map((l) => l.split(/\s+/).slice(0, 2).join(" "));
      };
      expect(await getent("ahostsv4", "web")).toContain("10.96.0.10 STREAM");
      expect(await getent("hosts", "web.default.svc")).toEqual(["10.96.0.10 web.default.svc.cluster.local"]);
      const all = (await getent("ahostsv4", "db.default")).filter((l) => l.endsWith("STREAM"));
      expect(all.sort()).toEqual(["10.244.0.7 STREAM", "10.244.0.8 STREAM"]);
      expect(await getent("hosts", "10.96.0.10")).toEqual(["10.96.0.10 web.default.svc.cluster.local"]);
      expect(await getent("hosts", "nope")).toEqual([""]);
    } finally {
      server?.kill("SIGKILL");
      await server?.exited;
      Bun.spawnSync(["ip", "netns", "del", space]);
      rmSync(etc, { recursive: true, force: true });
    }
  },
);

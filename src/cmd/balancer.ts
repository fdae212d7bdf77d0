// `kubun balancer`: one address for several apiservers of a cluster on this
// machine. `up --control-planes` runs it.
import { readFileSync } from "node:fs";
import { logger } from "../platform/log.ts";
import { Balancer } from "./cluster/balancer.ts";
import { componentRows, serveControl } from "./cluster/control.ts";
import { type FrontFile, frontFile, frontRunDir } from "./cluster/front.ts";
import { guard } from "./cluster/guard.ts";
import { partCommand } from "./part.ts";

const log = logger("balancer");

export default partCommand({
  name: "balancer",
  summary: "Runs the address in front of several control planes (used by up --control-planes)",
  index: [0, "always 0", [0, 0]],
  async start({ dir, cluster }) {
    const { listen, backends, restart } = JSON.parse(readFileSync(frontFile(cluster), "utf8")) as FrontFile;
    const ca = readFileSync(dir.file("pki/ca.crt"), "utf8");
    const balancer = new Balancer({
      listen,
      backends,
      async look({ host, port }, signal) {
        const response = await fetch(`https://${host}:${port}/readyz`, { signal, tls: { ca } });
        if (!response.ok) throw new Error(`${response.status}: ${(await response.text()).trim()}`);
        await response.arrayBuffer();
      },
    });
    await balancer.start();
    const control = serveControl(frontRunDir(cluster), () => componentRows([balancer], ""));
    const stop = new AbortController();
    const guarding =
      restart && guard(dir, restart, stop.signal).catch((error: unknown) => log.error("Nobody starts up again any more", error));
    return {
      server: balancer.address,
      async stop() {
        stop.abort();
        control.stop();
        await Promise.all([balancer.stop(), guarding]);
      },
    };
  },
});

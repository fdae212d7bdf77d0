// `kubun balancer`: one address for several apiservers of a cluster on this
// machine. `up --control-planes` runs it.
import { readFileSync } from "node:fs";
import { logger, setVerbosity } from "../platform/log.ts";
import { Balancer } from "./cluster/balancer.ts";
import { componentRows, serveControl } from "./cluster/control.ts";
import { type FrontFile, frontFile, frontRunDir } from "./cluster/front.ts";
import { guard } from "./cluster/guard.ts";
import { DetachedProgress } from "./cluster/progress.ts";
import { DataDir } from "./cluster/state.ts";
import { command, integer, text, UsageError, verbosity } from "./flags.ts";
import { untilSignal } from "./run-component.ts";

const log = logger("balancer");

export default command({
  name: "balancer",
  summary: "Runs the address in front of several control planes (used by up --control-planes)",
  flags: {
    "data-dir": text("DIR", ".kubun", "folder that holds all of the cluster's data"),
    index: integer("N", 0, "always 0", [0, 0]),
    v: verbosity,
  },
  async run(values) {
    setVerbosity(values.v);
    const ended = untilSignal();
    const progress = new DetachedProgress();
    const dir = new DataDir(values["data-dir"]);
    try {
      const cluster = dir.read();
      if (!cluster) throw new UsageError(`no cluster in ${dir.path}`);
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
      progress.send({ type: "ready", server: balancer.address, kubeconfig: "" });
      const stop = new AbortController();
      const guarding =
        restart && guard(dir, restart, stop.signal).catch((error: unknown) => log.error("Nobody starts up again any more", error));
      await ended;
      stop.abort();
      control.stop();
      await Promise.all([balancer.stop(), guarding]);
      return 0;
    } catch (e) {
      progress.send({ type: "failed", message: e instanceof Error ? e.message : String(e), usage: e instanceof UsageError });
      throw e;
    }
  },
});

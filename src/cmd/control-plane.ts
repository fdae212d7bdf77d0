// `kubun control-plane`: one of several control planes of a cluster on this
// machine. `up --control-planes` runs it inside the plane's network namespace.
import { readFileSync } from "node:fs";
import { setVerbosity } from "../platform/log.ts";
import { serveControl } from "./cluster/control.ts";
import { startPlane } from "./cluster/plane.ts";
import { type PlaneFile, planeFile, planeRunDir } from "./cluster/planes.ts";
import { DetachedProgress } from "./cluster/progress.ts";
import { DataDir } from "./cluster/state.ts";
import { command, integer, text, UsageError, verbosity } from "./flags.ts";
import { untilSignal } from "./run-component.ts";

export default command({
  name: "control-plane",
  summary: "Runs one of several control planes (used by up --control-planes)",
  flags: {
    "data-dir": text("DIR", ".kubun", "folder that holds all of the cluster's data"),
    index: integer("N", 0, "which control plane", [0, 6]),
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
      const plane = JSON.parse(readFileSync(planeFile(cluster, values.index), "utf8")) as PlaneFile;
      const running = await startPlane(dir, cluster, plane, progress, ended);
      const control = serveControl(planeRunDir(cluster, plane.index), running.rows);
      progress.send({ type: "ready", server: `https://${plane.hosts[plane.index]}:${plane.port}`, kubeconfig: "" });
      const broken = await Promise.race([ended, running.broken]);
      control.stop();
      await running.stop();
      return broken ? 1 : 0;
    } catch (e) {
      progress.send({ type: "failed", message: e instanceof Error ? e.message : String(e), usage: e instanceof UsageError });
      throw e;
    }
  },
});

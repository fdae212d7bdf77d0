// `kubun control-plane`: one of several control planes of a cluster on this
// machine. `up --control-planes` runs it inside the plane's network namespace.
import { readFileSync } from "node:fs";
import { serveControl } from "./cluster/control.ts";
import { startPlane } from "./cluster/plane.ts";
import { type PlaneFile, planeFile, planeRunDir } from "./cluster/planes.ts";
import { partCommand } from "./part.ts";

export default partCommand({
  name: "control-plane",
  summary: "Runs one of several control planes (used by up --control-planes)",
  index: [0, "which control plane", [0, 6]],
  async start({ dir, cluster, index, progress, ended }) {
    const plane = JSON.parse(readFileSync(planeFile(cluster, index), "utf8")) as PlaneFile;
    const running = await startPlane(dir, cluster, plane, progress, ended);
    const control = serveControl(planeRunDir(cluster, plane.index), running.rows);
    return {
      server: `https://${plane.hosts[plane.index]}:${plane.port}`,
      broken: running.broken,
      async stop() {
        control.stop();
        await running.stop();
      },
    };
  },
});

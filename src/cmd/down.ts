// `kubun down`: undoes all that `up` did to the machine.

import { DataDir } from "./cluster/state.ts";
import { takeDown } from "./cluster/take-down.ts";
import { bool, command, text } from "./flags.ts";

export default command({
  name: "down",
  summary: "Stops a cluster and undoes what it did to the machine",
  flags: {
    "data-dir": text("DIR", ".kubun", "folder that holds all of the cluster's data"),
    purge: bool(false, "delete the data too"),
  },
  async run(values) {
    const dir = new DataDir(values["data-dir"]);
    const existed = await takeDown(dir);
    if (values.purge && existed) dir.purge();
    process.stdout.write(
      existed
        ? `stopped${values.purge ? ", data deleted" : `; the data stays in ${dir.path}`}\n`
        : `no cluster in ${dir.path}: nothing to do\n`,
    );
  },
});

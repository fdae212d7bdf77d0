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
    const etcd = dir.read()?.etcd;
    const existed = await takeDown(dir);
    if (values.purge && existed) dir.purge();
    const outside = existed && etcd ? `; the objects stay in the etcd at ${etcd.servers.join(",")} below ${etcd.prefix}` : "";
    process.stdout.write(
      existed
        ? `stopped${values.purge ? ", data deleted" : `; the data stays in ${dir.path}`}${outside}\n`
        : `no cluster in ${dir.path}: nothing to do\n`,
    );
  },
});

// `kubun store snapshot restore`: the way in for the data of a real etcd, with etcdutl's flags.
import { bool, command, integer, list, optionalText, text, UsageError } from "../flags.ts";
import { explainFile, onlyFile } from "./arguments.ts";

const LOCAL = "http://localhost:2380";

const flags = {
  "data-dir": optionalText("DIR", "the directory to make (default NAME.etcd)"),
  name: text("NAME", "default", "the member's name"),
  "initial-cluster": optionalText("NAME=URL,...", "all members of the new cluster (default NAME=http://localhost:2380)"),
  "initial-cluster-token": text("TOKEN", "etcd-cluster", "tells clusters apart that are restored from the same snapshot"),
  "initial-advertise-peer-urls": list("URLS", [], "peer URLs of this member (default http://localhost:2380)"),
  "bump-revision": integer("N", 0, "raise the revision by N, so that it is above all that clients have seen since the snapshot"),
  "mark-compacted": bool(false, "make all before the raised revision compacted: required with --bump-revision"),
  "skip-hash-check": bool(false, "take a file without a hash: a copy of an etcd's member/snap/db"),
};

export default command({
  name: "store snapshot restore",
  summary: "Makes a store's data directory from a snapshot, whether of kubun's store or of a real etcd",
  usage: "FILE",
  flags,
  maxArguments: 1,
  async run(values, args) {
    const path = onlyFile("restore", args);
    const { name } = values;
    // What clients saw between the snapshot's revision and the new one is nowhere: they have to list again.
    if (values["mark-compacted"] !== values["bump-revision"] > 0)
      throw new UsageError("--mark-compacted required if --bump-revision > 0, and not without it");
    const dataDir = values["data-dir"] ?? `${name}.etcd`;
    const [{ restoreSnapshot }, { BootstrapError }] = await Promise.all([
      import("../../store/backup/restore.ts"),
      import("../../store/membership/bootstrap.ts"),
    ]);
    try {
      const urls = values["initial-advertise-peer-urls"];
      const restored = await restoreSnapshot(path, {
        dataDir,
        name,
        initialCluster: values["initial-cluster"] ?? `${name}=${LOCAL}`,
        initialClusterToken: values["initial-cluster-token"],
        initialAdvertisePeerUrls: urls.length > 0 ? urls : [LOCAL],
        bumpRevision: values["bump-revision"],
        skipHashCheck: values["skip-hash-check"],
      });
      const ids = `cluster ${restored.clusterId.toString(16)}, member ${restored.memberId.toString(16)}`;
      process.stdout.write(`Restored ${restored.keys} keys at revision ${restored.revision} to ${dataDir} (${ids})\n`);
    } catch (error) {
      if (error instanceof BootstrapError) throw new UsageError(error.message);
      throw explainFile(path, error);
    }
  },
});

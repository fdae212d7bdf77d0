// `kubun store`: a store of its own, with etcd's flags.
import { logger } from "../platform/log.ts";
import { VERSION as KUBUN } from "../platform/version.ts";
import { command, UsageError } from "./flags.ts";
import { table } from "./store/flags.ts";
import { setUpLog } from "./store/logging.ts";
import { plan } from "./store/options.ts";
import { readSettings } from "./store/sources.ts";

export default command({
  name: "store",
  summary: "Runs the store: etcd's API over a log and a state machine",
  flags: table,
  async run(line, _, given) {
    if (line.version) {
      const { VERSION } = await import("../store/version.ts");
      process.stdout.write(`etcd Version: ${VERSION}\nkubun Version: ${KUBUN}\n`);
      return;
    }
    const settings = await readSettings(line, given, process.env);
    const { values } = settings;
    const warnings = [...settings.warnings];
    const { store: options, clients, http, tls } = await plan(settings, warnings);
    setUpLog(values);
    const log = logger("etcd");
    for (const warning of warnings) log.warn(warning);
    const { Store } = await import("../store/mod.ts");
    const { serveHttp } = await import("../store/server/http.ts");
    const store = new Store(options);
    const { promise: ended, resolve: end } = Promise.withResolvers<Error | undefined>();
    // It is no member any more, which it may hear while it starts.
    store.member.onRemoved = () => end(undefined);
    store.member.onBroken = end;
    try {
      await store.start();
    } catch (error) {
      throw explain(error, options);
    }
    const servers: { stop(closeActive: boolean): Promise<void> }[] = [];
    try {
      for (const { address, secure } of http) servers.push(serveHttp(store, address, secure ? tls.server : undefined));
    } catch (error) {
      await store.stop();
      throw new UsageError(`--listen-metrics-urls ${http.map((u) => u.url).join(",")}: ${(error as Error).message}`);
    }
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => end(undefined));
    const waiting = setTimeout(() => log.warn("Waiting for a leader of the cluster", { name: values.name }), PATIENCE);
    if (await Promise.race([store.takesPart, ended.then(() => false)])) {
      const secure = clients.some((u) => u.secure) ? {} : { insecure: true };
      log.info("Ready to serve client requests", { name: values.name, urls: store.urls.join(","), ...secure });
      if (process.env.NOTIFY_SOCKET) (await import("../platform/systemd.ts")).notify("READY=1");
    }
    clearTimeout(waiting);
    const broken = await ended;
    await Promise.all(servers.map((s) => s.stop(true)));
    await store.stop();
    if (broken) throw broken;
  },
});

/** Milliseconds without a leader until that is said. */
const PATIENCE = 5000;

/** What the system says of a directory that can't be one, or not ours. */
const NO_DIRECTORY = new Set(["ENOTDIR", "EEXIST", "EACCES", "EPERM", "EROFS", "ENAMETOOLONG", "ELOOP"]);

/** What keeps it from starting, as a wrong flag where it is one. */
function explain(error: unknown, { dataDir, walDir }: { dataDir: string; walDir?: string }): unknown {
  const { message, name, code, path } = error as { message: string; name: string; code?: string; path?: string };
  if (code && path && NO_DIRECTORY.has(code)) {
    if (walDir && path.startsWith(walDir)) return new UsageError(`--wal-dir: ${message}`);
    if (path.startsWith(dataDir)) return new UsageError(`--data-dir: ${message}`);
  }
  if (name === "ListenError") return new UsageError(`--listen-${(error as { whom: string }).whom}-urls: ${message}`);
  if (name === "BootstrapError") return new Error(message);
  if (name === "DirectoryLocked") return new UsageError(`--data-dir: ${message}`);
  return error;
}

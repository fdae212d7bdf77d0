// `kubun scheduler`: kube-scheduler with upstream's flags.
import { HttpTransport } from "../client/http.ts";
import { defaultConfig } from "../client/kubeconfig.ts";
import { setVerbosity } from "../platform/log.ts";
import { command, duration, integer, text, verbosity } from "./flags.ts";
import { serveHealth, servingCertificate } from "./health-server.ts";
import { leaderFlags, runAsLeader } from "./lead.ts";
import { runComponent } from "./run-component.ts";

export default command({
  name: "scheduler",
  summary: "Runs kube-scheduler, which gives pods their nodes",
  flags: {
    kubeconfig: text("FILE", "", "how to reach the apiserver; without it $KUBECONFIG, the pod's account, or ~/.kube/config"),
    master: text("URL", "", "address of the apiserver, instead of the kubeconfig's"),
    ...leaderFlags("kube-scheduler"),
    "bind-address": text("IP", "0.0.0.0", "address for --secure-port"),
    "secure-port": integer("N", 10259, "port of /healthz, /readyz and /metrics over HTTPS; 0 for none", [0, 65535]),
    "tls-cert-file": text("FILE", "", "certificate for --secure-port; without it a self-signed one is made"),
    "tls-private-key-file": text("FILE", "", "its key"),
    "pod-max-in-unschedulable-pods-duration": duration(300_000, "after this time an unschedulable pod is tried again in any case"),
    v: verbosity,
  },
  async run(o) {
    setVerbosity(o.v);
    const transport = new HttpTransport(await defaultConfig(o.kubeconfig || undefined, o.master ? { server: o.master } : {}), {
      userAgent: "kube-scheduler/v1.35.0",
    });
    const { Scheduler } = await import("../scheduler/mod.ts");
    const scheduler = new Scheduler({ transport, queue: { maxUnschedulable: o["pod-max-in-unschedulable-pods-duration"] } });
    const health = serveHealth({
      flag: "secure-port",
      host: o["bind-address"],
      port: o["secure-port"],
      // A candidate that waits to lead is as ready as the leader.
      notReady: () => (o["leader-elect"] ? undefined : scheduler.notReady()),
      metrics: () => scheduler.metrics.text(),
      tls: o["secure-port"] ? await servingCertificate(o["tls-cert-file"], o["tls-private-key-file"], "kube-scheduler") : undefined,
    });
    try {
      return o["leader-elect"] ? await runAsLeader(transport, scheduler, o) : await runComponent(scheduler);
    } finally {
      await health.stop();
    }
  },
});

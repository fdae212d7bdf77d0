// Components of which one instance works at a time, and their flags.
import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import type { ApiTransport } from "../client/transport.ts";
import type { Component } from "../platform/component.ts";
import { bool, duration, type FlagValues, text, UsageError } from "./flags.ts";
import { untilSignal } from "./run-component.ts";

export const leaderFlags = (lease: string) => ({
  "leader-elect": bool(true, "wait to be the leader before working"),
  "leader-elect-lease-duration": duration(15_000, "how long others wait after the leader's last renewal"),
  "leader-elect-renew-deadline": duration(10_000, "how long the leader tries to renew"),
  "leader-elect-retry-period": duration(2_000, "how long to wait between tries"),
  "leader-elect-resource-name": text("NAME", lease, "name of the Lease"),
  "leader-elect-resource-namespace": text("NAMESPACE", "kube-system", "namespace of the Lease"),
});

/**
 * Starts the component when it becomes the leader. Returns the exit code: 0
 * after a signal, 1 when the lead was lost, as what it knows is then of no use.
 */
export async function runAsLeader(
  transport: ApiTransport,
  component: Component,
  o: FlagValues<ReturnType<typeof leaderFlags>>,
): Promise<number> {
  const { LeaderElector } = await import("../client/leaderelection.ts");
  const end = new AbortController();
  const failed = Promise.withResolvers<never>();
  const options = {
    namespace: o["leader-elect-resource-namespace"],
    name: o["leader-elect-resource-name"],
    identity: `${hostname()}_${randomUUID()}`,
    leaseDuration: o["leader-elect-lease-duration"],
    renewDeadline: o["leader-elect-renew-deadline"],
    retryPeriod: o["leader-elect-retry-period"],
    onStartedLeading: () => void component.start().catch(failed.reject),
    onStoppedLeading: () => {},
  };
  let elector: InstanceType<typeof LeaderElector>;
  try {
    elector = new LeaderElector(transport, options);
  } catch (e) {
    throw new UsageError(`--leader-elect-…: ${(e as Error).message}`);
  }
  const election = elector.run(end.signal).then(() => 1);
  try {
    return await Promise.race([untilSignal().then(() => 0), election, failed.promise]);
  } finally {
    // Work ends before another may lead.
    await component.stop();
    end.abort();
    await election;
  }
}

// kube-controller-manager: upstream's controllers, by upstream's names, on one
// set of shared informers.
import { hostname } from "node:os";
import { type Clock, realClock } from "../client/clock.ts";
import { EventRecorder, type EventSink } from "../client/events.ts";
import { InformerFactory } from "../client/informer.ts";
import { LeaderElector } from "../client/leaderelection.ts";
import type { ApiTransport } from "../client/transport.ts";
import type { QueueMetrics } from "../client/workqueue.ts";
import type { Component } from "../platform/component.ts";
import { type Logger, logger } from "../platform/log.ts";
import type { Controller, ControllerContext } from "./framework/context.ts";
import { enabled, type ManagerSettings, table } from "./table.ts";

export interface ControllerManagerOptions extends Partial<ManagerSettings> {
  transport: ApiTransport;
  /** Which controllers run: "*" for all that are on by default, "name", "-name". Default ["*"]. */
  controllers?: readonly string[];
  /** Run only while holding the kube-controller-manager Lease. Default false. */
  leaderElect?: boolean;
  /** Milliseconds; upstream's defaults 15 s, 10 s and 2 s. */
  leaderElection?: { leaseDuration?: number; renewDeadline?: number; retryPeriod?: number; namespace?: string; name?: string };
  /** Called when a lead is lost: the process should end and start again. */
  onLeadLost?(): void;
  clock?: Clock;
  metrics?: QueueMetrics;
  log?: Logger;
}

export class ControllerManager implements Component {
  readonly name = "kube-controller-manager";
  readonly #options: ControllerManagerOptions;
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #stop = new AbortController();
  readonly #recorders = new Map<string, EventRecorder>();
  #informers: InformerFactory | undefined;
  #controllers: Controller[] = [];
  #state: "stopped" | "waiting to lead" | "syncing" | "running" = "stopped";
  #election: Promise<void> | undefined;

  /** Throws a RangeError on a controller that does not exist. */
  constructor(options: ControllerManagerOptions) {
    enabled(options.controllers ?? ["*"]);
    this.#options = options;
    this.#log = options.log ?? logger("controller-manager");
    this.#clock = options.clock ?? realClock;
  }

  /** Resolves once the controllers work, or stand for election. */
  async start(): Promise<void> {
    if (!this.#options.leaderElect) return this.#work();
    this.#state = "waiting to lead";
    const { namespace = "kube-system", name = "kube-controller-manager", ...periods } = this.#options.leaderElection ?? {};
    const elector = new LeaderElector(this.#options.transport, {
      namespace,
      name,
      identity: `${hostname()}_${crypto.randomUUID()}`,
      ...periods,
      clock: this.#clock,
      log: this.#log,
      onStartedLeading: () => {
        this.#work().catch((error: unknown) => this.#log.error("Could not start the controllers", error));
      },
      onStoppedLeading: () => {
        void this.#rest();
        if (!this.#stop.signal.aborted) this.#options.onLeadLost?.();
      },
    });
    this.#election = elector.run(this.#stop.signal);
  }

  notReady(): string | undefined {
    if (this.#state === "running" || this.#state === "waiting to lead") return this.#informers?.trouble;
    return this.#state === "syncing" ? (this.#informers?.trouble ?? "waiting for the caches to sync") : this.#state;
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#election;
    await this.#rest();
  }

  async #work(): Promise<void> {
    this.#state = "syncing";
    const { transport, metrics } = this.#options;
    const informers = new InformerFactory(transport, { clock: this.#clock, log: this.#log });
    this.#informers = informers;
    const ctx: ControllerContext = {
      transport,
      informers,
      clock: this.#clock,
      log: this.#log,
      ...(metrics ? { metrics } : {}),
      events: (component) => this.#recorder(component),
    };
    const rows = enabled(this.#options.controllers ?? ["*"]);
    const settings: ManagerSettings = { ...this.#options };
    const made = await Promise.all(rows.map(async (name) => table[name]!.make(ctx, settings)));
    this.#controllers = made.filter((c) => c !== undefined);
    informers.start();
    await Promise.race([
      informers.synced(),
      new Promise((resolve) => this.#stop.signal.addEventListener("abort", resolve, { once: true })),
    ]);
    if (this.#stop.signal.aborted) return;
    for (const controller of this.#controllers) controller.start();
    this.#state = "running";
  }

  async #rest(): Promise<void> {
    const controllers = this.#controllers.splice(0);
    await Promise.all(controllers.map((c) => c.stop()));
    await this.#informers?.stop();
    await Promise.all([...this.#recorders.values()].map((r) => r.stop()));
    this.#recorders.clear();
    this.#state = "stopped";
  }

  #recorder(component: string): EventSink {
    let recorder = this.#recorders.get(component);
    if (!recorder) {
      recorder = new EventRecorder(this.#options.transport, { component, clock: this.#clock, log: this.#log });
      this.#recorders.set(component, recorder);
    }
    return recorder;
  }
}

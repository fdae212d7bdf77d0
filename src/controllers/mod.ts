// kube-controller-manager: upstream's controllers, by upstream's names, on one
// set of shared informers.
import { type Clock, realClock } from "../client/clock.ts";
import { EventRecorder, type EventSink } from "../client/events.ts";
import { InformerFactory } from "../client/informer.ts";
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
  #state: "stopped" | "syncing" | "running" = "stopped";

  /** Throws a RangeError on a controller that does not exist. */
  constructor(options: ControllerManagerOptions) {
    enabled(options.controllers ?? ["*"]);
    this.#options = options;
    this.#log = options.log ?? logger("controller-manager");
    this.#clock = options.clock ?? realClock;
  }

  notReady(): string | undefined {
    if (this.#state === "stopped") return "stopped";
    return this.#informers?.trouble ?? (this.#state === "syncing" ? "waiting for the caches to sync" : undefined);
  }

  /** Resolves once the caches are in sync and the controllers work. */
  async start(): Promise<void> {
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

  async stop(): Promise<void> {
    this.#stop.abort();
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

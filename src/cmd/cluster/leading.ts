// A component of which one instance works at a time, in a process that goes on
// when it loses the lead: it stands for election again.
import { randomUUID } from "node:crypto";
import type { ApiTransport } from "../../client/transport.ts";
import type { Component } from "../../platform/component.ts";
import { logger } from "../../platform/log.ts";

/** Milliseconds that giving the lease back may take. */
const RELEASE = 1000;

export interface LeadingOptions {
  name: string;
  /** Of the Lease in kube-system. */
  lease: string;
  /** Which of the candidates it is. */
  candidate: string;
  transport: ApiTransport;
  /** A new instance for each time that it leads, as what the last one knew is old. */
  make(): Component;
}

export class Leading implements Component {
  readonly name: string;
  readonly #options: LeadingOptions;
  readonly #stop = new AbortController();
  #component: Component | undefined;
  #leading = false;
  #running: Promise<void> | undefined;

  constructor(options: LeadingOptions) {
    this.name = options.name;
    this.#options = options;
  }

  /** Whether it is the one that works. */
  get address(): string {
    return this.#leading ? "leader" : "standby";
  }

  /** Stands for election; resolves at once. */
  async start(): Promise<void> {
    const { LeaderElector } = await import("../../client/leaderelection.ts");
    this.#running = this.#run(LeaderElector);
  }

  /** A candidate that waits to lead is as ready as the leader. */
  notReady(): string | undefined {
    return this.#leading ? this.#component?.notReady() : undefined;
  }

  async stop(): Promise<void> {
    // Work ends before another may lead.
    await this.#component?.stop();
    this.#stop.abort();
    // Without a quorum the lease can't be given back, and runs out.
    await Promise.race([this.#running, Bun.sleep(RELEASE)]);
  }

  async #run(Elector: typeof import("../../client/leaderelection.ts").LeaderElector): Promise<void> {
    const { signal } = this.#stop;
    const { lease, candidate, transport, make } = this.#options;
    while (!signal.aborted) {
      const component = make();
      this.#component = component;
      const failed = new AbortController();
      const elector = new Elector(transport, {
        namespace: "kube-system",
        name: lease,
        identity: `${candidate}_${randomUUID()}`,
        onStartedLeading: () => {
          this.#leading = true;
          component.start().catch((error: unknown) => {
            logger(this.name).error("It could not start; another may lead", error);
            failed.abort();
          });
        },
        onStoppedLeading: () => {
          this.#leading = false;
        },
      });
      await elector.run(AbortSignal.any([signal, failed.signal]));
      await component.stop();
    }
  }
}

// Who is told how the start goes: a checklist on the screen, or the process
// that waits in front of a detached one.

export interface StepEvent {
  name: string;
  state: "starting" | "ready" | "failed";
  note: string;
  /** Milliseconds; 0 while it runs. */
  took: number;
}

export abstract class Progress {
  abstract step(event: StepEvent): void;

  /** Runs a step and tells how it goes; `note` of its result stands behind its name. */
  async run<T>(name: string, work: () => Promise<T>, note?: (result: T) => string): Promise<T> {
    const started = performance.now();
    this.step({ name, state: "starting", note: "", took: 0 });
    try {
      const result = await work();
      this.step({ name, state: "ready", note: note?.(result) ?? "", took: performance.now() - started });
      return result;
    } catch (e) {
      this.step({ name, state: "failed", note: e instanceof Error ? e.message : String(e), took: performance.now() - started });
      throw e;
    }
  }
}

/** What a detached `up` tells the one that waits for it, a JSON line each. */
export type DetachedMessage =
  | { type: "step"; step: StepEvent }
  | { type: "ready"; server: string; kubeconfig: string }
  | { type: "failed"; message: string; usage: boolean };

export class DetachedProgress extends Progress {
  step(step: StepEvent): void {
    this.send({ type: "step", step });
  }
  send(message: DetachedMessage): void {
    process.stdout.write(`${JSON.stringify(message)}\n`);
  }
}

// What `up` shows while it starts: a live list on a terminal, plain lines
// elsewhere.
export type StepState = "waiting" | "starting" | "ready" | "failed";

interface Step {
  name: string;
  state: StepState;
  note: string;
  startedAt: number;
  took: number;
}

const marks: Record<StepState, string> = { waiting: "·", starting: "…", ready: "✓", failed: "✗" };

export class Checklist {
  readonly #out: NodeJS.WriteStream;
  readonly #steps: Step[] = [];
  #drawn = 0;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(out: NodeJS.WriteStream = process.stdout) {
    this.#out = out;
  }

  /** Runs a step and shows how it goes; `note` of its result stands behind its name. */
  async run<T>(name: string, work: () => Promise<T>, note?: (result: T) => string): Promise<T> {
    const step: Step = { name, state: "starting", note: "", startedAt: performance.now(), took: 0 };
    this.#steps.push(step);
    this.#draw();
    this.#timer ??= this.#out.isTTY ? setInterval(() => this.#draw(), 200) : undefined;
    try {
      const result = await work();
      step.state = "ready";
      step.note = note?.(result) ?? "";
      return result;
    } catch (e) {
      step.state = "failed";
      step.note = e instanceof Error ? e.message : String(e);
      throw e;
    } finally {
      step.took = performance.now() - step.startedAt;
      this.#draw(step);
    }
  }

  /** Stops drawing; lines written afterwards stand below the list. */
  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#draw();
  }

  #line(s: Step): string {
    const time = s.state === "starting" ? performance.now() - s.startedAt : s.took;
    const timeText = time >= 10 || s.state !== "starting" ? ` ${(time / 1000).toFixed(2)} s` : "";
    return `${marks[s.state]} ${s.name}${timeText}${s.note ? `  ${s.note}` : ""}`;
  }

  #draw(ended?: Step): void {
    if (!this.#out.isTTY) {
      if (ended) this.#out.write(`${this.#line(ended)}\n`);
      return;
    }
    const up = this.#drawn > 0 ? `\x1b[${this.#drawn}A` : "";
    const width = this.#out.columns || 80;
    const lines = this.#steps.map((s) => `\x1b[2K${this.#line(s).slice(0, width - 1)}\n`);
    this.#drawn = lines.length;
    this.#out.write(up + lines.join(""));
  }
}

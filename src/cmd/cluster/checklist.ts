// What `up` shows while it starts: a live list on a terminal, plain lines
// elsewhere.
import { Progress, type StepEvent } from "./progress.ts";

const marks: Record<StepEvent["state"], string> = { starting: "…", ready: "✓", failed: "✗" };

interface Row extends StepEvent {
  since: number;
}

export class Checklist extends Progress {
  readonly #out: NodeJS.WriteStream;
  readonly #rows = new Map<string, Row>();
  #drawn = 0;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(out: NodeJS.WriteStream = process.stdout) {
    super();
    this.#out = out;
  }

  step(event: StepEvent): void {
    const row = { ...event, since: this.#rows.get(event.name)?.since ?? performance.now() };
    this.#rows.set(event.name, row);
    if (!this.#out.isTTY) {
      if (event.state !== "starting") this.#out.write(`${line(row)}\n`);
      return;
    }
    this.#timer ??= setInterval(() => this.#draw(), 100);
    this.#draw();
  }

  /** Stops drawing; lines written afterwards stand below the list. */
  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    if (this.#out.isTTY) this.#draw();
  }

  #draw(): void {
    const up = this.#drawn > 0 ? `\x1b[${this.#drawn}A` : "";
    const width = this.#out.columns || 80;
    const lines = [...this.#rows.values()].map((r) => `\x1b[2K${line(r).slice(0, width - 1)}\n`);
    this.#drawn = lines.length;
    this.#out.write(up + lines.join(""));
  }
}

function line(r: Row): string {
  const took = r.state === "starting" ? performance.now() - r.since : r.took;
  return `${marks[r.state]} ${r.name} ${(took / 1000).toFixed(2)} s${r.note ? `  ${r.note}` : ""}`;
}

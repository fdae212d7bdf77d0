// Cron schedules as github.com/robfig/cron reads them: five fields, names,
// steps, @hourly and the like, in a time zone.
import { Cron } from "croner";

const macros: Record<string, string> = {
  "@yearly": "0 0 1 1 *",
  "@annually": "0 0 1 1 *",
  "@monthly": "0 0 1 * *",
  "@weekly": "0 0 * * 0",
  "@daily": "0 0 * * *",
  "@midnight": "0 0 * * *",
  "@hourly": "0 * * * *",
};

/** The largest value of each field, and whether it has names. */
const fields = [
  { max: 59, named: false },
  { max: 23, named: false },
  { max: 31, named: false },
  { max: 12, named: true },
  { max: 6, named: true },
] as const;

/** A value or range, with a step or without. */
const part = /^(?:[*?]|(\d+|[a-z]{3})(?:-(\d+|[a-z]{3}))?)(?:\/\d+)?$/i;

/** A field as croner reads it; it knows more than is allowed here, and not that 5/15 goes on to the largest value. */
function field(text: string, { max, named }: (typeof fields)[number]): string {
  const parts = text.split(",").map((p) => {
    const [, low, high] = part.exec(p) ?? refuse(`failed to parse ${p}`);
    for (const end of [low, high]) {
      if (end === undefined) continue;
      if (/\d/.test(end) ? Number(end) > max : !named) refuse(`${p} is not within the field's range, up to ${max}`);
    }
    return low !== undefined && high === undefined ? p.replace("/", `-${max}/`) : p;
  });
  return parts.join(",");
}

function refuse(message: string): never {
  throw new RangeError(message);
}

export class CronSchedule {
  /** Milliseconds between runs, of an "@every". */
  readonly #every: number | undefined;
  readonly #cron: Cron;

  /**
   * @param text Five fields, a macro, or "@every 90m".
   * @param zone An IANA name; UTC when absent.
   * @throws RangeError on a schedule or zone that does not exist.
   */
  constructor(text: string, zone = "UTC") {
    const every = /^@every (?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?$/.exec(text.trim());
    this.#every = every ? (Number(every[1] ?? 0) * 3600 + Number(every[2] ?? 0) * 60 + Number(every[3] ?? 0)) * 1000 : undefined;
    if (every && !this.#every) refuse(`failed to parse duration ${text}`);
    const texts = (every ? "* * * * *" : (macros[text.trim()] ?? text)).trim().split(/\s+/);
    if (texts.length !== fields.length) refuse(`expected exactly 5 fields, found ${texts.length}: ${text}`);
    const pattern = texts.map((t, i) => field(t, fields[i]!)).join(" ");
    try {
      this.#cron = new Cron(pattern, { timezone: zone, mode: "5-part", paused: true });
      this.#cron.nextRun(new Date(0));
    } catch (error) {
      throw new RangeError((error as Error).message, { cause: error });
    }
  }

  /** The first time after `after`, both in milliseconds since the epoch; undefined when there is none. */
  next(after: number): number | undefined {
    if (this.#every) return (Math.floor(after / 1000) + this.#every / 1000) * 1000;
    let at = this.#cron.nextRun(new Date(after));
    // Where the clock jumps over a time, croner runs later; a CronJob leaves that day out.
    while (at && !this.#cron.match(at)) at = this.#cron.nextRun(at);
    return at?.getTime();
  }
}

// Cron schedules as github.com/robfig/cron reads them: five fields, names,
// steps, @hourly and the like, in a time zone.

const months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const days = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const macros: Record<string, string> = {
  "@yearly": "0 0 1 1 *",
  "@annually": "0 0 1 1 *",
  "@monthly": "0 0 1 * *",
  "@weekly": "0 0 * * 0",
  "@daily": "0 0 * * *",
  "@midnight": "0 0 * * *",
  "@hourly": "0 * * * *",
};

interface Field {
  values: Set<number>;
  /** Written as * or ?, which matters for days: of two limits either may hold. */
  any: boolean;
}

function parseField(text: string, min: number, max: number, names: string[] = []): Field {
  const values = new Set<number>();
  let any = false;
  const number = (s: string): number => {
    const named = names.indexOf(s.toLowerCase());
    const n = named >= 0 ? named + min : Number(s);
    if (s === "" || !Number.isInteger(n)) throw new RangeError(`failed to parse int from ${s}`);
    return n;
  };
  for (const part of text.split(",")) {
    const [range = "", step, more] = part.split("/");
    if (more !== undefined) throw new RangeError(`too many slashes: ${part}`);
    const [low = "", high, extra] = range.split("-");
    if (extra !== undefined) throw new RangeError(`too many hyphens: ${part}`);
    const star = low === "*" || low === "?";
    const from = star ? min : number(low);
    const to = star || (high === undefined && step !== undefined) ? max : number(high ?? low);
    const by = step === undefined ? 1 : number(step);
    if (star && step === undefined) any = true;
    if (from < min || to > max || from > to || by < 1) throw new RangeError(`${part} is not between ${min} and ${max}`);
    for (let i = from; i <= to; i += by) values.add(i);
  }
  return { values, any };
}

/** The wall clock of a zone. */
interface Wall {
  year: number;
  month: number;
  day: number;
  hour: number;
  minute: number;
}

const minuteMs = 60_000;
/** A schedule such as 30 February is given up after so many years. */
const horizonYears = 5;

export class CronSchedule {
  readonly #minutes: Field;
  readonly #hours: Field;
  readonly #days: Field;
  readonly #months: Field;
  readonly #weekdays: Field;
  readonly #every: number | undefined;
  readonly #format: Intl.DateTimeFormat;

  /**
   * @param text Five fields, a macro, or "@every 90m".
   * @param zone An IANA name; UTC when absent.
   * @throws RangeError on a schedule or zone that does not exist.
   */
  constructor(text: string, zone = "UTC") {
    const every = /^@every (?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?$/.exec(text.trim());
    this.#every = every ? (Number(every[1] ?? 0) * 3600 + Number(every[2] ?? 0) * 60 + Number(every[3] ?? 0)) * 1000 : undefined;
    if (every && !this.#every) throw new RangeError(`failed to parse duration ${text}`);
    const fields = (every ? "* * * * *" : (macros[text.trim()] ?? text)).trim().split(/\s+/);
    if (fields.length !== 5) throw new RangeError(`expected exactly 5 fields, found ${fields.length}: ${text}`);
    this.#minutes = parseField(fields[0]!, 0, 59);
    this.#hours = parseField(fields[1]!, 0, 23);
    this.#days = parseField(fields[2]!, 1, 31);
    this.#months = parseField(fields[3]!, 1, 12, months);
    this.#weekdays = parseField(fields[4]!, 0, 6, days);
    this.#format = new Intl.DateTimeFormat("en-US", {
      timeZone: zone,
      hourCycle: "h23",
      year: "numeric",
      month: "numeric",
      day: "numeric",
      hour: "numeric",
      minute: "numeric",
    });
  }

  /** The first time after `after`, both in milliseconds since the epoch; undefined when there is none in five years. */
  next(after: number): number | undefined {
    if (this.#every) return (Math.floor(after / 1000) + this.#every / 1000) * 1000;
    let at = (Math.floor(after / minuteMs) + 1) * minuteMs;
    const end = after + horizonYears * 366 * 86_400_000;
    while (at < end) {
      const wall = this.#wall(at);
      if (!this.#months.values.has(wall.month) || !this.#isDay(wall)) {
        at = this.#nextDay(at, wall);
        continue;
      }
      if (!this.#hours.values.has(wall.hour)) {
        at += (60 - wall.minute) * minuteMs;
        continue;
      }
      if (this.#minutes.values.has(wall.minute)) return at;
      at += minuteMs;
    }
    return undefined;
  }

  /** The first minute of the next day, which is not always 00:00, and not always 24 hours after the last. */
  #nextDay(at: number, wall: Wall): number {
    let next = at + (24 * 60 - wall.hour * 60 - wall.minute) * minuteMs;
    if (this.#wall(next).day === wall.day) next += 60 * minuteMs;
    const landed = this.#wall(next);
    const early = next - (landed.hour * 60 + landed.minute) * minuteMs;
    return early > at && this.#wall(early).day === landed.day ? early : next;
  }

  #isDay(wall: Wall): boolean {
    const day = this.#days.values.has(wall.day);
    const weekday = this.#weekdays.values.has(new Date(Date.UTC(wall.year, wall.month - 1, wall.day)).getUTCDay());
    return this.#days.any || this.#weekdays.any ? day && weekday : day || weekday;
  }

  #wall(at: number): Wall {
    const parts: Record<string, number> = {};
    for (const { type, value } of this.#format.formatToParts(at)) parts[type] = Number(value);
    return { year: parts.year!, month: parts.month!, day: parts.day!, hour: parts.hour!, minute: parts.minute! };
  }
}

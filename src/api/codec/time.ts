// Times and durations as Go reads and writes them: RFC 3339 in whole seconds
// (metav1.Time), in microseconds (metav1.MicroTime), and duration strings.

const days = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/** A moment: seconds since the epoch, and nanoseconds of the second. */
export interface Instant {
  seconds: number;
  nanos: number;
}

interface Element {
  /** As Go's layout writes it. */
  layout: string;
  match: RegExp;
}
const elements: Element[] = [
  { layout: "2006", match: /^\d{4}/ },
  { layout: "-", match: /^-/ },
  { layout: "01", match: /^\d\d/ },
  { layout: "-", match: /^-/ },
  { layout: "02", match: /^\d\d/ },
  { layout: "T", match: /^T/ },
  { layout: "15", match: /^\d\d/ },
  { layout: ":", match: /^:/ },
  { layout: "04", match: /^\d\d/ },
  { layout: ":", match: /^:/ },
  { layout: "05", match: /^\d\d(?:[.,]\d+)?/ },
  { layout: "Z07:00", match: /^(?:Z|[+-]\d\d:\d\d)/ },
];

/** The text of Go's time.ParseError for what is no RFC 3339 time. */
function explain(text: string): string {
  let rest = text;
  for (const { layout, match } of elements) {
    const m = match.exec(rest);
    if (!m)
      return `parsing time ${JSON.stringify(text)} as "2006-01-02T15:04:05Z07:00": cannot parse ${JSON.stringify(rest)} as "${layout}"`;
    rest = rest.slice(m[0].length);
  }
  return `parsing time ${JSON.stringify(text)}: extra text: ${JSON.stringify(rest)}`;
}

const rfc3339 = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(Z|[+-]\d\d:\d\d)$/;

/** Reads an RFC 3339 time. Throws a RangeError with Go's text. */
export function parseInstant(text: string): Instant {
  const m = rfc3339.exec(text);
  if (!m) throw new RangeError(explain(text));
  const [year, month, day, hour, minute, second] = m.slice(1, 7).map(Number) as [number, number, number, number, number, number];
  const leap = (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0;
  const bad = (what: string) => new RangeError(`parsing time ${JSON.stringify(text)}: ${what} out of range`);
  if (month < 1 || month > 12) throw bad("month");
  if (day < 1 || day > days[month - 1]! || (month === 2 && day === 29 && !leap)) throw bad("day");
  if (hour > 23) throw bad("hour");
  if (minute > 59) throw bad("minute");
  if (second > 59) throw bad("second");
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  date.setUTCHours(hour, minute, second);
  let seconds = date.getTime() / 1000;
  const zone = m[8]!;
  if (zone !== "Z") {
    const offset = (Number(zone.slice(1, 3)) * 60 + Number(zone.slice(4))) * 60;
    seconds += zone[0] === "-" ? offset : -offset;
  }
  return { seconds, nanos: m[7] ? Number(m[7].slice(0, 9).padEnd(9, "0")) : 0 };
}

/** "2006-01-02T15:04:05Z" */
export const formatTime = (seconds: number): string => `${new Date(seconds * 1000).toISOString().slice(0, -5)}Z`;

/** "2006-01-02T15:04:05.000000Z"; finer parts are cut off. */
export const formatMicroTime = (i: Instant): string =>
  `${new Date(i.seconds * 1000).toISOString().slice(0, -5)}.${String(Math.trunc(i.nanos / 1000)).padStart(6, "0")}Z`;

const plain = /^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])T([01]\d|2[0-3]):[0-5]\d:[0-5]\dZ$/;
const plainMicro = /^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{6}Z$/;

/** A metav1.Time in its stored form: UTC, whole seconds. Throws a RangeError with Go's text. */
export const canonicalTime = (text: string): string => (plain.test(text) ? text : formatTime(parseInstant(text).seconds));

/** A metav1.MicroTime in its stored form: UTC, six digits of fraction. Throws a RangeError with Go's text. */
export const canonicalMicroTime = (text: string): string => (plainMicro.test(text) ? text : formatMicroTime(parseInstant(text)));

const units: Record<string, number> = { ns: 1, us: 1e3, µs: 1e3, μs: 1e3, ms: 1e6, s: 1e9, m: 60e9, h: 3600e9 };

/** Nanoseconds of a Go duration such as "1h30m" or "-1.5s". Throws a RangeError with Go's text. */
export function parseDuration(text: string): number {
  const quoted = JSON.stringify(text);
  const m = /^([+-]?)(.*)$/s.exec(text)!;
  let rest = m[2]!;
  if (rest === "0") return 0;
  if (rest === "") throw new RangeError(`time: invalid duration ${quoted}`);
  let total = 0;
  while (rest !== "") {
    const part = /^(\d+\.?\d*|\.\d+)([^\d.]*)/.exec(rest);
    if (!part) throw new RangeError(`time: invalid duration ${quoted}`);
    if (part[2] === "") throw new RangeError(`time: missing unit in duration ${quoted}`);
    const unit = units[part[2]!];
    if (unit === undefined) throw new RangeError(`time: unknown unit ${JSON.stringify(part[2])} in duration ${quoted}`);
    total += Number(part[1]) * unit;
    rest = rest.slice(part[0].length);
  }
  return Math.round(m[1] === "-" ? -total : total);
}

/** A Go duration string of so many nanoseconds: "1h30m0s", "1.5s", "100ms". */
export function formatDuration(nanos: number): string {
  if (nanos === 0) return "0s";
  const sign = nanos < 0 ? "-" : "";
  const n = Math.abs(nanos);
  if (n < 1e3) return `${sign}${n}ns`;
  if (n < 1e6) return `${sign}${n / 1e3}µs`;
  if (n < 1e9) return `${sign}${n / 1e6}ms`;
  const h = Math.floor(n / 3600e9);
  const min = Math.floor((n % 3600e9) / 60e9);
  const s = (n % 60e9) / 1e9;
  return `${sign}${h > 0 ? `${h}h${min}m` : min > 0 ? `${min}m` : ""}${s}s`;
}

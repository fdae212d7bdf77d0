// Kubernetes quantities (k8s.io/apimachinery/pkg/api/resource): fixed-point
// numbers exact to 1e-9, with the suffix family they were written in.

export type QuantityFormat = "BinarySI" | "DecimalSI" | "DecimalExponent";

/** A parsed quantity. */
export interface Quantity {
  /** The amount in billionths. */
  readonly nano: bigint;
  readonly format: QuantityFormat;
}

const NANO = 1_000_000_000n;
const MAX_BINARY = (2n ** 63n - 1n) * NANO;
const pattern = /^([+-]?)([0-9]*)(?:\.([0-9]*))?([eEinumkKMGTP]*[-+]?[0-9]*)$/;
const wrongFormat = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
const wrongSuffix = "unable to parse quantity's suffix";

const binary: Record<string, number> = { Ki: 10, Mi: 20, Gi: 30, Ti: 40, Pi: 50, Ei: 60 };
const decimal: Record<string, number> = { n: -9, u: -6, m: -3, "": 0, k: 3, M: 6, G: 9, T: 12, P: 15, E: 18 };
const binarySuffixes = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
const decimalSuffixes = Object.fromEntries(Object.entries(decimal).map(([suffix, exponent]) => [exponent, suffix]));

interface Parsed extends Quantity {
  /** The text is kept as it stands where upstream keeps it. */
  keep: boolean;
}

function parseText(text: string): Parsed {
  const m = pattern.exec(text);
  if (!m || text === "") throw new RangeError(wrongFormat);
  const [, sign, int = "", frac = "", suffix = ""] = m as unknown as [string, string, string, string | undefined, string];
  // Upstream takes a lone sign or dot for zero, but never a bare suffix.
  if (int === "" && frac === "" && !text.includes(".") && suffix !== "") throw new RangeError(wrongFormat);
  let format: QuantityFormat;
  let exponent: number;
  if (suffix in binary) {
    format = "BinarySI";
    exponent = binary[suffix]!;
  } else if (suffix in decimal) {
    format = "DecimalSI";
    exponent = decimal[suffix]!;
  } else {
    const e = /^[eE]([-+]?[0-9]+)$/.exec(suffix);
    if (!e) throw new RangeError(wrongSuffix);
    format = "DecimalExponent";
    exponent = Number(e[1]);
    if (Math.abs(exponent) > 10_000) throw new RangeError(wrongSuffix);
  }
  const digits = int.replace(/^0+/, "") + frac;
  let amount = BigInt(digits || "0");
  // amount × 10^-frac × 2^exponent or 10^exponent, in billionths, rounded away from zero.
  let scale = 9 - frac.length;
  if (format === "BinarySI") amount <<= BigInt(exponent);
  else scale += exponent;
  const places = scale - 9;
  const keep =
    format === "BinarySI"
      ? frac === "" && int !== "" && 15 - digits.length - Math.trunc((exponent * 3) / 10) - 1 >= 0 && (Number(digits) & 7) !== 0
      : digits.length <= 18 && places >= -9 && places % 3 === 0 && digits !== "" && !digits.endsWith("000") && digits[0] !== "0";
  let nano: bigint;
  if (scale >= 0) nano = amount * 10n ** BigInt(scale);
  else {
    const unit = 10n ** BigInt(-scale);
    nano = (amount + unit - 1n) / unit;
  }
  if (format === "BinarySI") {
    if (nano > MAX_BINARY) nano = MAX_BINARY;
    if (nano > 0n && nano < NANO) format = "DecimalSI";
  }
  return { nano: sign === "-" ? -nano : nano, format, keep };
}

/** Reads a quantity. Throws a RangeError with upstream's text. */
export function parseQuantity(text: string | number): Quantity {
  const { nano, format } = parseText(String(text));
  return { nano, format };
}

/** The canonical string: no fraction, and the largest suffix that leaves none. */
export function formatQuantity(q: Quantity): string {
  if (q.nano === 0n) return "0";
  if (q.format === "BinarySI" && q.nano % NANO === 0n && (q.nano >= 1024n * NANO || q.nano <= -1024n * NANO)) {
    let value = q.nano / NANO;
    let power = 0;
    while (value % 1024n === 0n && power < 6) {
      value /= 1024n;
      power++;
    }
    return `${value}${binarySuffixes[power]}`;
  }
  let value = q.nano;
  let exponent = -9;
  while (value % 1000n === 0n) {
    value /= 1000n;
    exponent += 3;
  }
  if (exponent === 0) return String(value);
  const suffix = q.format === "DecimalExponent" ? undefined : decimalSuffixes[exponent];
  return `${value}${suffix ?? `e${exponent}`}`;
}

/** Remembers a bounded number of answers: a cluster uses few distinct quantities. */
function memo<T>(compute: (text: string) => T): (text: string | number) => T {
  const known = new Map<string, T>();
  return (text) => {
    const key = typeof text === "string" ? text : String(text);
    let value = known.get(key);
    if (value === undefined) {
      value = compute(key);
      if (known.size >= 2000) known.clear();
      known.set(key, value);
    }
    return value;
  };
}

/** What upstream stores for a quantity as written: "1024Mi" is "1Gi", "0.5" is "500m". Throws a RangeError. */
export const canonicalQuantity = memo((text) => {
  const q = parseText(text);
  return q.keep ? text : formatQuantity(q);
});

const away = (nano: bigint, unit: bigint): number => {
  const rest = nano % unit;
  const whole = nano / unit;
  return Number(rest === 0n ? whole : nano > 0n ? whole + 1n : whole - 1n);
};

/** Whole units, rounded away from zero, as upstream's Value(): bytes of memory, cores of CPU. */
export const toValue = memo((text) => away(parseText(text).nano, NANO));
/** Thousandths, rounded away from zero, as upstream's MilliValue(): millicores. */
export const toMilli = memo((text) => away(parseText(text).nano, 1_000_000n));
/** Bytes; the same as toValue. */
export const toBytes = toValue;
/** The nearest double. */
export const toNumber = memo((text) => Number(parseText(text).nano) / 1e9);

const nanoOf = memo((text) => parseText(text).nano);

/** Negative, zero or positive as a is less than, equal to or more than b. */
export function compareQuantity(a: string | number, b: string | number): number {
  const x = nanoOf(a);
  const y = nanoOf(b);
  return x < y ? -1 : x > y ? 1 : 0;
}

/** The sum, in the suffix family of the first that is not zero. */
export function addQuantity(a: string | number, b: string | number): string {
  const x = parseQuantity(a);
  const y = parseQuantity(b);
  return formatQuantity({ nano: x.nano + y.nano, format: x.nano === 0n ? y.format : x.format });
}

/** a − b, in the suffix family of the first that is not zero. */
export function subtractQuantity(a: string | number, b: string | number): string {
  const x = parseQuantity(a);
  const y = parseQuantity(b);
  return formatQuantity({ nano: x.nano - y.nano, format: x.nano === 0n ? y.format : x.format });
}

/** A canonical quantity from whole units. */
export const fromValue = (value: number | bigint, format: QuantityFormat = "DecimalSI"): string =>
  formatQuantity({ nano: BigInt(value) * NANO, format });
/** A canonical quantity from thousandths. */
export const fromMilli = (milli: number | bigint, format: QuantityFormat = "DecimalSI"): string =>
  formatQuantity({ nano: BigInt(milli) * 1_000_000n, format });

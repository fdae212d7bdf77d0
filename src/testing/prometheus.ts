// Prometheus' text format (version 0.0.4), read as strictly as Prometheus does.

export interface Family {
  type: string;
  help: string;
  /** Values by what stands before them: the name, and the labels as they are written. */
  samples: Map<string, number>;
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"(?:,|(?=\})))*\})? (\S+)$/;
const VALUE = /^([+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]?Inf|NaN)$/;
const TYPES = new Set(["counter", "gauge", "histogram", "summary", "untyped"]);
/** What a family of a type adds to its name. */
const SUFFIXES: Record<string, readonly string[]> = { histogram: ["_bucket", "_sum", "_count"], summary: ["", "_sum", "_count"] };

/** The families by name. Throws an Error that says which line is wrong. */
export function parseMetrics(text: string): Map<string, Family> {
  if (!text.endsWith("\n")) throw new Error("the last line does not end");
  const families = new Map<string, Family>();
  let current: { name: string; family: Family } | undefined;
  for (const [i, line] of text.slice(0, -1).split("\n").entries()) {
    const wrong = (why: string) => new Error(`line ${i + 1}: ${why}: ${line}`);
    const [, comment, name = "", rest = ""] = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line) ?? [];
    if (comment) {
      if (!NAME.test(name)) throw wrong("not a name");
      if (current?.name !== name) {
        if (families.has(name)) throw wrong("a family in two places");
        current = { name, family: { type: "", help: "", samples: new Map() } };
        families.set(name, current.family);
      }
      if (comment === "HELP") current.family.help = rest;
      else if (!TYPES.has(rest)) throw wrong("not a type");
      else current.family.type = rest;
      continue;
    }
    const [, sample, labels = "", value] = SAMPLE.exec(line) ?? [];
    if (!sample || !value || !VALUE.test(value)) throw wrong("not a sample");
    const { name: family = "", family: { type, samples } = { type: "", samples: new Map() } } = current ?? {};
    if (!(SUFFIXES[type] ?? [""]).some((s) => sample === family + s)) throw wrong(`a sample of another family than ${family}`);
    if (samples.has(sample + labels)) throw wrong("a sample twice");
    if (type === "counter" && Number(value) < 0) throw wrong("a counter below 0");
    samples.set(sample + labels, Number(value));
  }
  for (const [name, { type, help }] of families) if (!type || !help) throw new Error(`${name} has no type or no help`);
  return families;
}

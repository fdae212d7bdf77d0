// Label and field selectors: their text forms, the LabelSelector object, and
// matching (k8s.io/apimachinery/pkg/labels and pkg/fields), in upstream's words.
import type * as metaV1 from "./gen/meta/v1.ts";
import { labelValue, qualifiedName } from "./names.ts";

/** Text or an object that is no selector. */
export class SelectorError extends Error {
  override name = "SelectorError";
}

export type Operator = "in" | "notin" | "=" | "==" | "!=" | "exists" | "!" | "gt" | "lt";

export interface Requirement {
  readonly key: string;
  readonly operator: Operator;
  /** Sorted; empty for "exists" and "!". */
  readonly values: readonly string[];
}

type Labels = Readonly<Record<string, string>> | undefined;

const integer = /^[+-]?\d+$/;

function requirement(key: string, operator: Operator, values: string[]): Requirement {
  const keyError = qualifiedName(key);
  if (keyError.length > 0) throw new SelectorError(`key: Invalid value: ${JSON.stringify(key)}: ${keyError.join("; ")}`);
  if ((operator === "in" || operator === "notin") && values.length === 0)
    throw new SelectorError("values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty");
  for (let i = 0; i < values.length; i++) {
    const v = values[i]!;
    if ((operator === "gt" || operator === "lt") && !integer.test(v))
      throw new SelectorError(`values[${i}]: Invalid value: ${JSON.stringify(v)}: for 'Gt', 'Lt' operators, the value must be an integer`);
    const errors = labelValue(v);
    if (errors.length > 0) throw new SelectorError(`values[${i}][${key}]: Invalid value: ${JSON.stringify(v)}: ${errors.join("; ")}`);
  }
  return { key, operator, values: [...new Set(values)].sort() };
}

function matchesRequirement(r: Requirement, labels: Labels): boolean {
  const v = labels !== undefined && Object.hasOwn(labels, r.key) ? labels[r.key] : undefined;
  switch (r.operator) {
    case "=":
    case "==":
      return v === r.values[0];
    case "in":
      return v !== undefined && r.values.includes(v);
    case "!=":
    case "notin":
      return v === undefined || !r.values.includes(v);
    case "exists":
      return v !== undefined;
    case "!":
      return v === undefined;
    default: {
      if (v === undefined || !integer.test(v)) return false;
      const order = BigInt(v) - BigInt(r.values[0]!);
      return r.operator === "gt" ? order > 0n : order < 0n;
    }
  }
}

/** Matches labels. Without requirements it matches everything. */
export class LabelSelector {
  readonly requirements: readonly Requirement[];
  /** Matches no object at all. */
  readonly isNothing: boolean;
  constructor(requirements: readonly Requirement[], isNothing = false) {
    this.requirements = requirements;
    this.isNothing = isNothing;
  }
  /** Matches every object. */
  get isEverything(): boolean {
    return !this.isNothing && this.requirements.length === 0;
  }
  matches(labels: Labels): boolean {
    if (this.isNothing) return false;
    for (const r of this.requirements) if (!matchesRequirement(r, labels)) return false;
    return true;
  }
  /** The one value that the selector demands for a key, if there is one. */
  requiresExact(key: string): string | undefined {
    const r = this.requirements.find(
      (q) => q.key === key && (q.operator === "=" || q.operator === "==" || (q.operator === "in" && q.values.length === 1)),
    );
    return r?.values[0];
  }
  toString(): string {
    return this.requirements.map(formatRequirement).join(",");
  }
}

function formatRequirement(r: Requirement): string {
  switch (r.operator) {
    case "exists":
      return r.key;
    case "!":
      return `!${r.key}`;
    case "in":
    case "notin":
      return `${r.key} ${r.operator} (${r.values.join(",")})`;
    case "gt":
      return `${r.key}>${r.values[0]}`;
    case "lt":
      return `${r.key}<${r.values[0]}`;
    default:
      return `${r.key}${r.operator}${r.values[0]}`;
  }
}

export const everything = new LabelSelector([]);
export const nothing = new LabelSelector([], true);

const token = /\s*(?:(==|!=|[=!<>(),])|([^\s=!<>(),]+))/y;
const binaryOperators = "in, notin, =, ==, !=, gt, lt";
const operators: Record<string, Operator> = { in: "in", notin: "notin", "=": "=", "==": "==", "!=": "!=", ">": "gt", "<": "lt" };

class LabelParser {
  readonly #tokens: { text: string; word: boolean }[] = [];
  #at = 0;
  constructor(text: string) {
    token.lastIndex = 0;
    for (let m = token.exec(text); m; m = token.exec(text)) this.#tokens.push({ text: m[0].trim(), word: m[2] !== undefined });
  }

  #peek(): { text: string; word: boolean } {
    return this.#tokens[this.#at] ?? { text: "", word: false };
  }
  #next() {
    const t = this.#peek();
    this.#at++;
    return t;
  }

  parse(): Requirement[] {
    const list: Requirement[] = [];
    for (;;) {
      const t = this.#peek();
      if (this.#at >= this.#tokens.length) return list;
      if (!t.word && t.text !== "!") throw new SelectorError(`found '${t.text}', expected: !, identifier, or 'end of string'`);
      try {
        list.push(this.#requirement());
      } catch (error) {
        if (!(error instanceof SelectorError)) throw error;
        throw new SelectorError(`unable to parse requirement: ${error.message}`);
      }
      if (this.#at >= this.#tokens.length) return list;
      const comma = this.#next();
      if (comma.text !== ",") throw new SelectorError(`found '${comma.text}', expected: ',' or 'end of string'`);
      const after = this.#peek();
      if (!after.word && after.text !== "!") throw new SelectorError(`found '${after.text}', expected: identifier after ','`);
    }
  }

  #requirement(): Requirement {
    let key = this.#next();
    const negated = !key.word && key.text === "!";
    if (negated) key = this.#next();
    if (!key.word) throw new SelectorError(`found '${key.text}', expected: identifier`);
    const t = this.#peek();
    if (negated) return requirement(key.text, "!", []);
    if (this.#at >= this.#tokens.length || t.text === ",") return requirement(key.text, "exists", []);
    this.#at++;
    const operator = operators[t.text];
    if (operator === undefined) throw new SelectorError(`found '${t.text}', expected: ${binaryOperators}`);
    if (operator === "in" || operator === "notin") return requirement(key.text, operator, this.#set());
    const value = this.#peek();
    if (this.#at >= this.#tokens.length || value.text === ",") return requirement(key.text, operator, [""]);
    if (!value.word) throw new SelectorError(`found '${value.text}', expected: identifier`);
    this.#at++;
    return requirement(key.text, operator, [value.text]);
  }

  #set(): string[] {
    const open = this.#next();
    if (open.text !== "(") throw new SelectorError(`found '${open.text}' expected: '('`);
    const values: string[] = [];
    let wantValue = true;
    for (;;) {
      const t = this.#next();
      if (t.word) {
        if (!wantValue) throw new SelectorError(`found '${t.text}', expected: ',' or ')'`);
        values.push(t.text);
        wantValue = false;
      } else if (t.text === ",") {
        if (wantValue) values.push("");
        wantValue = true;
      } else if (t.text === ")") {
        // "(a,)" holds the empty value too; "()" is the set of it alone.
        if (wantValue) values.push("");
        return values;
      } else throw new SelectorError(`found '${t.text}', expected: ',', or identifier`);
    }
  }
}

/** Reads `app=web,tier in (a,b),!canary`. Throws a SelectorError. */
export function parseLabelSelector(text: string): LabelSelector {
  const requirements = new LabelParser(text).parse();
  if (requirements.length === 0) return everything;
  return new LabelSelector(requirements.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0)));
}

/** The selector of equality with each of these labels; everything when there are none. */
export function selectorFromSet(labels: Labels): LabelSelector {
  const keys = Object.keys(labels ?? {}).sort();
  if (keys.length === 0) return everything;
  return new LabelSelector(keys.map((key) => ({ key, operator: "=", values: [labels![key]!] })));
}

const expressionOperators: Record<string, Operator> = { In: "in", NotIn: "notin", Exists: "exists", DoesNotExist: "!" };

/** The selector that a LabelSelector object means: absent selects nothing, an empty one everything. Throws a SelectorError. */
export function labelSelectorAsSelector(selector: metaV1.LabelSelector | null | undefined): LabelSelector {
  if (selector === undefined || selector === null) return nothing;
  const list: Requirement[] = [];
  for (const [key, v] of Object.entries(selector.matchLabels ?? {})) list.push(requirement(key, "=", [v]));
  for (const e of selector.matchExpressions ?? []) {
    const operator = expressionOperators[e.operator];
    if (operator === undefined) throw new SelectorError(`${JSON.stringify(e.operator)} is not a valid label selector operator`);
    if ((operator === "exists" || operator === "!") && (e.values?.length ?? 0) > 0)
      throw new SelectorError("values: Invalid value: values set must be empty for exists and does not exist");
    list.push(requirement(e.key, operator, [...(e.values ?? [])]));
  }
  if (list.length === 0) return everything;
  return new LabelSelector(list.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0)));
}

/** The text of a LabelSelector object as kubectl prints it: "a=b,c in (d)"; "<none>" when absent or empty. */
export function formatLabelSelector(selector: metaV1.LabelSelector | null | undefined): string {
  const s = labelSelectorAsSelector(selector);
  return s.toString() || "<none>";
}

export interface FieldRequirement {
  /** A path such as "spec.nodeName". */
  readonly field: string;
  readonly operator: "=" | "!=";
  readonly value: string;
}

/** Matches fields by name. Without requirements it matches everything. */
export class FieldSelector {
  readonly requirements: readonly FieldRequirement[];
  constructor(requirements: readonly FieldRequirement[]) {
    this.requirements = requirements;
  }
  get isEverything(): boolean {
    return this.requirements.length === 0;
  }
  /** `get` gives a field's value, "" when it is absent. */
  matches(get: (field: string) => string): boolean {
    for (const r of this.requirements) if ((get(r.field) === r.value) !== (r.operator === "=")) return false;
    return true;
  }
  requiresExact(field: string): string | undefined {
    return this.requirements.find((r) => r.field === field && r.operator === "=")?.value;
  }
  toString(): string {
    return this.requirements.map((r) => `${r.field}${r.operator}${r.value.replace(/[\\,=]/g, "\\$&")}`).join(",");
  }
}

function unescapeValue(text: string): string {
  return text.replace(/\\(.)?|[,=]/g, (match, c: string | undefined) => {
    if (c === "\\" || c === "," || c === "=") return c;
    throw new SelectorError(
      match.startsWith("\\")
        ? `invalid field selector: invalid escape sequence: ${match}`
        : `invalid field selector: unescaped character in value: '${match}'`,
    );
  });
}

/** Reads `metadata.name=x,status.phase!=Running`; `\` escapes `,`, `=` and itself. Throws a SelectorError. */
export function parseFieldSelector(text: string): FieldSelector {
  const list: FieldRequirement[] = [];
  for (const term of text.match(/(?:\\.|[^,\\])+|\\$/gs) ?? []) {
    const m = /^((?:\\.|[^=!\\])*?)(!=|==|=)(.*)$/s.exec(term);
    if (!m) throw new SelectorError(`invalid selector: '${text}'; can't understand '${term}'`);
    list.push({ field: m[1]!, operator: m[2] === "!=" ? "!=" : "=", value: unescapeValue(m[3]!) });
  }
  return new FieldSelector(list);
}

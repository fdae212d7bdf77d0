// Reading JSON text as Go's decoder does: the same errors, and duplicate
// members reported by path. Well-formed text without duplicates is read by
// JSON.parse; only the rest is walked by hand.

/** Text that is no JSON, in the words of Go's encoding/json. */
export class JsonSyntaxError extends SyntaxError {
  override name = "JsonSyntaxError";
}

export interface StrictJson {
  value: unknown;
  /** Paths of members that stand twice, such as "spec.replicas" or "items[0].name"; the last one wins. */
  duplicates: string[];
}

/** Parses JSON text. Throws a JsonSyntaxError with Go's text. */
export function parseJsonStrict(text: string): StrictJson {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    new Walker(text).run();
    // What JSON.parse refuses and the walker takes would be a bug of the walker.
    throw new JsonSyntaxError(error instanceof Error ? error.message : String(error), { cause: error });
  }
  if (colons(text) === members(value)) return { value, duplicates: [] };
  const walker = new Walker(text);
  walker.run();
  return { value, duplicates: walker.duplicates };
}

/** Colons outside strings: one a member. The text is valid JSON. */
function colons(text: string): number {
  let count = 0;
  let at = 0;
  for (;;) {
    const quote = text.indexOf('"', at);
    const end = quote < 0 ? text.length : quote;
    for (let i = at; i < end; i++) if (text.charCodeAt(i) === 58) count++;
    if (quote < 0) return count;
    at = quote + 1;
    for (;;) {
      const close = text.indexOf('"', at);
      let slashes = 0;
      while (text.charCodeAt(close - 1 - slashes) === 92) slashes++;
      at = close + 1;
      if (slashes % 2 === 0) break;
    }
  }
}

function members(value: unknown): number {
  if (typeof value !== "object" || value === null) return 0;
  let count = 0;
  if (Array.isArray(value)) for (const v of value) count += members(v);
  else
    for (const key in value) {
      const v = (value as Record<string, unknown>)[key];
      count += typeof v === "object" && v !== null ? 1 + members(v) : 1;
    }
  return count;
}

const literal = /[\w+-]/;

class Walker {
  readonly duplicates: string[] = [];
  #at = 0;
  readonly #text: string;
  constructor(text: string) {
    this.#text = text;
  }

  run(): void {
    this.#space();
    this.#value("", "looking for beginning of value");
    this.#space();
    if (this.#at < this.#text.length) throw this.#invalid("after top-level value");
  }

  #space(): void {
    while (" \t\r\n".includes(this.#text[this.#at] ?? "x")) this.#at++;
  }

  #invalid(where: string): JsonSyntaxError {
    if (this.#at >= this.#text.length) return new JsonSyntaxError("unexpected end of JSON input");
    const c = String.fromCodePoint(this.#text.codePointAt(this.#at)!);
    const shown = c === "'" ? `'\\''` : c === '"' ? `'"'` : `'${JSON.stringify(c).slice(1, -1)}'`;
    return new JsonSyntaxError(`invalid character ${shown} ${where}`);
  }

  #value(path: string, where: string): void {
    const c = this.#text[this.#at];
    if (c === "{") this.#object(path);
    else if (c === "[") this.#array(path);
    else if (c === '"') this.#string();
    else if (c !== undefined && /[-\d]/.test(c)) this.#number();
    else if (c === "t") this.#word("true");
    else if (c === "f") this.#word("false");
    else if (c === "n") this.#word("null");
    else throw this.#invalid(where);
  }

  #object(path: string): void {
    const seen = new Set<string>();
    this.#at++;
    this.#space();
    if (this.#text[this.#at] === "}") {
      this.#at++;
      return;
    }
    for (;;) {
      if (this.#text[this.#at] !== '"') throw this.#invalid("looking for beginning of object key string");
      const key = this.#string();
      const here = path === "" ? key : `${path}.${key}`;
      if (seen.has(key)) this.duplicates.push(here);
      seen.add(key);
      this.#space();
      if (this.#text[this.#at] !== ":") throw this.#invalid("after object key");
      this.#at++;
      this.#space();
      this.#value(here, "looking for beginning of value");
      this.#space();
      const c = this.#text[this.#at];
      if (c !== "," && c !== "}") throw this.#invalid("after object key:value pair");
      this.#at++;
      if (c === "}") return;
      this.#space();
    }
  }

  #array(path: string): void {
    this.#at++;
    this.#space();
    if (this.#text[this.#at] === "]") {
      this.#at++;
      return;
    }
    for (let i = 0; ; i++) {
      this.#value(`${path}[${i}]`, "looking for beginning of value");
      this.#space();
      const c = this.#text[this.#at];
      if (c !== "," && c !== "]") throw this.#invalid("after array element");
      this.#at++;
      if (c === "]") return;
      this.#space();
    }
  }

  #string(): string {
    const start = this.#at++;
    for (;;) {
      const c = this.#text[this.#at];
      if (c === undefined || c < " ") throw this.#invalid("in string literal");
      this.#at++;
      if (c === '"') return JSON.parse(this.#text.slice(start, this.#at)) as string;
      if (c !== "\\") continue;
      const e = this.#text[this.#at];
      if (e === undefined || !'"\\/bfnrtu'.includes(e)) throw this.#invalid("in string escape code");
      this.#at++;
      for (let i = 0; e === "u" && i < 4; i++, this.#at++) {
        if (!/[\da-fA-F]/.test(this.#text[this.#at] ?? "")) throw this.#invalid("in \\u hexadecimal character escape");
      }
    }
  }

  #digits(where: string): void {
    if (!/\d/.test(this.#text[this.#at] ?? "")) throw this.#invalid(where);
    while (/\d/.test(this.#text[this.#at] ?? "")) this.#at++;
  }

  #number(): void {
    if (this.#text[this.#at] === "-") {
      this.#at++;
      if (!/\d/.test(this.#text[this.#at] ?? "")) throw this.#invalid("in numeric literal");
    }
    if (this.#text[this.#at] === "0") this.#at++;
    else this.#digits("in numeric literal");
    if (this.#text[this.#at] === ".") {
      this.#at++;
      this.#digits("after decimal point in numeric literal");
    }
    if (/[eE]/.test(this.#text[this.#at] ?? "")) {
      this.#at++;
      if (/[+-]/.test(this.#text[this.#at] ?? "")) this.#at++;
      this.#digits("in exponent of numeric literal");
    }
  }

  #word(word: string): void {
    for (let i = 0; i < word.length; i++, this.#at++) {
      if (this.#text[this.#at] !== word[i]) throw this.#invalid(`in literal ${word} (expecting '${word[i]}')`);
    }
    if (literal.test(this.#text[this.#at] ?? "")) throw this.#invalid("after top-level value");
  }
}

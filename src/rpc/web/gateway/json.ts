// Reads JSON (RFC 8259) value by value. Numbers keep their text, for 64 bits
// don't fit into a double; what is wrong is said in the words of Go's
// encoding/json, which clients of grpc-gateway know.

/** A number as it is written. */
export class JsonNumber {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

export type Json = null | boolean | string | JsonNumber | readonly Json[] | ReadonlyMap<string, Json>;

/** The text is no JSON, or no JSON of the message it should be. */
export class JsonError extends Error {}

/** The text ends within a value: there may be more. */
export class JsonIncomplete extends JsonError {}

const SPACE = /[ \t\r\n]*/y;
/** What a string holds without escapes. */
const PLAIN = /[ !#-[\]-\uffff]*/y;
const DIGITS = /[0-9]*/y;
const ESCAPES: Record<string, string> = { '"': '"', "\\": "\\", "/": "/", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" };
const LITERALS: Record<string, readonly [string, Json]> = { t: ["true", true], f: ["false", false], n: ["null", null] };
/** How deep arrays and objects may lie in each other. */
const MOST_DEPTH = 1000;

/** A character in Go's quotes. */
function quoted(char: string): string {
  if (char === "'") return "'\\''";
  if (char === '"') return `'"'`;
  // Go names the byte.
  return `'${JSON.stringify(String.fromCharCode(Buffer.from(char)[0]!)).slice(1, -1)}'`;
}

export class JsonReader {
  readonly #text: string;
  #at: number;

  constructor(text: string, from = 0) {
    this.#text = text;
    this.#at = from;
  }

  /** Where the next value would begin. */
  get at(): number {
    return this.#at;
  }

  /** Whether nothing but space is left. */
  get atEnd(): boolean {
    this.#skip(SPACE);
    return this.#at >= this.#text.length;
  }

  /**
   * The next value.
   *
   * @param whole nothing follows the text, so that a number may end with it
   * @throws JsonIncomplete, JsonError
   */
  value(whole: boolean): Json {
    const value = this.#value(0);
    if (value instanceof JsonNumber && !whole && this.#at === this.#text.length) throw incomplete();
    return value;
  }

  #skip(what: RegExp): string {
    what.lastIndex = this.#at;
    const [found] = what.exec(this.#text)!;
    this.#at += found.length;
    return found;
  }

  /** The next character, which stays; throws where there is none. */
  #peek(): string {
    const char = this.#text[this.#at];
    if (char === undefined) throw incomplete();
    return char;
  }

  #next(): string {
    this.#skip(SPACE);
    return this.#peek();
  }

  #wrong(where: string): JsonError {
    return new JsonError(`invalid character ${quoted(String.fromCodePoint(this.#text.codePointAt(this.#at)!))} ${where}`);
  }

  #value(depth: number): Json {
    const char = this.#next();
    if (depth > MOST_DEPTH) throw new JsonError("exceeded max depth");
    if (char === "{") return this.#object(depth);
    if (char === "[") return this.#array(depth);
    if (char === '"') return this.#string();
    if (char === "-" || (char >= "0" && char <= "9")) return this.#number();
    const literal = LITERALS[char];
    if (!literal) throw this.#wrong("looking for beginning of value");
    for (const expected of literal[0]) {
      if (this.#peek() !== expected) throw this.#wrong(`in literal ${literal[0]} (expecting '${expected}')`);
      this.#at++;
    }
    return literal[1];
  }

  #object(depth: number): Json {
    const fields = new Map<string, Json>();
    this.#at++;
    if (this.#next() === "}") return this.#close(fields);
    for (;;) {
      if (this.#next() !== '"') throw this.#wrong("looking for beginning of object key string");
      const name = this.#string();
      if (this.#next() !== ":") throw this.#wrong("after object key");
      this.#at++;
      fields.set(name, this.#value(depth + 1));
      if (this.#next() === "}") return this.#close(fields);
      if (this.#peek() !== ",") throw this.#wrong("after object key:value pair");
      this.#at++;
    }
  }

  #array(depth: number): Json {
    const items: Json[] = [];
    this.#at++;
    if (this.#next() === "]") return this.#close(items);
    for (;;) {
      items.push(this.#value(depth + 1));
      if (this.#next() === "]") return this.#close(items);
      if (this.#peek() !== ",") throw this.#wrong("after array element");
      this.#at++;
    }
  }

  #close<T>(value: T): T {
    this.#at++;
    return value;
  }

  #string(): string {
    this.#at++;
    let text = "";
    for (;;) {
      text += this.#skip(PLAIN);
      const char = this.#peek();
      if (char === '"') return this.#close(text);
      if (char !== "\\") throw this.#wrong("in string literal");
      this.#at++;
      const letter = this.#peek();
      const plain = ESCAPES[letter];
      if (plain === undefined && letter !== "u") throw this.#wrong("in string escape code");
      this.#at++;
      text += plain ?? this.#hex();
    }
  }

  #hex(): string {
    const from = this.#at;
    while (this.#at < from + 4) {
      if (!/[0-9a-fA-F]/.test(this.#peek())) throw this.#wrong("in \\u hexadecimal character escape");
      this.#at++;
    }
    return String.fromCharCode(Number.parseInt(this.#text.slice(from, this.#at), 16));
  }

  #number(): JsonNumber {
    const from = this.#at;
    if (this.#peek() === "-") this.#at++;
    if (this.#peek() === "0") this.#at++;
    else this.#digits("in numeric literal");
    if (this.#text[this.#at] === ".") {
      this.#at++;
      this.#digits("after decimal point in numeric literal");
    }
    if (/[eE]/.test(this.#text[this.#at] ?? "")) {
      this.#at++;
      if (/[+-]/.test(this.#peek())) this.#at++;
      this.#digits("in exponent of numeric literal");
    }
    return new JsonNumber(this.#text.slice(from, this.#at));
  }

  #digits(where: string): void {
    const found = this.#skip(DIGITS);
    if (found !== "") return;
    this.#peek();
    throw this.#wrong(where);
  }
}

const incomplete = () => new JsonIncomplete("unexpected EOF");

/** A text that is one value. @throws JsonError */
export function readJson(text: string): Json {
  const reader = new JsonReader(text);
  try {
    const value = reader.value(true);
    if (reader.atEnd) return value;
  } catch (error) {
    throw error instanceof JsonIncomplete ? new JsonError("unexpected end of JSON input") : error;
  }
  throw new JsonError(`invalid character ${quoted(text[reader.at]!)} after top-level value`);
}

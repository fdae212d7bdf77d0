// Parses the part of the Dockerfile language that needs no program to run
// (docs.docker.com/reference/dockerfile): instructions, continuation lines,
// comments, the JSON form, and variables.

export interface Instruction {
  /** In capitals. */
  name: string;
  /** Line of its beginning, from 1. */
  line: number;
  /** Options such as --chown, before the arguments. */
  flags: Record<string, string>;
  /** The rest of it, as written. */
  rest: string;
  /** The arguments, if they are written as a JSON list. */
  json?: string[];
}

/** A Dockerfile that can't be built; the message says the line. */
export class DockerfileError extends Error {
  override name = "DockerfileError";
  constructor(line: number, message: string) {
    super(`Dockerfile line ${line}: ${message}`);
  }
}

/** Splits a Dockerfile into instructions. @throws DockerfileError. */
export function parseDockerfile(text: string): Instruction[] {
  const instructions: Instruction[] = [];
  const lines = text.split(/\r?\n/);
  for (let i = 0; i < lines.length; i++) {
    const begin = i + 1;
    let line = lines[i]!.trim();
    if (line === "" || line.startsWith("#")) continue;
    while (line.endsWith("\\") && i + 1 < lines.length) {
      const next = lines[++i]!.trim();
      // Comments and empty lines may stand between continued ones.
      if (next.startsWith("#") || next === "") line = `${line.slice(0, -1)}\\`;
      else line = `${line.slice(0, -1)} ${next}`;
    }
    instructions.push(instruction(line.replace(/\\$/, "").trim(), begin));
  }
  return instructions;
}

function instruction(line: string, at: number): Instruction {
  const [, word, afterWord] = /^(\S+)\s*(.*)$/s.exec(line)!;
  if (!/^[A-Za-z]+$/.test(word!)) throw new DockerfileError(at, `unknown instruction: ${word}`);
  const flags: Record<string, string> = {};
  let rest = afterWord!;
  for (let m = /^--([a-z-]+)(?:=(\S*))?\s*/.exec(rest); m !== null; m = /^--([a-z-]+)(?:=(\S*))?\s*/.exec(rest)) {
    flags[m[1]!] = m[2] ?? "true";
    rest = rest.slice(m[0].length);
  }
  if (/<<-?["']?\w+/.test(rest)) throw new DockerfileError(at, "here-documents are not supported");
  return { name: word!.toUpperCase(), line: at, flags, rest, json: jsonList(rest) };
}

function jsonList(text: string): string[] | undefined {
  if (!text.startsWith("[")) return undefined;
  try {
    const value = JSON.parse(text) as unknown;
    return Array.isArray(value) && value.every((v) => typeof v === "string") ? value : undefined;
  } catch {
    // What only looks like a list is a line of shell, by the language's own rule.
    return undefined;
  }
}

/** Puts values in for $NAME, ${NAME}, ${NAME:-default} and ${NAME:+other}; `\$` stays a dollar. */
export function expand(text: string, variables: ReadonlyMap<string, string>): string {
  return text.replace(
    /\\(\$)|\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)(?::([-+])([^}]*))?\})/g,
    (_, literal?: string, bare?: string, braced?: string, operator?: string, word?: string) => {
      if (literal) return "$";
      const value = variables.get(bare ?? braced ?? "") ?? "";
      if (operator === "-") return value === "" ? (word ?? "") : value;
      if (operator === "+") return value === "" ? "" : (word ?? "");
      return value;
    },
  );
}

/** Words of a line; quotes and backslashes join what has spaces. */
export function words(text: string): string[] {
  const found: string[] = [];
  for (const [match] of text.matchAll(/(?:[^\s"'\\]|\\.|"(?:[^"\\]|\\.)*"|'[^']*')+/g)) {
    found.push(
      match.replace(
        /\\(.)|"((?:[^"\\]|\\.)*)"|'([^']*)'/g,
        (_, c?: string, d?: string, s?: string) => c ?? s ?? (d ?? "").replace(/\\(["\\$])/g, "$1"),
      ),
    );
  }
  return found;
}

/** NAME=value pairs, or the old form of one name and a value to the end of the line. */
export function pairs(instruction: Instruction, text: string): [string, string][] {
  const list = words(text);
  if (list.length > 0 && !list[0]!.includes("=")) {
    const [, name, value] = /^(\S+)\s+(.*)$/s.exec(text) ?? [];
    if (name === undefined) throw new DockerfileError(instruction.line, `${instruction.name} must have two arguments`);
    return [[name, value!]];
  }
  return list.map((word) => {
    const at = word.indexOf("=");
    if (at < 1) throw new DockerfileError(instruction.line, `can't find = in ${JSON.stringify(word)}`);
    return [word.slice(0, at), word.slice(at + 1)];
  });
}

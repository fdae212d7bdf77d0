// DNS messages (RFC 1035, 6891): as much as a server needs to read a question,
// write an answer, and pass on what another server answered.

export const TYPE = { A: 1, NS: 2, CNAME: 5, SOA: 6, PTR: 12, HINFO: 13, TXT: 16, AAAA: 28, SRV: 33, OPT: 41, ANY: 255 } as const;
export const RCODE = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4, REFUSED: 5, BADVERS: 16 } as const;
export const CLASS_IN = 1;

/** Bits of the header's flags. */
const QR = 0x8000;
const AA = 0x0400;
const TC = 0x0200;
const RD = 0x0100;
const RA = 0x0080;
const CD = 0x0010;

export const rcodeName = (rcode: number) => Object.entries(RCODE).find(([, v]) => v === rcode)?.[0] ?? String(rcode);
export const typeName = (type: number) => Object.entries(TYPE).find(([, v]) => v === type)?.[0] ?? "other";

/** A malformed message; `rcode` is what to answer. */
export class WireError extends Error {
  readonly rcode: number;
  constructor(message: string, rcode: number = RCODE.FORMERR) {
    super(message);
    this.name = "WireError";
    this.rcode = rcode;
  }
}

const u16 = (b: Uint8Array, at: number) => (b[at]! << 8) | b[at + 1]!;
export const u32 = (b: Uint8Array, at: number) => ((b[at]! << 24) | (b[at + 1]! << 16) | (b[at + 2]! << 8) | b[at + 3]!) >>> 0;
export function putU16(b: Uint8Array, at: number, value: number): void {
  b[at] = value >>> 8;
  b[at + 1] = value & 255;
}
export function putU32(b: Uint8Array, at: number, value: number): void {
  putU16(b, at, value >>> 16);
  putU16(b, at + 2, value & 0xffff);
}

/** Where a name ends that begins at `at`. Throws a WireError past the end of the message. */
function skipName(b: Uint8Array, at: number): number {
  for (;;) {
    const length = b[at];
    if (length === undefined) throw new WireError("name runs past the end");
    if (length === 0) return at + 1;
    if (length >= 0xc0) return at + 2;
    if (length > 63) throw new WireError("label of unknown kind");
    at += length + 1;
  }
}

/** The name at `at` in lower case, without the last dot. Bytes that are no letters, digits, - or _ are kept as Latin-1. */
export function readName(b: Uint8Array, at: number): string {
  const labels: string[] = [];
  let jumps = 0;
  for (let total = 0; ; ) {
    const length = b[at];
    if (length === undefined) throw new WireError("name runs past the end");
    if (length === 0) return labels.join(".");
    if (length >= 0xc0) {
      if (++jumps > 32) throw new WireError("compression loop");
      at = u16(b, at) & 0x3fff;
      continue;
    }
    if (length > 63 || at + 1 + length > b.length) throw new WireError("bad label");
    total += length + 1;
    if (total > 254) throw new WireError("name is too long");
    labels.push(String.fromCharCode(...b.subarray(at + 1, at + 1 + length)).toLowerCase());
    at += length + 1;
  }
}

export interface Query {
  id: number;
  /** Lower case, without the last dot. */
  name: string;
  type: number;
  class: number;
  opcode: number;
  recursionDesired: boolean;
  checkingDisabled: boolean;
  /** The question section as it came, so that its letters' case goes back (0x20). */
  question: Uint8Array;
  /** What the client can receive over UDP; undefined without EDNS. */
  edns: { size: number; version: number; dnssecOk: boolean; hasOptions: boolean } | undefined;
}

/** Reads a query. Throws a WireError; a message shorter than a header, or a response, gets no answer at all. */
export function parseQuery(b: Uint8Array): Query {
  const flags = u16(b, 2);
  const opcode = (flags >> 11) & 15;
  if (opcode !== 0) throw new WireError("opcode", RCODE.NOTIMP);
  if (u16(b, 4) !== 1 || u16(b, 6) !== 0) throw new WireError("not one question");
  const end = skipName(b, 12) + 4;
  if (end > b.length) throw new WireError("question runs past the end");
  let edns: Query["edns"];
  let at = end;
  for (let i = u16(b, 8) + u16(b, 10); i > 0; i--) {
    const name = at;
    at = skipName(b, at);
    if (at + 10 > b.length) throw new WireError("record runs past the end");
    const length = u16(b, at + 8);
    if (at + 10 + length > b.length) throw new WireError("record runs past the end");
    if (u16(b, at) === TYPE.OPT) {
      if (edns || b[name] !== 0) throw new WireError("more than one OPT");
      edns = {
        size: Math.max(512, u16(b, at + 2)),
        version: b[at + 5]!,
        dnssecOk: (b[at + 6]! & 0x80) !== 0,
        hasOptions: length > 0,
      };
    }
    at += 10 + length;
  }
  return {
    id: u16(b, 0),
    name: readName(b, 12),
    type: u16(b, end - 4),
    class: u16(b, end - 2),
    opcode,
    recursionDesired: (flags & RD) !== 0,
    checkingDisabled: (flags & CD) !== 0,
    question: b.slice(12, end),
    edns,
  };
}

export type RecordData =
  | { type: "A" | "AAAA"; address: Uint8Array }
  | { type: "CNAME" | "PTR" | "NS"; target: string }
  | { type: "SRV"; priority: number; weight: number; port: number; target: string }
  | { type: "TXT"; text: string }
  | {
      type: "SOA";
      mname: string;
      rname: string;
      numbers: readonly [serial: number, refresh: number, retry: number, expire: number, minimum: number];
    };

export interface ResourceRecord {
  name: string;
  /** Seconds. */
  ttl: number;
  data: RecordData;
}

export interface Reply {
  rcode: number;
  authoritative: boolean;
  answers: readonly ResourceRecord[];
  authorities?: readonly ResourceRecord[];
  additionals?: readonly ResourceRecord[];
}

/** Bytes of our OPT record: version 0, 1232 bytes of UDP. */
function writeOpt(b: Uint8Array, at: number, rcode: number, dnssecOk: boolean): number {
  b[at] = 0;
  putU16(b, at + 1, TYPE.OPT);
  putU16(b, at + 3, 1232);
  putU32(b, at + 5, ((rcode >> 4) << 24) | (dnssecOk ? 0x8000 : 0));
  putU16(b, at + 9, 0);
  return at + optBytes;
}
const optBytes = 11;

/** Room for the longest message; messages are written one at a time. */
const scratch = new Uint8Array(65_535);

/** Writes records with compressed names into the scratch space. */
class Writer {
  readonly #limit: number;
  /** Where a name, or the rest of one, stands already. */
  readonly #names = new Map<string, number>();
  at: number;

  constructor(limit: number, query: Query) {
    this.#limit = limit;
    scratch.set(query.question, 12);
    this.at = 12 + query.question.length;
    for (let rest = query.name, here = 12; rest !== ""; ) {
      this.#names.set(rest, here);
      const dot = rest.indexOf(".");
      here += dot + 1;
      rest = dot < 0 ? "" : rest.slice(dot + 1);
    }
  }

  /** False, and nothing written, when the record does not fit. */
  record({ name, ttl, data }: ResourceRecord): boolean {
    const start = this.at;
    if (start + name.length + 12 + sizeOf(data) > scratch.length) return false;
    this.#name(name);
    this.#u16(TYPE[data.type]);
    this.#u16(CLASS_IN);
    this.#u32(ttl);
    const length = this.at;
    this.at += 2;
    this.#data(data);
    putU16(scratch, length, this.at - length - 2);
    if (this.at <= this.#limit) return true;
    for (const [known, at] of this.#names) if (at >= start) this.#names.delete(known);
    this.at = start;
    return false;
  }

  #data(d: RecordData): void {
    switch (d.type) {
      case "A":
      case "AAAA":
        scratch.set(d.address, this.at);
        this.at += d.address.length;
        return;
      case "CNAME":
      case "PTR":
      case "NS":
        this.#name(d.target);
        return;
      case "SRV":
        for (const n of [d.priority, d.weight, d.port]) this.#u16(n);
        // RFC 2782: not compressed.
        this.#name(d.target, false);
        return;
      case "TXT":
        scratch[this.at++] = d.text.length;
        this.#text(d.text);
        return;
      case "SOA":
        this.#name(d.mname);
        this.#name(d.rname);
        for (const n of d.numbers) this.#u32(n);
    }
  }

  #u16(value: number): void {
    putU16(scratch, this.at, value);
    this.at += 2;
  }

  #u32(value: number): void {
    putU32(scratch, this.at, value);
    this.at += 4;
  }

  #text(text: string): void {
    for (let i = 0; i < text.length; i++) scratch[this.at++] = text.charCodeAt(i);
  }

  #name(name: string, compress = true): void {
    for (let rest = name; rest !== ""; ) {
      const known = this.#names.get(rest);
      if (known !== undefined && compress) return this.#u16(0xc000 | known);
      if (known === undefined && this.at < 0x4000) this.#names.set(rest, this.at);
      const dot = rest.indexOf(".");
      const label = dot < 0 ? rest : rest.slice(0, dot);
      scratch[this.at++] = label.length;
      this.#text(label);
      rest = dot < 0 ? "" : rest.slice(dot + 1);
    }
    scratch[this.at++] = 0;
  }
}

/** At most so many bytes without compression. */
function sizeOf(d: RecordData): number {
  switch (d.type) {
    case "A":
    case "AAAA":
      return d.address.length;
    case "SRV":
      return 8 + d.target.length;
    case "TXT":
      return 1 + d.text.length;
    case "SOA":
      return 24 + d.mname.length + d.rname.length;
    default:
      return 2 + d.target.length;
  }
}

/**
 * The answer to a query in at most `limit` bytes. What does not fit of the
 * answers sets TC; additional records are left out without a word.
 */
export function encodeReply(query: Query, reply: Reply, limit: number): Uint8Array {
  const room = limit - (query.edns ? optBytes : 0);
  const w = new Writer(Math.max(room, 12 + query.question.length), query);
  let truncated = false;
  const counts = [0, 0, 0];
  [reply.answers, reply.authorities ?? [], reply.additionals ?? []].forEach((section, i) => {
    for (const record of section) {
      if (truncated) return;
      if (w.record(record)) counts[i]!++;
      else if (i < 2) truncated = true;
      else return;
    }
  });
  const out = new Uint8Array(w.at + (query.edns ? optBytes : 0));
  out.set(scratch.subarray(0, w.at));
  if (query.edns) writeOpt(out, w.at, reply.rcode, query.edns.dnssecOk);
  putU16(out, 0, query.id);
  putU16(out, 2, flagsOf(query, reply.rcode, (reply.authoritative ? AA : 0) | (truncated ? TC : 0)));
  putU16(out, 4, 1);
  counts.forEach((n, i) => {
    putU16(out, 6 + 2 * i, n + (i === 2 && query.edns ? 1 : 0));
  });
  return out;
}

const flagsOf = (query: Query, rcode: number, more: number) =>
  QR | RA | more | (query.recursionDesired ? RD : 0) | (query.checkingDisabled ? CD : 0) | (rcode & 15);

/** An answer to what could not even be read: the header alone. */
export function encodeError(b: Uint8Array, rcode: number): Uint8Array {
  const out = new Uint8Array(12);
  out.set(b.subarray(0, 2));
  putU16(out, 2, QR | RA | (u16(b, 2) & (0x7800 | RD)) | (rcode & 15));
  return out;
}

/** A query of our own, with EDNS. */
export function encodeQuery(id: number, question: Uint8Array, options: { dnssecOk: boolean; checkingDisabled: boolean }): Uint8Array {
  const out = new Uint8Array(12 + question.length + optBytes);
  putU16(out, 0, id);
  putU16(out, 2, RD | (options.checkingDisabled ? CD : 0));
  putU16(out, 4, 1);
  putU16(out, 10, 1);
  out.set(question, 12);
  writeOpt(out, 12 + question.length, 0, options.dnssecOk);
  return out;
}

/** A question section: name, type, class IN. */
export function encodeQuestion(name: string, type: number): Uint8Array {
  const labels = name === "" ? [] : name.split(".");
  const out = new Uint8Array(labels.reduce((n, l) => n + l.length + 1, 1) + 4);
  let at = 0;
  for (const label of labels) {
    out[at++] = label.length;
    for (let i = 0; i < label.length; i++) out[at++] = label.charCodeAt(i);
  }
  putU16(out, at + 1, type);
  putU16(out, at + 3, CLASS_IN);
  return out;
}

export interface ScannedRecord {
  section: "answer" | "authority" | "additional";
  start: number;
  type: number;
  ttlAt: number;
  dataAt: number;
  end: number;
}

export interface Scanned {
  id: number;
  rcode: number;
  truncated: boolean;
  questionEnd: number;
  records: ScannedRecord[];
}

const sections = ["answer", "authority", "additional"] as const;

/** Finds the records of a response. Throws a WireError when it is malformed, or no response to one question. */
export function scan(b: Uint8Array): Scanned {
  if (b.length < 12) throw new WireError("shorter than a header");
  const flags = u16(b, 2);
  if (!(flags & QR) || u16(b, 4) !== 1) throw new WireError("not a response to one question");
  const questionEnd = skipName(b, 12) + 4;
  const records: ScannedRecord[] = [];
  let at = questionEnd;
  sections.forEach((section, i) => {
    for (let n = u16(b, 6 + 2 * i); n > 0; n--) {
      const start = at;
      at = skipName(b, at);
      if (at + 10 > b.length) throw new WireError("record runs past the end");
      const dataAt = at + 10;
      const end = dataAt + u16(b, at + 8);
      if (end > b.length) throw new WireError("record runs past the end");
      records.push({ section, start, type: u16(b, at), ttlAt: at + 4, dataAt, end });
      at = end;
    }
  });
  return { id: u16(b, 0), rcode: flags & 15, truncated: (flags & TC) !== 0, questionEnd, records };
}

/** The response without its OPT record, which speaks of one hop only. */
export function withoutOpt(b: Uint8Array, scanned: Scanned): Uint8Array {
  const opt = scanned.records.find((r) => r.type === TYPE.OPT);
  if (!opt) return b;
  const out = new Uint8Array(b.length - (opt.end - opt.start));
  out.set(b.subarray(0, opt.start));
  // Only records of the additional section follow, and names there never point behind it but at what came before.
  out.set(b.subarray(opt.end), opt.start);
  putU16(out, 10, u16(b, 10) - 1);
  return out;
}

/**
 * Another server's response (without OPT) as the answer to this query: its id,
 * flags and letters, and TTLs as told; with TC when it exceeds `limit` bytes.
 */
export function relay(query: Query, b: Uint8Array, ttls: readonly (readonly [at: number, ttl: number])[], limit: number): Uint8Array {
  const rcode = u16(b, 2) & 15;
  const fits = b.length + (query.edns ? optBytes : 0) <= limit;
  const body = fits ? b.length : 12 + query.question.length;
  const out = new Uint8Array(body + (query.edns ? optBytes : 0));
  out.set(b.subarray(0, body));
  out.set(query.question, 12);
  if (!fits) out.fill(0, 6, 12);
  else for (const [at, ttl] of ttls) putU32(out, at, ttl);
  putU16(out, 0, query.id);
  putU16(out, 2, flagsOf(query, rcode, fits ? 0 : TC));
  if (query.edns) {
    writeOpt(out, body, rcode, query.edns.dnssecOk);
    putU16(out, 10, u16(out, 10) + 1);
  }
  return out;
}

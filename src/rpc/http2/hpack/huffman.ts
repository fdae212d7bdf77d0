// The Huffman code of HPACK (RFC 7541, appendix B). It is canonical: symbols
// of one length are numbered in order, so the lengths alone say everything.

/** Bits of each symbol 0 to 255 and of EOS, a digit of base 36 each. */
const LENGTHS =
  "dnsssssssoussussssssssusssssssss6aacd68baa8b8666555666666678f6ca" +
  "d67777777777777777777777878djde6f56565666577666567655677777fbeds" +
  "kmkkmmmnmnnnnnonoomnonnnnlmnmnnomlkmmnnlnmmolmnnllmlnmnnkmmmnmmn" +
  "qqkjmnmpqqqrrqopjlqrrqrollqqsrrrkoklmllnmmppooqnqrqqrrrrrsrrrrrq" +
  "u";

const EOS = 256;
const lengths = Uint8Array.from(LENGTHS, (digit) => Number.parseInt(digit, 36));
const codes = new Uint32Array(257);

/** For state and nibble: next state in the low byte, then the flags, then the symbol in the third byte. */
let transitions: Uint32Array | undefined;
const EMIT = 0x100;
const FAIL = 0x200;
/** States in which a string may end: a prefix of EOS of less than a byte. */
let accepting: Uint8Array | undefined;

{
  let code = 0;
  for (let length = 1; length <= 30; length++) {
    for (let symbol = 0; symbol <= EOS; symbol++) if (lengths[symbol] === length) codes[symbol] = code++;
    code *= 2;
  }
}

/** Builds the decoder, four bits a step: no symbol is shorter than five, so a step ends at most one. */
function build(): Uint32Array {
  const children: number[] = [0, 0];
  const LEAF = 0x10000;
  let nodes = 1;
  for (let symbol = 0; symbol <= EOS; symbol++) {
    let node = 0;
    for (let bit = lengths[symbol]! - 1; bit >= 0; bit--) {
      const slot = node * 2 + ((codes[symbol]! >>> bit) & 1);
      if (bit === 0) children[slot] = LEAF | symbol;
      else if (children[slot]) node = children[slot]!;
      else {
        children[slot] = nodes;
        children[nodes * 2] = children[nodes * 2 + 1] = 0;
        node = nodes++;
      }
    }
  }
  const table = new Uint32Array(nodes * 16);
  for (let state = 0; state < nodes; state++) {
    for (let nibble = 0; nibble < 16; nibble++) {
      let node = state;
      let flags = 0;
      for (let bit = 3; bit >= 0; bit--) {
        const next = children[node * 2 + ((nibble >>> bit) & 1)]!;
        if (!(next & LEAF)) node = next;
        else {
          const symbol = next & 0xffff;
          flags |= symbol === EOS ? FAIL : EMIT | (symbol << 16);
          node = 0;
        }
      }
      table[state * 16 + nibble] = node | flags;
    }
  }
  accepting = new Uint8Array(nodes);
  for (let ones = 0, node = 0; ones < 8; ones++) {
    accepting[node] = 1;
    node = children[node * 2 + 1]!;
  }
  return table;
}

/** Bytes that `text` takes when coded; each character counts as a byte. */
export function encodedLength(text: string): number {
  let bits = 0;
  for (let i = 0; i < text.length; i++) bits += lengths[text.charCodeAt(i) & 0xff]!;
  return (bits + 7) >>> 3;
}

/** Writes `text` at `at`, where encodedLength(text) bytes must be free; returns the end. */
export function encode(text: string, out: Uint8Array, at: number): number {
  let pending = 0;
  let bits = 0;
  for (let i = 0; i < text.length; i++) {
    const symbol = text.charCodeAt(i) & 0xff;
    let left = lengths[symbol]!;
    const code = codes[symbol]!;
    while (left > 0) {
      const take = Math.min(8 - bits, left);
      left -= take;
      pending = (pending << take) | ((code >>> left) & ((1 << take) - 1));
      bits += take;
      if (bits === 8) {
        out[at++] = pending;
        pending = bits = 0;
      }
    }
  }
  if (bits > 0) out[at++] = (pending << (8 - bits)) | (0xff >>> bits);
  return at;
}

/** Decodes [start, end) into `out`, which holds twice the input; returns the length, or -1 where the padding or EOS is wrong. */
export function decode(bytes: Uint8Array, start: number, end: number, out: Uint8Array): number {
  transitions ??= build();
  const table = transitions;
  let state = 0;
  let length = 0;
  for (let i = start; i < end; i++) {
    const byte = bytes[i]!;
    let step = table[state * 16 + (byte >>> 4)]!;
    if (step & EMIT) out[length++] = step >>> 16;
    if (step & FAIL) return -1;
    step = table[(step & 0xff) * 16 + (byte & 15)]!;
    if (step & EMIT) out[length++] = step >>> 16;
    if (step & FAIL) return -1;
    state = step & 0xff;
  }
  return accepting![state] ? length : -1;
}

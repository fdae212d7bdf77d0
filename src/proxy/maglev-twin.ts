// The kernel of wasm/proxy in TypeScript, over the same memory: what tests
// compare the kernel with.

function murmur3(bytes: Uint8Array, seed: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const rotl = (x: number, n: number) => (x << n) | (x >>> (32 - n));
  const mix = (k: number) => Math.imul(rotl(Math.imul(k, 0xcc9e2d51), 15), 0x1b873593);
  const whole = bytes.length & ~3;
  let hash = seed;
  for (let i = 0; i < whole; i += 4) hash = (Math.imul(rotl(hash ^ mix(view.getUint32(i, true)), 13), 5) + 0xe6546b64) | 0;
  let tail = 0;
  for (let i = bytes.length - 1; i >= whole; i--) tail = (tail << 8) | bytes[i]!;
  if (whole !== bytes.length) hash ^= mix(tail);
  hash ^= bytes.length;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

export function twin(memory: WebAssembly.Memory) {
  return (ends: number, names: number, count: number, _scratch: number, at: number, size: number): void => {
    const table = new Int32Array(memory.buffer, at, size).fill(-1);
    const end = new Uint32Array(memory.buffer, ends, count);
    const backends = Array.from(end, (e, i) => {
      const name = new Uint8Array(memory.buffer, names + (end[i - 1] ?? 0), e - (end[i - 1] ?? 0));
      return { next: murmur3(name, 0xdeafbabe) % size, step: (murmur3(name, 0x000decaf) % (size - 1)) + 1 };
    });
    for (let filled = 0; filled < size && count > 0; filled++) {
      const backend = backends[filled % count]!;
      while (table[backend.next]! >= 0) backend.next = (backend.next + backend.step) % size;
      table[backend.next] = filled % count;
      backend.next = (backend.next + backend.step) % size;
    }
  };
}

// Writes a bbolt file from its first byte to its last. The meta pages come
// first and tell where the root is, so the pages are laid out by the sizes of
// the pairs before any is written; only that layout is held in memory.
import {
  BRANCH_ELEMENT,
  BUCKET_FLAG,
  BUCKET_HEADER,
  LEAF_ELEMENT,
  MOST_ELEMENTS,
  PAGE_HEADER,
  PAGE_SIZE,
  Page,
  putMeta,
  putNumber,
  putPageHeader,
} from "./format.ts";

/** The pairs of a bucket in order of their keys, none empty or twice. Asked for more than once; must not change. */
export interface Pairs {
  readonly count: number;
  keySize(i: number): number;
  valueSize(i: number): number;
  putKey(i: number, into: Uint8Array, at: number): void;
  putValue(i: number, into: Uint8Array, at: number): void;
}

export interface BucketSource {
  readonly name: string;
  readonly pairs: Pairs;
}

/** Pairs that are there as bytes. */
export class ArrayPairs implements Pairs {
  readonly #pairs: readonly (readonly [key: Uint8Array, value: Uint8Array])[];
  constructor(pairs: Iterable<readonly [key: Uint8Array, value: Uint8Array]>) {
    this.#pairs = [...pairs].sort(([a], [b]) => Buffer.compare(a, b));
  }
  get count(): number {
    return this.#pairs.length;
  }
  keySize(i: number): number {
    return this.#pairs[i]![0].length;
  }
  valueSize(i: number): number {
    return this.#pairs[i]![1].length;
  }
  putKey(i: number, into: Uint8Array, at: number): void {
    into.set(this.#pairs[i]![0], at);
  }
  putValue(i: number, into: Uint8Array, at: number): void {
    into.set(this.#pairs[i]![1], at);
  }
}

/** The nodes of one height of a tree. */
interface Level {
  /** First element of each node: a pair in a leaf, a node of the level below in a branch. Ends with the number of elements. */
  readonly starts: number[];
  /** First pair below each node. */
  readonly first: number[];
  /** Page of each node. */
  readonly pages: number[];
}

interface Tree {
  readonly pairs: Pairs;
  /** From the leaves up. */
  readonly levels: Level[];
  readonly flags: number;
}

/** Pages of the file before its first bucket: two meta pages and an empty freelist. */
const FREELIST = 2;
const FIRST = 3;
/** Elements laid out, or written, before other work has its turn. */
const SLICE = 4096;
const CHUNK = 64 * 1024;

export interface BoltFile {
  /** Bytes of the whole file: a multiple of 4096. */
  readonly size: number;
  /** The file in pieces of 64 KiB, or of one page with what overflows it where that is more. Each is overwritten by the next. */
  chunks(): Generator<Uint8Array>;
}

/** Lays a file out. Yields between slices of the work; returns what writes it. */
export function* boltFile(buckets: readonly BucketSource[]): Generator<void, BoltFile> {
  const trees: Tree[] = [];
  let next = FIRST;
  for (const { pairs } of buckets) {
    const tree = yield* layOut(pairs, 0, next);
    next = nextPage(tree);
    trees.push(tree);
  }
  const names = buckets.map(({ name }, i): [Uint8Array, Uint8Array] => [new TextEncoder().encode(name), bucketHeader(rootOf(trees[i]!))]);
  const root = yield* layOut(new ArrayPairs(names), BUCKET_FLAG, next);
  const pages = nextPage(root);
  trees.push(root);
  return { size: pages * PAGE_SIZE, chunks: () => chunksOf(trees, rootOf(root), pages) };
}

const rootOf = (tree: Tree) => tree.levels.at(-1)!.pages[0]!;
const nextPage = (tree: Tree) => tree.levels.at(-1)!.pages.at(-1)!;

function bucketHeader(root: number): Uint8Array {
  const bytes = new Uint8Array(BUCKET_HEADER);
  putNumber(new DataView(bytes.buffer), 0, root);
  return bytes;
}

/** Fills pages with as many elements as fit, one larger than a page alone. `pages` of the last level ends with the page after it. */
function* layOut(pairs: Pairs, flags: number, firstPage: number): Generator<void, Tree> {
  const levels: Level[] = [];
  let page = firstPage;
  let count = pairs.count;
  let elementSize = (i: number) => LEAF_ELEMENT + pairs.keySize(i) + pairs.valueSize(i);
  for (;;) {
    const below = levels.at(-1);
    const starts: number[] = [0];
    let used = PAGE_HEADER;
    const sizes: number[] = [];
    for (let i = 0; i < count; i++) {
      const size = elementSize(i);
      const begun = i - starts.at(-1)!;
      if (begun > 0 && (used + size > PAGE_SIZE || begun === MOST_ELEMENTS)) {
        starts.push(i);
        sizes.push(used);
        used = PAGE_HEADER;
      }
      used += size;
      if (i % SLICE === SLICE - 1) yield;
    }
    sizes.push(used);
    // A branch has two children at least.
    if (below && starts.length > 1 && count - starts.at(-1)! === 1) {
      const moved = elementSize(--starts[starts.length - 1]!);
      sizes[sizes.length - 2]! -= moved;
      sizes[sizes.length - 1]! += moved;
    }
    const pages = sizes.map((bytes) => {
      const at = page;
      page += Math.ceil(bytes / PAGE_SIZE);
      return at;
    });
    pages.push(page);
    const first = below ? starts.map((s) => below.first[s]!) : starts.slice();
    levels.push({ starts: [...starts, count], first, pages });
    if (starts.length === 1) return { pairs, levels, flags };
    count = starts.length;
    elementSize = (i) => BRANCH_ELEMENT + pairs.keySize(first[i]!);
  }
}

function* chunksOf(trees: readonly Tree[], root: number, pages: number): Generator<Uint8Array> {
  const shared = new Uint8Array(CHUNK);
  let chunk = shared;
  const view = new DataView(chunk.buffer);
  for (const id of [0, 1]) {
    // The first meta page holds; a writer that goes on overwrites the other.
    putMeta(view, id * PAGE_SIZE, id, { pageSize: PAGE_SIZE, root, freelist: FREELIST, pages, transaction: BigInt(2 - id) });
  }
  putPageHeader(view, FREELIST * PAGE_SIZE, FREELIST, Page.freelist, 0, 0);
  let used = FIRST * PAGE_SIZE;
  for (const tree of trees) {
    for (const [height, level] of tree.levels.entries()) {
      for (let node = 0; node + 1 < level.pages.length; node++) {
        const size = (level.pages[node + 1]! - level.pages[node]!) * PAGE_SIZE;
        if (used + size > chunk.length) {
          if (used > 0) yield chunk.subarray(0, used);
          chunk = size > CHUNK ? new Uint8Array(size) : shared.fill(0);
          used = 0;
        }
        putNode(tree, height, node, chunk.subarray(used, used + size));
        used += size;
      }
    }
  }
  yield chunk.subarray(0, used);
}

function putNode(tree: Tree, height: number, node: number, bytes: Uint8Array): void {
  const { pairs, flags } = tree;
  const level = tree.levels[height]!;
  const below = tree.levels[height - 1];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const start = level.starts[node]!;
  const count = level.starts[node + 1]! - start;
  putPageHeader(view, 0, level.pages[node]!, below ? Page.branch : Page.leaf, count, bytes.length / PAGE_SIZE - 1);
  let data = PAGE_HEADER + count * (below ? BRANCH_ELEMENT : LEAF_ELEMENT);
  for (let k = 0; k < count; k++) {
    const i = below ? below.first[start + k]! : start + k;
    const keySize = pairs.keySize(i);
    const at = PAGE_HEADER + k * (below ? BRANCH_ELEMENT : LEAF_ELEMENT);
    if (below) {
      view.setUint32(at, data - at, true);
      view.setUint32(at + 4, keySize, true);
      putNumber(view, at + 8, below.pages[start + k]!);
    } else {
      view.setUint32(at, flags, true);
      view.setUint32(at + 4, data - at, true);
      view.setUint32(at + 8, keySize, true);
      view.setUint32(at + 12, pairs.valueSize(i), true);
    }
    pairs.putKey(i, bytes, data);
    data += keySize;
    if (below) continue;
    pairs.putValue(i, bytes, data);
    data += pairs.valueSize(i);
  }
}

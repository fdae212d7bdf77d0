// The file format of bbolt (go.etcd.io/bbolt, version 2 of its file format): a
// file of pages of one size, a B+ tree a bucket. All numbers are little-endian.
//
//   page      id u64 | flags u16 | count u16 | overflow u32 | body; `overflow` pages follow that belong to it
//   meta      magic u32 | version u32 | page size u32 | flags u32 | root bucket | freelist page u64 |
//             pages u64 | transaction u64 | FNV-1a 64 of these; in pages 0 and 1, the higher transaction holds
//   bucket    root page u64 (0: the page follows inline) | sequence u64
//   branch    elements { pos u32 | key bytes u32 | page u64 }, then the keys
//   leaf      elements { flags u32 | pos u32 | key bytes u32 | value bytes u32 }, then keys and values
//             `pos` counts from the element's own start; flag 1 marks a nested bucket
//   freelist  ids u64; with a count of 0xffff the first is the real count

export const PAGE_SIZE = 4096;
export const PAGE_HEADER = 16;
export const BRANCH_ELEMENT = 16;
export const LEAF_ELEMENT = 16;
export const BUCKET_HEADER = 16;
/** Most elements of a page: the header counts them in 16 bits. */
export const MOST_ELEMENTS = 0xffff;
export const BUCKET_FLAG = 1;

export const Page = { branch: 0x01, leaf: 0x02, meta: 0x04, freelist: 0x10 } as const;

const MAGIC = 0xed0cdaed;
const VERSION = 2;
/** Bytes of a meta before its checksum. */
const META_BYTES = 56;

export interface Meta {
  pageSize: number;
  /** Page of the root bucket. */
  root: number;
  freelist: number;
  /** Pages of the file, the free ones included. */
  pages: number;
  transaction: bigint;
}

/** FNV-1a with 64 bits (RFC 9923). */
export function fnv1a64(bytes: Uint8Array): bigint {
  let hash = 0xcbf29ce484222325n;
  for (const b of bytes) hash = BigInt.asUintN(64, (hash ^ BigInt(b)) * 0x100000001b3n);
  return hash;
}

export function putNumber(view: DataView, at: number, n: number): void {
  view.setUint32(at, n % 0x1_0000_0000, true);
  view.setUint32(at + 4, Math.floor(n / 0x1_0000_0000), true);
}

export const getNumber = (view: DataView, at: number) => view.getUint32(at + 4, true) * 0x1_0000_0000 + view.getUint32(at, true);

export function putPageHeader(view: DataView, at: number, id: number, flags: number, count: number, overflow: number): void {
  putNumber(view, at, id);
  view.setUint16(at + 8, flags, true);
  view.setUint16(at + 10, count, true);
  view.setUint32(at + 12, overflow, true);
}

/** Writes the page that says where all others are. */
export function putMeta(view: DataView, at: number, id: number, meta: Meta): void {
  putPageHeader(view, at, id, Page.meta, 0, 0);
  const m = at + PAGE_HEADER;
  view.setUint32(m, MAGIC, true);
  view.setUint32(m + 4, VERSION, true);
  view.setUint32(m + 8, meta.pageSize, true);
  view.setUint32(m + 12, 0, true);
  putNumber(view, m + 16, meta.root);
  putNumber(view, m + 24, 0);
  putNumber(view, m + 32, meta.freelist);
  putNumber(view, m + 40, meta.pages);
  view.setBigUint64(m + 48, meta.transaction, true);
  view.setBigUint64(m + META_BYTES, fnv1a64(new Uint8Array(view.buffer, view.byteOffset + m, META_BYTES)), true);
}

/** The meta in the first bytes of its page, or why there is none. */
export function decodeMeta(bytes: Uint8Array): Meta | string {
  if (bytes.length < PAGE_HEADER + META_BYTES + 8) return "the file ends early";
  const view = new DataView(bytes.buffer, bytes.byteOffset + PAGE_HEADER, META_BYTES + 8);
  if (view.getUint32(0, true) !== MAGIC) return "not a bbolt file (wrong magic)";
  if (view.getUint32(4, true) !== VERSION) return `a bbolt file of version ${view.getUint32(4, true)}, not ${VERSION}`;
  if (view.getBigUint64(META_BYTES, true) !== fnv1a64(bytes.subarray(PAGE_HEADER, PAGE_HEADER + META_BYTES)))
    return "checksum of the meta page";
  return {
    pageSize: view.getUint32(8, true),
    root: getNumber(view, 16),
    freelist: getNumber(view, 32),
    pages: getNumber(view, 40),
    transaction: view.getBigUint64(48, true),
  };
}

// The memory of the scheduler's kernel, shared by the kernel (AssemblyScript)
// and the code that fills it (TypeScript): plain numbers mean the same in both.
//
// Nodes are rows, in groups of four; rows that no node has have flags 0. Every
// column is 16-byte aligned and holds `capacity` rows:
//
//   ALLOC     f64 × resources   what the node offers (millicores, bytes, counts)
//   USED      f64 × resources   what its pods request
//   NONZERO   f64 × 2           as USED for cpu and memory, where a container
//                               without a request counts as 100m and 200Mi
//   FLAGS     i32               FLAG_*
//   TAINTS    i32               id of the node's set of taints
//   VERDICT   i32               written: the reasons that rule the node out
//   SCORE     i32               written: total score, -1 for a node ruled out

// Header: u32 words, by index.
export const HEADER_ROWS = 0;
export const HEADER_RESOURCES = 1;
/** Bytes from one f64 column to the next. */
export const HEADER_STRIDE = 2;
export const HEADER_ALLOC = 3;
export const HEADER_USED = 4;
export const HEADER_NONZERO = 5;
export const HEADER_FLAGS = 6;
export const HEADER_TAINTS = 7;
export const HEADER_VERDICT = 8;
export const HEADER_SCORE = 9;
export const HEADER_WORDS = 12;

export const FLAG_PRESENT = 1;
export const FLAG_UNSCHEDULABLE = 2;

// Resource columns that every node has; extended resources follow.
export const RESOURCE_CPU = 0;
export const RESOURCE_MEMORY = 1;
export const RESOURCE_STORAGE = 2;
export const RESOURCE_PODS = 3;
/** Columns at most: one verdict bit each. */
export const RESOURCES_MAX = 20;

// Bits of VERDICT: 0 to 19 are the resources that do not suffice.
export const VERDICT_UNSCHEDULABLE = 1 << 20;
export const VERDICT_NODE_NAME = 1 << 21;
export const VERDICT_TAINT = 1 << 22;
/** The row holds no node. */
export const VERDICT_ABSENT = 1 << 23;
/** The pod's mask byte, as it is. */
export const VERDICT_MASK_SHIFT = 24;

// A pod: u32 words by index, then f64 values by byte offset.
/** Written: the row chosen, -1 for none. */
export const POD_ROW = 0;
/** Written: how many rows are left after the filters. */
export const POD_FEASIBLE = 1;
/** Written: how many of those share the best score. */
export const POD_TIES = 2;
/** Written: the best score. */
export const POD_BEST = 3;
/** Breaks ties: any u32. */
export const POD_RANDOM = 4;
/** The only row allowed, NODE_ANY, or NODE_UNKNOWN. */
export const POD_NODE = 5;
/** 1 when the pod tolerates the unschedulable taint. */
export const POD_TOLERATES_UNSCHEDULABLE = 6;
/** i32 by taint set: TAINT_UNTOLERATED, or how many PreferNoSchedule taints it does not tolerate. 0: no table. */
export const POD_TAINTS = 7;
/** u8 by row: reasons found outside of the kernel. 0: no mask. */
export const POD_MASK = 8;
/** i32 by row: sum of the weights of the preferred node affinity terms that match. 0: none. */
export const POD_PREFERRED = 9;
/** i32 by row: score that is added as it is. 0: none. */
export const POD_EXTRA = 10;
/** 1 when it requests neither cpu nor memory: balance is not scored. */
export const POD_BEST_EFFORT = 11;
/** Two f64: cpu and memory as in NONZERO. */
export const POD_NONZERO_BYTE = 48;
/** One f64 for each resource; 0 is not checked. */
export const POD_REQUEST_BYTE = 64;
/** 64 + 20 × 8 */
export const POD_BYTES = 224;

export const NODE_ANY = -1;
export const NODE_UNKNOWN = -2;
export const TAINT_UNTOLERATED = -1;

// Weights of the default profile (NodeResourcesFit and BalancedAllocation: 1).
export const WEIGHT_TAINTS = 3;
export const WEIGHT_AFFINITY = 2;

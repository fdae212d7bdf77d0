import { Code } from "./types.ts";

const CODES = Object.values(Code).filter((c) => typeof c === "number").length;

/** What a server counts of a method: plain fields, for it is done at every call. */
export class MethodStats {
  started = 0;
  /** Calls that ended, by code. */
  readonly handled = new Float64Array(CODES);
  received = 0;
  sent = 0;
  /** Bytes of the messages, without what frames them. */
  receivedBytes = 0;
  sentBytes = 0;
}

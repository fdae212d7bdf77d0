/** A patch that can't be read, or does not fit the object it is applied to. */
export class PatchError extends Error {
  override name = "PatchError";
  /** "malformed" is the patch's own fault (400); "unprocessable" that it does not apply (422). */
  readonly reason: "malformed" | "unprocessable";
  constructor(reason: "malformed" | "unprocessable", message: string) {
    super(message);
    this.reason = reason;
  }
}

export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

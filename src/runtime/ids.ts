import { randomBytes } from "node:crypto";

/** A new ID of a container or a sandbox: 64 hex digits. */
export const newId = (): string => randomBytes(32).toString("hex");

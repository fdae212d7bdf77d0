// The embedded container runtime.
export { EmbeddedRuntime, type EmbeddedRuntimeOptions } from "./embedded.ts";
export { type RemoveAllOptions, removeAll } from "./remove-all.ts";

// Every command of kubun. Each is loaded when it is called, so that none pays
// for the others at start.
import type { AnyCommand } from "./flags.ts";

interface Row {
  readonly name: string;
  readonly summary: string;
  load(): Promise<AnyCommand>;
}

export const commands: readonly Row[] = [];

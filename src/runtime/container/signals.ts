import { constants } from "node:os";
import { Signal } from "../../rpc/gen/cri/runtime_pb.ts";

/** A signal by the names that images and pods use: "SIGTERM", "TERM", "15", "SIGRTMIN+3". Undefined if there is no such. */
export function signalNumber(name: string): number | undefined {
  if (/^\d+$/.test(name)) return Number(name) >= 1 && Number(name) <= 64 ? Number(name) : undefined;
  const full = name.toUpperCase().startsWith("SIG") ? name.toUpperCase() : `SIG${name.toUpperCase()}`;
  const realtime = /^SIGRT(MIN|MAX)(?:([+-])(\d+))?$/.exec(full);
  if (realtime) {
    const n = (realtime[1] === "MIN" ? 34 : 64) + (realtime[2] === "-" ? -1 : 1) * Number(realtime[3] ?? 0);
    return n >= 34 && n <= 64 ? n : undefined;
  }
  return (constants.signals as Record<string, number>)[full] ?? ({ SIGCLD: 17 } as Record<string, number>)[full];
}

/** The name of a CRI signal: SIGRTMINPLUS3 is "SIGRTMIN+3". */
export const signalName = (signal: Signal): string => (Signal[signal] ?? "").replace(/PLUS/, "+").replace(/MINUS/, "-");

/** The CRI signal of a name; RUNTIME_DEFAULT if there is none. */
export function criSignal(name: string): Signal {
  const key = name.replace("+", "PLUS").replace("-", "MINUS");
  return (Signal as unknown as Record<string, Signal>)[key] ?? Signal.RUNTIME_DEFAULT;
}

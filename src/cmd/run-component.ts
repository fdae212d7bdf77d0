// What the command of a single component does around it.
import type { Component } from "../platform/component.ts";

/** Resolves at SIGINT or SIGTERM. */
export function untilSignal(): Promise<void> {
  return new Promise((resolve) => {
    const done = () => resolve();
    process.once("SIGINT", done);
    process.once("SIGTERM", done);
  });
}

/** Runs the component until a signal ends it, or until `also` does. */
export async function runComponent(component: Component, also: Promise<unknown> = new Promise(() => {})): Promise<number> {
  const signal = untilSignal();
  try {
    await Promise.race([component.start(), signal, also]);
    await Promise.race([signal, also]);
  } finally {
    await component.stop();
  }
  return 0;
}

/** How this program is started again with other arguments. */
export const selfCommand = (...args: string[]): string[] => [
  process.execPath,
  ...(Bun.main.startsWith("/$bunfs") ? [] : [Bun.main]),
  ...args,
];

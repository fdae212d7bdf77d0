// When connections write: what one turn of the event loop produced goes out
// when it ends, in one write each.

type Flush = () => void;

let waiting: Flush[] = [];
let scheduled = false;

/** Calls `flush` once, when the turn ends or at writeOut(). */
export function atTurnEnd(flush: Flush): void {
  waiting.push(flush);
  if (scheduled) return;
  scheduled = true;
  setImmediate(turnEnds);
}

function turnEnds(): void {
  scheduled = false;
  writeOut();
}

/**
 * Writes what all connections have, now: for whoever has just answered many
 * calls, or is about to hold the event loop up. Peers get on with it meanwhile.
 */
export function writeOut(): void {
  while (waiting.length > 0) {
    const flushes = waiting;
    waiting = [];
    for (const flush of flushes) flush();
  }
}

// Mistakes that implementations of Raft have made or could make, each as a
// change of our source: what the simulator is worth shows in whether it finds
// them.

export interface Edit {
  /** Below src/store/raft. */
  file: string;
  /** Stands there once. */
  find: string;
  replace: string;
}

export interface Mutant {
  name: string;
  edits: readonly Edit[];
  /** Takes the simulator more seeds than a test has time for: hundreds, or a few thousand. */
  rare?: boolean;
  /** A history that has shown it, to be tried first; what it takes from the first on changes with the simulator. */
  shownBy?: number;
}

export const mutants: readonly Mutant[] = [
  {
    rare: true,
    name: "entries of older terms are committed by counting (figure 8)",
    edits: [
      {
        file: "leader.ts",
        find: "if (index <= node.commit || log.termAt(index) !== node.term) break;",
        replace: "if (index <= node.commit) break;",
      },
    ],
  },
  {
    rare: true,
    name: "votes are not on the disk",
    edits: [
      {
        file: "sim/disk.ts",
        find: "if (state) this.#hardState = state;",
        replace: "if (state) this.#hardState = { ...state, vote: 0n };",
      },
    ],
  },
  {
    name: "terms are not on the disk",
    shownBy: 225,
    edits: [
      {
        file: "sim/disk.ts",
        find: "if (state) this.#hardState = state;",
        replace: "if (state) this.#hardState = { ...state, term: this.#hardState.term };",
      },
    ],
  },
  {
    name: "followers confirm before their disk does",
    shownBy: 78,
    edits: [
      {
        file: "node.ts",
        find: "this.outbox.send(message, write);",
        replace: 'this.outbox.send(message, message.type === "appendResponse" ? 0 : write);',
      },
    ],
  },
  {
    rare: true,
    name: "votes are given before the disk has them",
    edits: [
      {
        file: "node.ts",
        find: "this.outbox.send(message, write);",
        replace: 'this.outbox.send(message, message.type === "voteResponse" ? 0 : write);',
      },
    ],
  },
  {
    rare: true,
    name: "the leader counts itself before its disk does",
    edits: [{ file: "leader.ts", find: "this.tracker.agreed(disk.durable, ", replace: "this.tracker.agreed(log.last, " }],
  },
  {
    name: "a vote for a log that is behind",
    edits: [
      {
        file: "log.ts",
        find: "return lastTerm > this.lastTerm || (lastTerm === this.lastTerm && lastIndex >= this.last);",
        replace: "return lastTerm >= this.lastTerm;",
      },
    ],
  },
  {
    name: "a second vote in the same term",
    edits: [
      { file: "election.ts", find: "node.vote === m.from || (node.vote === 0n && node.leader === 0n)", replace: "node.leader === 0n" },
    ],
  },
  {
    name: "a follower takes entries without looking at what stands before them",
    edits: [
      {
        file: "follower.ts",
        find: "if (!log.has({ index: m.prevIndex, term: m.prevTerm })) return this.#reject(m);",
        replace: "if (m.prevIndex > log.last) return this.#reject(m);",
      },
    ],
  },
  {
    rare: true,
    name: "a late append cuts off what a newer one brought",
    edits: [
      {
        file: "log.ts",
        find: "const known = entries.findIndex((e) => !this.has(e));",
        replace: "const known = entries.length > 0 && entries[0]!.index > commit ? 0 : -1;",
      },
    ],
  },
  {
    name: "a heartbeat tells the commit index to who has not got the entries",
    edits: [{ file: "leader.ts", find: "commit: Math.min(commit, p.match), round, sentAt", replace: "commit, round, sentAt" }],
  },
  {
    rare: true,
    name: "a joint configuration counts the new half alone",
    edits: [
      {
        file: "quorum.ts",
        find: "return outgoing.length === 0 ? incoming : Math.min(incoming, reached(outgoing, progressOf));",
        replace: "return incoming;",
      },
    ],
  },
  {
    name: "half is a majority",
    edits: [{ file: "quorum.ts", find: "return scratch[n >> 1]!;", replace: "return scratch[(n - 1) >> 1]!;" }],
  },
  {
    name: "two membership changes at once",
    shownBy: 18,
    edits: [
      { file: "leader.ts", find: 'if (commit < this.#lastConfChange || !this.#hasCommittedInTerm) return "change-pending";', replace: "" },
    ],
  },
  {
    rare: true,
    name: "two voters change without a joint configuration",
    edits: [{ file: "configuration.ts", find: "return before.length - kept + (after.size - kept) <= 1;", replace: "return true;" }],
  },
  {
    name: "reads are answered without asking anybody",
    edits: [
      {
        file: "leader.ts",
        find: "    else this.#reads.add({ from, context, mode });",
        replace: "    else this.#answer({ from, context, mode }, this.node.commit);",
      },
    ],
  },
  {
    rare: true,
    name: "reads join a round that is under way",
    edits: [
      {
        file: "reads.ts",
        find: "this.#waiting.push(request);",
        replace: "if (this.#asked.length > 0) this.#asked.push(request);\n    else this.#waiting.push(request);",
      },
    ],
  },
  {
    name: "reads before the leader has committed in its term",
    shownBy: 22,
    edits: [{ file: "leader.ts", find: "return this.node.log.termAt(this.node.commit) === this.node.term;", replace: "return true;" }],
  },
  {
    rare: true,
    name: "a lease by a clock that stops with the process",
    edits: [
      { file: "sim/machine.ts", find: "clock: () => this.#clock()", replace: "clock: () => (this.ticks ?? 0) * TICK" },
      { file: "sim/machine.ts", find: "raft.tick();", replace: "{ raft.tick(); this.ticks = (this.ticks ?? 0) + 1; }" },
      { file: "sim/machine.ts", find: "const DISK_RETRY = 30;", replace: "const DISK_RETRY = 30; const TICK = 20;" },
    ],
  },
  {
    rare: true,
    name: "a lease that lasts twice as long",
    edits: [{ file: "leader.ts", find: "m.promise * (1 - this.node.options.maxClockDrift)", replace: "m.promise * 2" }],
  },
  {
    rare: true,
    name: "a lease is kept while leadership is handed over",
    edits: [{ file: "leader.ts", find: "this.#leaseGiven = true;", replace: "" }],
  },
  {
    rare: true,
    name: "followers vote although they hear from a leader, who holds a lease",
    edits: [{ file: "election.ts", find: "if (!m.transfer && node.isLed) return;", replace: "" }],
  },
  {
    rare: true,
    name: "a restarted member does not keep what it promised a leader",
    edits: [
      {
        file: "node.ts",
        find: "this.#heardAt = this.term > 1 ? options.clock() : Number.NEGATIVE_INFINITY;",
        replace: "this.#heardAt = Number.NEGATIVE_INFINITY;",
      },
    ],
  },
  {
    name: "a lost append is never sent again",
    shownBy: 96,
    edits: [{ file: "leader.ts", find: "p.nudge = p.match < this.node.log.last;", replace: "" }],
  },
  {
    rare: true,
    name: "a leader that removes itself leaves at once",
    edits: [
      {
        file: "leader.ts",
        find: "this.#farewell !== undefined && this.node.commit >= this.#farewell",
        replace: "this.#farewell !== undefined",
      },
    ],
  },
  {
    name: "a lease counts from when the answer came",
    shownBy: 94,
    edits: [{ file: "leader.ts", find: "m.sentAt + m.promise", replace: "this.node.options.clock() + m.promise" }],
  },
  {
    rare: true,
    name: "a lease takes clocks to be alike",
    edits: [{ file: "leader.ts", find: "m.promise * (1 - this.node.options.maxClockDrift)", replace: "m.promise" }],
  },
  {
    name: "a promise to the leader is counted in ticks",
    shownBy: 56,
    edits: [
      {
        file: "node.ts",
        find: "this.options.clock() - this.#heardAt < this.promise",
        replace: "this.ticks < this.options.electionTicks",
      },
      { file: "node.ts", find: "    this.#heardAt = this.options.clock();", replace: "    this.ticks = 0;" },
      { file: "node.ts", find: "  #heardAt: number;", replace: "  ticks = 0;\n  #heardAt: number;" },
      { file: "raft.ts", find: "    this.#node.role.tick();", replace: "    this.#node.ticks++;\n    this.#node.role.tick();" },
    ],
  },
  {
    rare: true,
    name: "what the log has behind a newer snapshot is taken to follow it",
    edits: [{ file: "node.ts", find: "new Log(base, stale ? [] : entries)", replace: "new Log(base, entries)" }],
  },
  {
    name: "a proposal that is refused is in the log all the same",
    edits: [
      {
        file: "leader.ts",
        find: 'if (this.#transferee !== 0n) return { refused: "transferring" };',
        replace:
          'if (this.#transferee !== 0n) {\n      for (const data of datas) this.#append(kind, data);\n      return { refused: "transferring" };\n    }',
      },
    ],
  },
  {
    name: "what a full disk refused stays in the log",
    shownBy: 23,
    edits: [{ file: "leader.ts", find: "    log.truncate(from);\n", replace: "" }],
  },
  {
    name: "what a full disk refused is taken back although others may have it",
    edits: [{ file: "leader.ts", find: "if (this.tracker.size > 0 || from <= node.commit", replace: "if (from <= node.commit" }],
  },
  {
    rare: true,
    name: "a snapshot names the members of now, not those of its index",
    edits: [{ file: "node.ts", find: "configuration: at.configuration };", replace: "configuration: this.configuration };" }],
  },
  {
    name: "learners count",
    shownBy: 57,
    edits: [
      {
        file: "quorum.ts",
        find: "const incoming = reached(voters, progressOf);",
        replace: "const incoming = reached([...voters, ...configuration.learners], progressOf);",
      },
    ],
  },
  {
    rare: true,
    name: "a change of members is applied before the disk knows that it is committed",
    edits: [{ file: "raft.ts", find: "if (!isSaved && configuredAt > this.#handed)", replace: "if (false)" }],
  },
  {
    name: "a leader that is removed takes another change before it goes",
    shownBy: 106066,
    edits: [{ file: "leader.ts", find: 'if (this.#farewell !== undefined) return "change-pending";', replace: "" }],
  },
];

// The language of testdata/*.txt. A file is blocks with a blank line between:
// commands, a line `----`, and what they bring about. Lines that begin with #
// say why, and stand for nothing. `KUBUN_REWRITE=1 bun test` writes what comes
// out in place of what should.
import { bootstrap, joining } from "../configuration.ts";
import type { ConfChange, MemberChange, RaftConfig, ReadMode } from "../types.ts";
import { Scenario, withLog } from "./scenario.ts";
import { configurationText, entryText, hardStateText } from "./text.ts";

interface Arguments {
  /** Words without =, in order. */
  words: string[];
  options: Map<string, string>;
}

type Command = (s: Scenario, a: Arguments) => void;

const id = (word: string | undefined): bigint => {
  if (!/^\d+$/.test(word ?? "")) throw new Error(`${word} is no member's id`);
  return BigInt(word!);
};

const list = (text: string | undefined): string[] => (text ?? "").replace(/[()]/g, "").split(",").filter(Boolean);

/** `1x3,4x2`: three entries of term 1, then two of term 4. */
const terms = (text: string | undefined): number[] =>
  list(text).flatMap((run) => {
    const [term, count] = run.split("x").map(Number) as [number, number | undefined];
    return Array.from({ length: count ?? 1 }, () => term);
  });

const LIMITS = ["maxInflight", "maxInflightBytes", "maxMessageBytes", "maxUncommittedBytes", "catchUpEntries", "electionTicks"] as const;

function limitsOf({ options }: Arguments): Partial<RaftConfig> {
  return Object.fromEntries(LIMITS.filter((name) => options.has(name)).map((name) => [name, Number(options.get(name))]));
}

/** `+4` adds a voter, `~4` a learner, `-4` removes; `leave` ends a joint configuration. */
function changeOf({ words }: Arguments): ConfChange {
  const types = { "+": "addVoter", "~": "addLearner", "-": "remove" } as const;
  const changes = words.flatMap((w): MemberChange[] => {
    const type = types[w[0] as keyof typeof types];
    return type ? [{ type, id: id(w.slice(1)) }] : [];
  });
  const transition = words.includes("joint") ? "joint" : words.includes("explicit") ? "explicit" : "auto";
  return { changes, transition, context: new Uint8Array(0) };
}

function proposed(s: Scenario, result: object | undefined): void {
  if (result && "refused" in result) s.say(`refused: ${result.refused}`);
  if (result && "forwarded" in result) s.say(`forwarded to ${result.forwarded}`);
}

const each = (s: Scenario, words: readonly string[]) => (words.length > 0 ? words.map((w) => s.member(id(w))) : s.members);

const commands: Record<string, Command> = {
  /** add-nodes 3 [voters=(1,2,3)] [log=(1x3,4x2) term=T] [limit=N …] */
  "add-nodes": (s, a) => {
    const first = s.members.length + 1;
    const ids = Array.from({ length: Number(a.words[0]) }, (_, i) => BigInt(first + i));
    const voters = a.options.has("voters") ? list(a.options.get("voters")).map(BigInt) : ids;
    const log = terms(a.options.get("log"));
    const stored = log.length > 0 ? withLog(voters, log, Number(a.options.get("term") ?? log.at(-1))) : bootstrap(voters);
    for (const m of ids) s.add(m, stored, limitsOf(a));
  },
  /** A member that knows nothing yet. */
  "add-joining": (s, a) => s.add(id(a.words[0]), joining(), limitsOf(a)),
  campaign: (s, a) => s.input(id(a.words[0]), (raft) => raft.campaign()),
  /** propose ID DATA… */
  propose: (s, a) => {
    const [member, ...datas] = a.words;
    proposed(
      s,
      s.input(id(member), (raft) => raft.propose(datas.map((d) => Buffer.from(d)))),
    );
  },
  /** propose-bytes ID N: one entry of so many bytes. */
  "propose-bytes": (s, a) =>
    proposed(
      s,
      s.input(id(a.words[0]), (raft) => raft.propose([Buffer.alloc(Number(a.words[1]), "x")])),
    ),
  /** conf-change ID +4 ~5 -2 [joint|explicit], or ID leave */
  "conf-change": (s, a) => {
    const [member, ...words] = a.words;
    const change = changeOf({ words, options: a.options });
    proposed(
      s,
      s.input(id(member), (raft) => raft.proposeConfChange(change)),
    );
  },
  /** read ID quorum|lease NUMBER */
  read: (s, a) => {
    const known = s.input(id(a.words[0]), (raft) => raft.readIndex(Number(a.words[2]), a.words[1] as ReadMode));
    if (known === false) s.say("no leader is known");
  },
  "transfer-leadership": (s, a) => {
    const begun = s.input(id(a.words[0]), (raft) => raft.transferLeader(id(a.options.get("to"))));
    if (begun === false) s.say("not begun");
  },
  /** deliver [1->2 …]: what is on its way now. */
  deliver: (s, a) => {
    s.deliver(a.words);
  },
  lose: (s, a) => s.lose(a.words),
  stabilize: (s) => s.stabilize(),
  tick: (s, a) => {
    for (let i = 0; i < Number(a.words[1] ?? 1); i++) s.tick(id(a.words[0]));
  },
  "tick-heartbeat": (s, a) => s.tick(id(a.words[0])),
  "tick-election": (s, a) => {
    for (const m of each(s, a.words)) for (let i = 0; i < Number(m.options.electionTicks ?? 10); i++) s.tick(m.id);
  },
  /** tick-burst ID N: ticks that no time passes between. */
  "tick-burst": (s, a) => {
    for (let i = 0; i < Number(a.words[1]); i++) s.input(id(a.words[0]), (raft) => raft.tick());
  },
  clock: (s, a) => s.advanceClock(Number(a.words[0])),
  /** cut 1->2 2->1 … */
  cut: (s, a) => {
    for (const link of a.words) s.cut(link);
  },
  /** isolate ID: no messages from it nor to it. */
  isolate: (s, a) => {
    const alone = id(a.words[0]);
    for (const m of s.members) {
      s.cut(`${alone}->${m.id}`);
      s.cut(`${m.id}->${alone}`);
    }
  },
  heal: (s) => s.heal(),
  crash: (s, a) => {
    for (const m of each(s, a.words)) s.crash(m);
  },
  restart: (s, a) => {
    for (const m of each(s, a.words)) s.start(m);
  },
  "slow-disk": (s, a) => {
    s.member(id(a.words[0])).slow = true;
  },
  /** refuse-writes ID: the disk is full. */
  "refuse-writes": (s, a) => s.refuse(s.member(id(a.words[0]))),
  "crash-installing": (s, a) => s.crashInstalling(s.member(id(a.words[0]))),
  /** meta ID INDEX…: what a snapshot as of these says of itself. */
  meta: (s, a) => {
    for (const index of a.words.slice(1)) {
      const meta = s.member(id(a.words[0])).raft!.metaAt(Number(index));
      s.say(meta ? `${index}/${meta.term} ${configurationText(meta.configuration)}` : `${index} is not known`);
    }
  },
  sync: (s, a) => {
    for (const m of each(s, a.words)) s.sync(m);
  },
  "report-unreachable": (s, a) => s.input(id(a.words[0]), (raft) => raft.reportUnreachable(id(a.words[1]))),
  /** report-snapshot ID MEMBER ok|failed */
  "report-snapshot": (s, a) => s.input(id(a.words[0]), (raft) => raft.reportSnapshot(id(a.words[1]), a.words[2] === "ok")),
  /** compact ID INDEX: as after a snapshot of the state. */
  compact: (s, a) => s.input(id(a.words[0]), (raft) => raft.compact(Number(a.words[1]))),
  /** What happened so far is of no interest. */
  quiet: (s) => {
    s.takeOutput();
  },
  log: (s, a) => {
    for (const m of each(s, a.words)) s.say(`${m.id}: ${m.entries.map(entryText).join(", ") || "empty"}; ${hardStateText(m.hardState)}`);
  },
  status: (s, a) => {
    for (const m of each(s, a.words)) {
      if (!m.raft) s.say(`${m.id}: down`);
      else {
        const { role, term, leader } = m.raft.status;
        s.say(`${m.id}: ${role}, term ${term}, leader ${leader || "none"}, commit ${m.raft.commit} of ${m.raft.lastIndex}`);
      }
    }
  },
  configuration: (s, a) => {
    for (const m of each(s, a.words)) s.say(`${m.id}: ${configurationText(m.raft!.configuration)}`);
  },
  progress: (s, a) => {
    for (const f of s.member(id(a.words[0])).raft!.followers) {
      s.say(`${f.id}: ${f.state} match=${f.match} next=${f.next}${f.learner ? " learner" : ""}${f.active ? "" : " inactive"}`);
    }
  },
};

function run(scenario: Scenario, line: string): void {
  const [name, ...words] = line.split(/\s+/) as [string, ...string[]];
  const command = commands[name];
  if (!command) throw new Error(`there is no command ${name}`);
  const options = new Map(words.filter((w) => w.includes("=")).map((w) => w.split("=") as [string, string]));
  command(scenario, { words: words.filter((w) => !w.includes("=")), options });
}

/** Runs a script and returns it with what really comes out. */
export function rewrite(script: string): string {
  const scenario = new Scenario();
  const blocks = script.split(/\n\n+/).map((block) => {
    const lines = block.trim().split("\n");
    const end = lines.indexOf("----");
    if (end < 0) return lines.join("\n");
    const input = lines.slice(0, end);
    for (const line of input) {
      if (line.startsWith("#")) continue;
      try {
        run(scenario, line);
      } catch (error) {
        scenario.say(`error: ${(error as Error).message}`);
      }
    }
    return [...input, "----", scenario.takeOutput()].join("\n");
  });
  return `${blocks.join("\n\n")}\n`;
}

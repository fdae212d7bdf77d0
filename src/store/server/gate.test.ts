// Who calls, on a member that is behind the others.
import { expect, test } from "bun:test";
import type { HandlerContext } from "../../rpc/types.ts";
import type { AuthChange, Author } from "../auth/types.ts";
import type { Member } from "../member.ts";
import { Refused } from "../mvcc/errors.ts";
import { StateMachine } from "../state.ts";
import { bytes, failure, Served } from "../testing/served.ts";
import { Gate } from "./gate.ts";

const SETUP: AuthChange[] = [
  { do: "userAdd", user: "root", password: "h", noPassword: false },
  { do: "userGrant", user: "root", role: "root" },
  { do: "userAdd", user: "alice", password: "h", noPassword: false },
  { do: "enable" },
];

/** A member that applies what the others have once a read waits for it. */
class Behind {
  readonly state = new StateMachine();
  readonly committed: AuthChange[] = [];
  barriers = 0;
  readonly consensus = {
    readBarrier: async () => {
      this.barriers++;
      this.catchUp();
    },
  };

  constructor(changes: AuthChange[]) {
    this.committed.push(...changes);
    this.catchUp();
  }

  catchUp(): void {
    for (const change of this.committed.splice(0)) {
      this.state.apply(this.state.index + 1, 1, { type: "auth", change }, performance.now());
    }
  }

  gate(): Promise<Gate> {
    return Gate.open(this as unknown as Member);
  }
}

const call = (token?: string) => ({ requestHeaders: new Headers(token === undefined ? {} : { token }) }) as HandlerContext;

test("a token from another member is waited for; one that no entry can bring is refused at once", async () => {
  const member = new Behind(SETUP);
  const gate = await member.gate();
  const at = member.state.index + 1;
  member.committed.push({ do: "authenticate", user: "alice", token: "t" });
  expect(await gate.author(call(`t.${at}`))).toEqual({ user: "alice", revision: member.state.auth.revision });
  expect(member.barriers).toBe(1);
  expect(gate.author(call(`t.${at}`))).toEqual({ user: "alice", revision: member.state.auth.revision });
  expect(() => gate.author(call(`u.${at}`))).toThrow("etcdserver: invalid auth token");
  expect(() => gate.author(call("nonsense"))).toThrow("etcdserver: invalid auth token");
  expect(member.barriers).toBe(1);
  expect(await failure(Promise.resolve(gate.author(call(`u.${at + 5}`))))).toContain("invalid auth token");
  expect(member.barriers).toBe(2);
});

test("what was asked for under an old revision is asked for once more under the new one", async () => {
  const member = new Behind([...SETUP, { do: "authenticate", user: "alice", token: "t" }]);
  const gate = await member.gate();
  const tried: Author[] = [];
  const answer = await gate.as(call(`t.${member.state.index}`), async (by) => {
    tried.push(by);
    if (tried.length === 1) member.committed.push({ do: "roleAdd", role: "r" });
    member.catchUp();
    if (by.revision < member.state.auth.revision) throw new Refused("auth-old-revision");
    return "done";
  });
  expect([answer, tried.map((by) => by.revision)]).toEqual(["done", [4, 5]]);
  const always = gate.as(call(`t.${member.state.index - 1}`), async () => {
    throw new Refused("auth-old-revision");
  });
  expect(await failure(always)).toContain("revision of auth store is old");
});

test("with a simple token, changes of other roles in between are not noticed", async () => {
  await using s = await Served.start();
  await s.users();
  const [alice, root] = [await s.token("alice", "apw"), await s.token("root", "pw")];
  const puts = Array.from({ length: 200 }, (_, i) => failure(s.kv.put({ key: bytes(`a${i}`) }, alice)));
  const roles = Array.from({ length: 20 }, (_, i) => failure(s.auth.roleAdd({ name: `role${i}` }, root)));
  const more = Array.from({ length: 200 }, (_, i) => failure(s.kv.put({ key: bytes(`a${i}`) }, alice)));
  expect(new Set(await Promise.all([...puts, ...roles, ...more]))).toEqual(new Set([undefined]));
});

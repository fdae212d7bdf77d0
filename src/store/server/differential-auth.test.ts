// The same random requests by the same users to ours and to Debian's etcd: who
// may do what, when tokens end, and what is said of users, roles and permissions.
import { describe, expect, test } from "bun:test";
import { createClient } from "../../rpc/client.ts";
import { Auth } from "../../rpc/gen/etcd/rpc_pb.ts";
import { noEtcd } from "../../testing/etcd.ts";
import { Random } from "../raft/sim/random.ts";
import { AuthSteps } from "../testing/auth-steps.ts";
import { plain, Sides, seedsOf } from "../testing/sides.ts";

const STEPS = 400;
const TOKEN = /^[a-zA-Z]{16}\.\d+$/;

if (noEtcd) console.log(`skipped: users and roles side by side with a real etcd: ${noEtcd}`);

describe.skipIf(noEtcd !== undefined)("whoever asks for whatever, ours answers as Debian's etcd does,", () => {
  for (const seed of seedsOf(1, 2)) {
    test(`seed ${seed}`, async () => {
      await using sides = await Sides.start([], { auth: { bcryptCost: 4 } });
      const { auth } = sides.ours.store.member.state;
      const steps = new AuthSteps(new Random(seed));
      const tokens = new Map<string, [string, string]>([["bad", ["bad.1", "bad.1"]]]);
      const good = (user: string) => auth.tokens.use(tokens.get(user)?.[1] ?? "", performance.now()) !== undefined;
      // So that auth can be enabled at all.
      await sides.both(async (channel) => {
        await createClient(Auth, channel).userAdd({ name: "root", password: "pw-root" });
        await createClient(Auth, channel).userGrantRole({ user: "root", role: "root" });
      });
      let enabled = 0;
      for (let i = 0; i < STEPS; i++) {
        const on = auth.enabled;
        if (on) enabled++;
        const step = steps.next(on, good);
        const given: [string, string] = ["", ""];
        await sides.same(`seed ${seed}, ${step.what}, auth ${on ? "on" : "off"}`, async (channel, side) => {
          // Without auth, 3.4 looks at tokens all the same.
          const token = on ? tokens.get(step.as)?.[side] : undefined;
          const answer = plain(await step.ask(channel, token ? { headers: { token } } : {})) as { token?: string };
          if (step.authenticates === undefined) return answer;
          given[side] = answer.token!;
          return { ...answer, token: TOKEN.test(answer.token!) };
        });
        if (given[0]) tokens.set(step.authenticates!, given);
      }
      // Else it tells nothing.
      expect(enabled).toBeGreaterThan(STEPS / 10);
    }, 60_000);
  }
});

// A runtime in a process of its own, for tests that kill it:
// bun serve.ts OPTIONS-AS-JSON; prints "ready".
import { EmbeddedRuntime, type EmbeddedRuntimeOptions } from "../embedded.ts";

await new EmbeddedRuntime(JSON.parse(process.argv[2]!) as EmbeddedRuntimeOptions).start();
console.log("ready");
setInterval(() => {}, 1 << 30);

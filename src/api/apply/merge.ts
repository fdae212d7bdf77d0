// Merging a configuration into an object, and taking paths out of one.
import { setKey } from "../equal.ts";
import { type FieldSet, look } from "./sets.ts";
import { keyOf, type ListType, type MergeType, type SetType } from "./types.ts";

type Json = Record<string, unknown>;

const isMap = (v: unknown): v is Json => typeof v === "object" && v !== null && !Array.isArray(v);
const untyped: MergeType = { kind: "untyped" };

/** What `live` becomes when `config` is laid over it. Shares what does not change. */
export function merge(type: MergeType, live: unknown, config: unknown): unknown {
  if (config === undefined) return live;
  if (live === undefined || live === null || live === config) return config;
  switch (type.kind) {
    case "leaf":
      return config;
    case "untyped":
      return isMap(live) && isMap(config) ? members(live, config, () => untyped) : config;
    case "struct":
      if (config === null) return live;
      return isMap(live) && isMap(config) ? members(live, config, (key) => type.field(key) ?? untyped) : config;
    case "map":
      if (config === null) return live;
      return isMap(live) && isMap(config) ? members(live, config, () => type.element) : config;
    default:
      if (config === null) return live;
      return Array.isArray(live) && Array.isArray(config) ? elements(type, live, config) : config;
  }
}

function members(live: Json, config: Json, typeOf: (key: string) => MergeType): Json {
  const out: Json = { ...live };
  for (const key in config) {
    const merged = merge(typeOf(key), Object.hasOwn(out, key) ? out[key] : undefined, config[key]);
    if (merged !== undefined) setKey(out, key, merged);
  }
  return out;
}

/** Elements of both lists: those of the configuration in its order, the others where they stood between them. */
function elements(type: ListType | SetType, live: unknown[], config: unknown[]): unknown[] {
  const element: MergeType = type.kind === "list" ? type.element : { kind: "leaf" };
  const liveKeys = live.map((x, i) => keyOf(type, x) ?? `i:${i}`);
  const configKeys = config.map((x, i) => keyOf(type, x) ?? `i:${i}`);
  const byLive = new Map<string, unknown>();
  liveKeys.forEach((key, i) => {
    if (!byLive.has(key)) byLive.set(key, live[i]);
  });
  const inConfig = new Set(configKeys);
  const shared = configKeys.filter((key) => byLive.has(key));
  const done = new Set<string>();
  const out: unknown[] = [];
  let next = 0;
  let l = 0;
  let r = 0;
  while (l < live.length || r < config.length) {
    const key = liveKeys[l];
    if (key !== undefined && r < config.length) {
      if (key === configKeys[r]) {
        out.push(merge(element, live[l], config[r]));
        done.add(key);
        l++;
        r++;
        next++;
        continue;
      }
      // A shared element that is not the next one in the configuration's order waits for its turn.
      if (inConfig.has(key) && shared[next] !== undefined && shared[next] !== key) {
        l++;
        continue;
      }
    }
    if (key !== undefined) {
      if (!inConfig.has(key)) {
        out.push(live[l]);
        l++;
        continue;
      }
      if (done.has(key)) l++;
    }
    if (r < config.length) {
      const k = configKeys[r]!;
      done.add(k);
      out.push(merge(element, byLive.get(k), config[r]));
      if (shared[next] === k) next++;
      r++;
    } else if (key !== undefined && inConfig.has(key) && !done.has(key)) l++;
  }
  return out;
}

/** The object without the paths of the set; what is emptied by it becomes null. */
export function remove(type: MergeType | undefined, value: unknown, set: FieldSet): unknown {
  switch (type?.kind) {
    case "struct":
      return isMap(value) ? removeMembers(value, set, (key) => type.field(key)) : value;
    case "map":
      return isMap(value) ? removeMembers(value, set, () => type.element) : value;
    case "untyped":
      return isMap(value) ? removeMembers(value, set, () => type) : value;
    case "set":
    case "list": {
      if (!Array.isArray(value) || value.length === 0) return value;
      const out: unknown[] = [];
      value.forEach((x, i) => {
        const { member, below } = look(set, keyOf(type, x) ?? `i:${i}`);
        if (member) return;
        out.push(below && type.kind === "list" ? remove(type.element, x, below) : x);
      });
      return out.length > 0 ? out : null;
    }
    default:
      return value;
  }
}

function removeMembers(value: Json, set: FieldSet, typeOf: (key: string) => MergeType | undefined): Json | null {
  const out: Json = {};
  let filled = false;
  for (const key in value) {
    const { member, below } = look(set, `f:${key}`);
    if (member) continue;
    filled = true;
    setKey(out, key, below ? remove(typeOf(key), value[key], below) : value[key]);
  }
  return filled ? out : null;
}

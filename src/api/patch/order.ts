// The order of a merged list: what the patch names in the patch's order, the
// rest in the order it had, woven together so that both are kept.
import { deepEqual } from "../equal.ts";
import { isObject } from "./errors.ts";

const identity = (element: unknown, key: string): unknown => (key !== "" && isObject(element) ? element[key] : element);

function indexIn(list: unknown[], element: unknown, key: string): number {
  const id = identity(element, key);
  return list.findIndex((x) => deepEqual(identity(x, key), id));
}

/** Stable sort by place in `order`. */
function sortBy(list: unknown[], order: unknown[], key: string): unknown[] {
  return list
    .map((element) => ({ element, at: indexIn(order, element, key) }))
    .sort((a, b) => a.at - b.at)
    .map((x) => x.element);
}

function weave(named: unknown[], others: unknown[], live: unknown[], key: string): unknown[] {
  const out: unknown[] = [];
  let i = 0;
  for (const element of named) {
    const at = indexIn(live, element, key);
    while (at >= 0 && i < others.length) {
      const other = indexIn(live, others[i], key);
      if (other < 0 || other >= at) break;
      out.push(others[i++]);
    }
    out.push(element);
  }
  return [...out, ...others.slice(i)];
}

/** Orders `merged` by a $setElementOrder list, which holds elements or their merge keys. */
export function orderBySetElementOrder(merged: unknown[], order: unknown[], live: unknown[], key: string): unknown[] {
  const isNamed = (x: unknown) => indexIn(order, x, key) >= 0;
  return weave(
    sortBy(merged.filter(isNamed), order, key),
    sortBy(
      merged.filter((x) => !isNamed(x)),
      live,
      key,
    ),
    live,
    key,
  );
}

/** Orders `merged` by the elements of the patch itself. */
export function orderByPatch(merged: unknown[], patch: unknown[], live: unknown[], key: string): unknown[] {
  return orderBySetElementOrder(
    merged,
    patch.filter((x) => !(isObject(x) && "$patch" in x)),
    live,
    key,
  );
}

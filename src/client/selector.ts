// Label selectors as predicates (https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/).
import type * as metaV1 from "../api/gen/meta/v1.ts";

export type Labels = Readonly<Record<string, string>> | undefined;
export type LabelMatcher = (labels: Labels) => boolean;

const nothing: LabelMatcher = () => false;
const compiled = new WeakMap<object, LabelMatcher>();

/** An absent selector matches nothing, an empty one everything. */
export function labelMatcher(selector: metaV1.LabelSelector | undefined): LabelMatcher {
  if (!selector) return nothing;
  let matcher = compiled.get(selector);
  if (!matcher) {
    matcher = compile(selector);
    compiled.set(selector, matcher);
  }
  return matcher;
}

/** True when no term limits the selector, so that it matches every object. */
export function selectsAll(selector: metaV1.LabelSelector | undefined): boolean {
  return !!selector && Object.keys(selector.matchLabels ?? {}).length === 0 && (selector.matchExpressions ?? []).length === 0;
}

/** Equality on every label of `wanted`, as a Service's or ReplicationController's selector; an empty one matches nothing. */
export function matchesLabels(wanted: Record<string, string> | undefined, labels: Labels): boolean {
  let any = false;
  for (const key in wanted) {
    any = true;
    if (labels?.[key] !== wanted[key]) return false;
  }
  return any;
}

function compile(selector: metaV1.LabelSelector): LabelMatcher {
  const equal = Object.entries(selector.matchLabels ?? {});
  const expressions = (selector.matchExpressions ?? []).map(({ key, operator, values }) => {
    const set = new Set(values ?? []);
    return operators[operator]?.(key, set) ?? nothing;
  });
  return (labels) => equal.every(([k, v]) => labels?.[k] === v) && expressions.every((matches) => matches(labels));
}

const has = (labels: Labels, key: string) => labels !== undefined && Object.hasOwn(labels, key);

const operators: Record<string, (key: string, values: Set<string>) => LabelMatcher> = {
  In: (key, values) => (labels) => has(labels, key) && values.has(labels![key]!),
  NotIn: (key, values) => (labels) => !has(labels, key) || !values.has(labels![key]!),
  Exists: (key) => (labels) => has(labels, key),
  DoesNotExist: (key) => (labels) => !has(labels, key),
};

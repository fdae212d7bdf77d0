import { describe, expect, test } from "bun:test";
import type * as rbac from "../../api/gen/rbac/v1.ts";
import { breakdown, uncovered } from "./covers.ts";
import { ruleLines } from "./rule-text.ts";

type Rule = rbac.PolicyRule;

/** "get,list apps deployments,pods/log name1,name2", with "core" for the core group; or "get /healthz". */
function rule(text: string): Rule {
  const [verbs, second, resources, names] = text.split(" ").map((part) => part.split(","));
  if (!resources) return { verbs: verbs!, nonResourceURLs: second };
  const apiGroups = second!.map((g) => (g === "core" ? "" : g));
  return { verbs: verbs!, apiGroups, resources, ...(names ? { resourceNames: names } : {}) };
}

describe("what somebody holds covers what he grants", () => {
  const rows: [title: string, held: string[], wanted: string[], missing: string[]][] = [
    ["by the same rule", ["get core pods"], ["get core pods"], []],
    ["by a rule for more", ["get,list core,apps pods,secrets"], ["list core secrets"], []],
    ["by several rules together", ["get core pods", "list core pods,secrets"], ["get,list core pods"], []],
    ["by nothing for nothing", [], [], []],
    ["not by nothing", [], ["get core pods"], ["get core pods"]],
    ["but for a verb", ["get core pods"], ["get,delete core pods"], ["delete core pods"]],
    ["but for a group", ["get apps pods"], ["get apps,core pods"], ["get core pods"]],
    ["but for a resource", ["get core pods"], ["get core pods,secrets"], ["get core secrets"]],
    ["by wildcards", ["* * *"], ["get core pods", "* * *", "get core pods/log", "update apps deployments web"], []],
    ["but not a wildcard by all that it may mean", ["get,list,watch core pods"], ["* core pods"], ["* core pods"]],
    ["but not every resource by a wildcard of verbs", ["* core pods"], ["get core *"], ["get core *"]],
    ["but not every group by one", ["get core *"], ["get * pods"], ["get * pods"]],
    ["a name by all names", ["get core pods"], ["get core pods a,b"], []],
    ["a name by itself", ["get core pods a,b"], ["get core pods b"], []],
    ["but not all names by one", ["get core pods a"], ["get core pods"], ["get core pods"]],
    ["but not another name", ["get core pods a"], ["get core pods a,b"], ["get core pods b"]],
    ["a subresource of everything", ["get core */log"], ["get core pods/log"], []],
    ["that wildcard by itself", ["get core */log"], ["get core */log"], []],
    ["but not another subresource", ["get core */log"], ["get core pods/exec"], ["get core pods/exec"]],
    ["but not the resource", ["get core */log"], ["get core pods"], ["get core pods"]],
    ["but not a subresource by its resource", ["get core pods"], ["get core pods/log"], ["get core pods/log"]],
    ["but not all of a resource's by a star", ["get core pods/*"], ["get core pods/log"], ["get core pods/log"]],
    ["but not a subresource of everything by one", ["get core pods/log"], ["get core */log"], ["get core */log"]],
    ["a path by itself", ["get /healthz"], ["get /healthz"], []],
    ["a path by its beginning", ["get /apis/*"], ["get /apis/apps,/apis/apps/*,/apis/*"], []],
    ["any path by a star", ["* *"], ["get /metrics"], []],
    ["but not a path that only begins alike", ["get /apis"], ["get /apis/apps"], ["get /apis/apps"]],
    ["but not every path by a beginning", ["get /apis/*"], ["get *"], ["get *"]],
    ["but not a path's other verb", ["get /healthz"], ["post /healthz"], ["post /healthz"]],
    ["but not paths by resources", ["* * *"], ["get /healthz"], ["get /healthz"]],
    ["but not resources by paths", ["* *"], ["get core pods"], ["get core pods"]],
  ];
  for (const [title, held, wanted, missing] of rows)
    test(title, () => {
      expect(uncovered(held.map(rule), wanted.map(rule)).map(sorted)).toEqual(missing.map(rule).map(sorted));
    });
});

/** The order of members is none of a rule's meaning. */
const sorted = (r: Rule) => Object.fromEntries(Object.entries(r).sort());

test("a rule breaks down to one verb of one thing each", () => {
  expect(breakdown(rule("get,list core,apps pods a,b"))).toHaveLength(8);
  expect(breakdown(rule("get,post /a,/b"))).toHaveLength(4);
  expect(breakdown({ verbs: ["get"] })).toEqual([]);
});

test("missing rules are listed by resource with their verbs together, sorted and each once", () => {
  const parts = ["get,list core pods", "get core pods", "delete core pods web", "get /healthz", "get apps deployments"].map(rule);
  expect(ruleLines(parts.flatMap(breakdown)).split("\n")).toEqual([
    '{APIGroups:[""], Resources:["pods"], ResourceNames:["web"], Verbs:["delete"]}',
    '{APIGroups:[""], Resources:["pods"], Verbs:["get" "list" "get"]}',
    '{APIGroups:["apps"], Resources:["deployments"], Verbs:["get"]}',
    '{NonResourceURLs:["/healthz"], Verbs:["get"]}',
  ]);
});

import { expect, test } from "bun:test";
import { MemoryStore } from "../testing/memory-store.ts";
import { UsageError } from "./flags.ts";
import { openOverrides, serversOverrides } from "./servers-overrides.ts";

const parse = (text: string) => serversOverrides.parse(text);

test("overrides name resources and their servers as upstream's flag does", () => {
  const found = parse("/events#http://e4:2379;http://e5:2379,coordination.k8s.io/leases#https://e6:2379");
  expect([...found]).toEqual([
    ["/events", ["http://e4:2379", "http://e5:2379"]],
    ["coordination.k8s.io/leases", ["https://e6:2379"]],
  ]);
});

test("what is no override is refused in upstream's words, and Services stay with their addresses", () => {
  for (const text of ["events#http://e:2379", "/events", "/events#", "#http://e:2379", "/events#a#b", "/events#http://e:2379,"])
    expect(() => parse(text)).toThrow("must be of format: group/resource#servers, where servers are URLs, semicolon separated");
  expect(() => parse("/services#http://e:2379")).toThrow("/services can't be kept apart");
});

test("one set of servers is opened once, in whatever order it is written; what is no URL is refused", () => {
  const opened: (readonly string[])[] = [];
  const open = (servers: readonly string[]) => {
    opened.push(servers);
    return new MemoryStore();
  };
  const clients = openOverrides(parse("/events#http://a:1;http://b:1,/pods#http://b:1;http://a:1,/nodes#http://c:1"), open);
  expect(opened).toEqual([["http://a:1", "http://b:1"], ["http://c:1"]]);
  expect(clients.get("/events")).toBe(clients.get("/pods")!);
  expect(clients.get("/nodes")).not.toBe(clients.get("/pods")!);
  const wrong = () => openOverrides(parse("/events#c:1"), open);
  expect(wrong).toThrow(UsageError);
  expect(wrong).toThrow("--etcd-servers-overrides");
});

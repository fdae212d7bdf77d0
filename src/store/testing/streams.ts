// Calls of streaming methods that ask for one answer.
import type { MessageInitShape } from "@bufbuild/protobuf";
import { Requests } from "../../client/etcd-grpc-endpoints.ts";
import { type Channel, createClient } from "../../rpc/client.ts";
import {
  Lease,
  type LeaseKeepAliveRequestSchema,
  type LeaseKeepAliveResponse,
  Watch,
  type WatchCreateRequestSchema,
  type WatchRequestSchema,
  type WatchResponse,
} from "../../rpc/gen/etcd/rpc_pb.ts";
import type { CallOptions } from "../../rpc/types.ts";

/** What a stream answers first, undefined if it ends before. */
async function first<Q, A>(requests: Requests<Q>, request: Q, open: (options: CallOptions) => AsyncIterable<A>): Promise<A | undefined> {
  const stop = new AbortController();
  requests.push(request);
  try {
    for await (const answer of open({ signal: stop.signal })) return answer;
    return undefined;
  } finally {
    requests.end();
    stop.abort();
  }
}

export function keepAliveOnce(channel: Channel, ID: bigint, options: CallOptions = {}): Promise<LeaseKeepAliveResponse | undefined> {
  const requests = new Requests<MessageInitShape<typeof LeaseKeepAliveRequestSchema>>();
  return first(requests, { ID }, (o) => createClient(Lease, channel).leaseKeepAlive(requests, { ...options, ...o }));
}

/** What a watch is told first: that it is created, or not. */
export function firstAnswer(
  channel: Channel,
  value: MessageInitShape<typeof WatchCreateRequestSchema>,
  options: CallOptions = {},
): Promise<WatchResponse | undefined> {
  const requests = new Requests<MessageInitShape<typeof WatchRequestSchema>>();
  const request = { requestUnion: { case: "createRequest" as const, value } };
  return first(requests, request, (o) => createClient(Watch, channel).watch(requests, { ...options, ...o }));
}

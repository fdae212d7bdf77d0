// Typed clients for the services of proto/, over native gRPC.
import type { DescMethod, DescService, Message } from "@bufbuild/protobuf";
import { Channel, type ChannelOptions } from "./channel.ts";
import { GrpcClientCall } from "./grpc/client-call.ts";
import { MessageQueue } from "./queue.ts";
import { type Address, type CallOptions, type Client, Code, RpcError } from "./types.ts";

export type { Channel, ChannelOptions } from "./channel.ts";

/** A channel to a server. Connects with the first call, and again whenever the connection was lost. */
export function connect(address: Address, options: ChannelOptions = {}): Channel {
  return new Channel(address, options);
}

/**
 * A client with one function a method.
 *
 * ```ts
 * using channel = connect({ unix: "/run/containerd/containerd.sock" });
 * const { runtimeVersion } = await createClient(RuntimeService, channel).version({});
 * ```
 */
export function createClient<S extends DescService>(service: S, channel: Channel): Client<S> {
  const client: Record<string, unknown> = {};
  for (const method of service.methods) client[method.localName] = CALLS[method.methodKind](channel, method);
  return client as Client<S>;
}

type Requests = AsyncIterable<Message>;

const CALLS = {
  unary: (channel: Channel, method: DescMethod) => (request: Message, options?: CallOptions) =>
    single(channel, method, options, (call) => sendOne(call, request)),
  client_streaming: (channel: Channel, method: DescMethod) => (requests: Requests, options?: CallOptions) =>
    single(channel, method, options, (call) => sendAll(call, requests)),
  server_streaming: (channel: Channel, method: DescMethod) => (request: Message, options?: CallOptions) =>
    stream(channel, method, options, (call) => sendOne(call, request)),
  bidi_streaming: (channel: Channel, method: DescMethod) => (requests: Requests, options?: CallOptions) =>
    stream(channel, method, options, (call) => sendAll(call, requests)),
};

/** Where the requests of a call go that are encoded already. */
export interface RequestStream {
  /** The promise, if there is one, resolves when there is room for the next. */
  send(request: Uint8Array): Promise<void> | undefined;
}

/**
 * Calls a method that takes a stream and gives one answer, without an iterator
 * between: each request goes into the connection's output as it is given.
 *
 * @param ended called once, with the answer or what the call failed with
 */
export function openRequests(
  channel: Channel,
  method: DescMethod & { methodKind: "client_streaming" },
  ended: (error: RpcError | undefined) => void,
): RequestStream {
  let opened: GrpcClientCall | undefined;
  single(channel, method, {}, (call) => {
    opened = call;
  }).then(() => ended(undefined), ended);
  return opened!;
}

function sendOne(call: GrpcClientCall, request: Message): void {
  call.send(request);
  call.endRequests();
}

function sendAll(call: GrpcClientCall, requests: Requests): void {
  const iterator = requests[Symbol.asyncIterator]();
  const run = async () => {
    while (!call.done) {
      const { value, done } = await iterator.next();
      if (done) return call.endRequests();
      await call.send(value);
    }
    await iterator.return?.();
  };
  run().catch((error) => call.cancel(new RpcError(Code.Canceled, `the requests failed: ${error}`, { cause: error })));
}

/** A call with one answer. */
function single(channel: Channel, method: DescMethod, options: CallOptions = {}, send: (call: GrpcClientCall) => void): Promise<Message> {
  const { promise, resolve, reject } = Promise.withResolvers<Message>();
  let answer: Message | undefined;
  const call = new GrpcClientCall(channel, method, options, {
    message(message, cost) {
      call.consume(cost);
      if (answer) call.cancel(new RpcError(Code.Internal, "more than one answer of a method that gives one"));
      answer = message;
    },
    end(error) {
      if (error) reject(error);
      else if (answer) resolve(answer);
      else reject(new RpcError(Code.Internal, "no answer of a method that gives one"));
    },
  });
  // Requests first: with its stream, a call of one request goes out as one write.
  try {
    send(call);
  } catch (error) {
    return Promise.reject(error);
  }
  call.start();
  return promise;
}

/** A call with a stream of answers, started at once. Leaving the loop over it ends the call. */
function stream(
  channel: Channel,
  method: DescMethod,
  options: CallOptions = {},
  send: (call: GrpcClientCall) => void,
): AsyncIterable<Message> {
  const queue = new MessageQueue<Message>(
    (cost) => call.consume(cost),
    () => call.cancel(new RpcError(Code.Canceled, "context canceled")),
  );
  const call = new GrpcClientCall(channel, method, options, {
    message: (message, cost) => queue.push(message, cost),
    end: (error) => queue.end(error),
  });
  send(call);
  call.start();
  return queue;
}

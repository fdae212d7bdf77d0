// What tests of the name server share: objects, a resolver that can go away, and
// a client.
import packet, { type Answer, type Packet, type RecordType } from "dns-packet";
import type * as coreV1 from "../api/gen/core/v1.ts";
import type * as discoveryV1 from "../api/gen/discovery/v1.ts";
import { freePort } from "../testing/ports.ts";

export function service(name: string, spec: Partial<coreV1.ServiceSpec>, namespace = "default"): coreV1.Service {
  return { apiVersion: "v1", kind: "Service", metadata: { name, namespace }, spec: { type: "ClusterIP", ...spec } } as coreV1.Service;
}

export function slice(
  serviceName: string,
  endpoints: { ip: string; hostname?: string; ready?: boolean }[],
  ports: discoveryV1.EndpointPort[],
  namespace = "default",
): discoveryV1.EndpointSlice {
  return {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { name: `${serviceName}-1`, namespace, labels: { "kubernetes.io/service-name": serviceName } },
    addressType: "IPv4",
    endpoints: endpoints.map(({ ip, hostname, ready = true }) => ({
      addresses: [ip],
      ...(hostname ? { hostname } : {}),
      conditions: { ready },
    })),
    ports,
  };
}

/** A resolver on a free port of loopback; `answers` by "name TYPE". */
export class FakeUpstream {
  readonly answers = new Map<string, { rcode?: string; answers?: Answer[]; authorities?: Answer[]; truncate?: boolean }>();
  /** Questions that came, in order: "udp name TYPE". */
  readonly asked: string[] = [];
  /** Does not answer while set. */
  silent = false;
  #udp!: Bun.udp.Socket<"buffer">;
  #tcp!: Bun.TCPSocketListener<undefined>;
  port = 0;

  static async start(port = freePort()): Promise<FakeUpstream> {
    const fake = new FakeUpstream();
    await fake.#open(port);
    return fake;
  }

  async #open(port: number): Promise<void> {
    this.#udp = await Bun.udpSocket({
      hostname: "127.0.0.1",
      port,
      socket: {
        data: (socket, data, from, address) => {
          const answer = this.#answer(data, "udp");
          if (answer) socket.send(answer, from, address);
        },
        // A client that did not wait.
        error: () => {},
      },
    });
    this.port = this.#udp.port;
    this.#tcp = Bun.listen({
      hostname: "127.0.0.1",
      port: this.port,
      socket: {
        data: (socket, data) => {
          const answer = this.#answer(data.subarray(2), "tcp");
          if (!answer) return;
          const framed = Buffer.alloc(answer.length + 2);
          framed.writeUInt16BE(answer.length);
          answer.copy(framed, 2);
          socket.write(framed);
        },
      },
    });
  }

  #answer(message: Buffer, proto: "udp" | "tcp"): Buffer | undefined {
    const query = packet.decode(message);
    const { name, type } = query.questions![0]!;
    if (type !== "HINFO") this.asked.push(`${proto} ${name} ${type}`);
    if (this.silent) return undefined;
    const found = this.answers.get(`${name} ${type}`) ?? { rcode: "NXDOMAIN" };
    const truncated = found.truncate && proto === "udp";
    const rcodes: Record<string, number> = { NXDOMAIN: 3, SERVFAIL: 2, REFUSED: 5 };
    return packet.encode({
      type: "response",
      id: query.id,
      flags:
        packet.RECURSION_DESIRED |
        packet.RECURSION_AVAILABLE |
        (truncated ? packet.TRUNCATED_RESPONSE : 0) |
        (rcodes[found.rcode ?? ""] ?? 0),
      questions: query.questions,
      answers: truncated ? [] : (found.answers ?? []),
      authorities: found.authorities ?? [],
      additionals: [{ type: "OPT", name: ".", udpPayloadSize: 1232, flags: 0, options: [] } as unknown as Answer],
    });
  }

  stop(): void {
    this.#udp.close();
    this.#tcp.stop(true);
  }
}

export type Decoded = Packet & { rcode: string; flag_tc: boolean; flag_aa: boolean };

/** Asks once over UDP; rejects after 20 seconds. */
export async function ask(
  port: number,
  name: string,
  type: RecordType,
  options: { edns?: number; raw?: Uint8Array } = {},
): Promise<Decoded> {
  const { promise, resolve, reject } = Promise.withResolvers<Decoded>();
  const timer = setTimeout(() => reject(new Error(`no answer for ${name} ${type}`)), 20_000);
  const socket = await Bun.udpSocket({
    connect: { hostname: "127.0.0.1", port },
    socket: {
      data: (_socket, data) => resolve(packet.decode(data) as unknown as Decoded),
      error: (...args: unknown[]) => reject(args.at(-1)),
    },
  });
  const additionals = options.edns
    ? [{ type: "OPT", name: ".", udpPayloadSize: options.edns, flags: 0, options: [] } as unknown as Answer]
    : [];
  socket.send(
    options.raw ??
      packet.encode({ type: "query", id: 4711, flags: packet.RECURSION_DESIRED, questions: [{ name, type, class: "IN" }], additionals }),
  );
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    socket.close();
  }
}

/** The data of the answers, as text. */
export function data(message: Decoded): string[] {
  return (message.answers ?? []).map((a) => {
    const d = (a as { data: unknown }).data;
    if (a.type === "SRV") {
      const s = d as { priority: number; weight: number; port: number; target: string };
      return `${s.priority} ${s.weight} ${s.port} ${s.target}`;
    }
    return a.type === "TXT" ? String((d as Buffer[])[0]) : String(d);
  });
}

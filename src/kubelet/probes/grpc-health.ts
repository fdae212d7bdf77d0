import { connect, createClient } from "../../rpc/client.ts";
import { Health, HealthCheckResponse_ServingStatus as Serving } from "../../rpc/gen/grpc/health/v1/health_pb.ts";
import { Code, RpcError } from "../../rpc/types.ts";
import type { Outcome } from "./actions.ts";

/** Asks a server for its health (gRPC health checking protocol); `timeout` in milliseconds. */
export async function grpcHealth(host: string, port: number, service: string, timeout: number): Promise<Outcome> {
  const channel = connect({ host, port });
  try {
    const { status } = await createClient(Health, channel).check({ service }, { timeout });
    if (status === Serving.SERVING) return { ok: true, output: "service healthy" };
    return { ok: false, output: `service unhealthy (responded with "${Serving[status]}")` };
  } catch (error) {
    if (!(error instanceof RpcError)) throw error;
    if (error.code === Code.Unimplemented)
      return { ok: false, output: "error: this server does not implement the grpc health protocol (grpc.health.v1.Health)" };
    if (error.code === Code.DeadlineExceeded)
      return { ok: false, output: `timeout: health rpc did not complete within ${timeout / 1000}s` };
    const refused = /refused/i.test(`${error.message} ${String(error.cause ?? "")}`);
    return { ok: false, output: `error: health rpc probe failed: rpc error: code = ${Code[error.code]} desc = ${error.message}`, refused };
  } finally {
    await channel.close();
  }
}

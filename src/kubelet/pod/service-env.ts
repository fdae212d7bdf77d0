// The environment variables that tell a container of its services (Kubernetes
// documentation, "Service", environment variables).
import type * as coreV1 from "../../api/gen/core/v1.ts";

const envName = (text: string) => text.toUpperCase().replaceAll("-", "_");

/** Those of one service; none when it has no cluster IP. */
function variables(service: coreV1.Service): Record<string, string> {
  const ip = service.spec?.clusterIP;
  const ports = service.spec?.ports ?? [];
  if (!ip || ip === "None" || ports.length === 0) return {};
  const name = envName(service.metadata.name ?? "");
  const host = ip.includes(":") ? `[${ip}]` : ip;
  const env: Record<string, string> = {
    [`${name}_SERVICE_HOST`]: ip,
    [`${name}_SERVICE_PORT`]: String(ports[0]!.port),
  };
  for (const p of ports) if (p.name) env[`${name}_SERVICE_PORT_${envName(p.name)}`] = String(p.port);
  ports.forEach((p, i) => {
    const protocol = p.protocol ?? "TCP";
    const prefix = `${name}_PORT_${p.port}_${protocol}`;
    const url = `${protocol.toLowerCase()}://${host}:${p.port}`;
    if (i === 0) env[`${name}_PORT`] = url;
    env[prefix] = url;
    env[`${prefix}_PROTO`] = protocol.toLowerCase();
    env[`${prefix}_PORT`] = String(p.port);
    env[`${prefix}_ADDR`] = ip;
  });
  return env;
}

/** The apiserver's service is always there, those of the pod's namespace if it wants links. */
export function serviceEnv(services: Iterable<coreV1.Service>, namespace: string, links: boolean): Record<string, string> {
  const own: coreV1.Service[] = [];
  let env: Record<string, string> = {};
  for (const s of services) {
    if (s.metadata.namespace === "default" && s.metadata.name === "kubernetes") env = variables(s);
    else if (links && s.metadata.namespace === namespace) own.push(s);
  }
  for (const s of own) Object.assign(env, variables(s));
  return env;
}

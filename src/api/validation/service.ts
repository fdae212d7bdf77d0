// Services and what stands behind them.
import type * as core from "../gen/core/v1.ts";
import type * as discovery from "../gen/discovery/v1.ts";
import { dns1123Label, dns1123Subdomain } from "../names.ts";
import { intOrPort } from "./container.ts";
import { type Errors, IMMUTABLE, type Validator } from "./errors.ts";
import { labels } from "./meta.ts";

const isIp = (text: string) =>
  /^(\d{1,3}\.){3}\d{1,3}$/.test(text) ? text.split(".").every((p) => Number(p) <= 255) : /^[0-9a-fA-F:.]*:[0-9a-fA-F:.]*$/.test(text);
const IP_DETAIL = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";

function ports(s: core.Service, errors: Errors): void {
  const list = s.spec.ports ?? [];
  const headless = s.spec.clusterIP === "None";
  if (list.length === 0 && !headless && s.spec.type !== "ExternalName") errors.required("spec.ports");
  const names = new Set<string>();
  const taken = new Set<string>();
  const nodePorts = new Set<string>();
  list.forEach((p, i) => {
    const at = `spec.ports[${i}]`;
    if (!p.name && list.length > 1) errors.required(`${at}.name`);
    if (p.name) {
      errors.names(`${at}.name`, p.name, dns1123Label(p.name));
      if (names.has(p.name)) errors.duplicate(`${at}.name`, p.name);
      names.add(p.name);
    }
    errors.port(`${at}.port`, p.port);
    if (p.targetPort !== undefined) intOrPort(p.targetPort, `${at}.targetPort`, errors);
    const key = `${p.protocol}/${p.port}`;
    if (taken.has(key)) errors.duplicate(at, { protocol: p.protocol, port: p.port });
    taken.add(key);
    if (!p.nodePort) return;
    if (s.spec.type === "ClusterIP") errors.forbidden(`${at}.nodePort`, "may not be used when `type` is 'ClusterIP'");
    if (nodePorts.has(`${p.protocol}/${p.nodePort}`)) errors.duplicate(`${at}.nodePort`, p.nodePort);
    nodePorts.add(`${p.protocol}/${p.nodePort}`);
  });
}

export const service: Validator<core.Service> = (s, errors, old) => {
  const spec = s.spec;
  ports(s, errors);
  if (spec.selector) labels(spec.selector, "spec.selector", errors);
  if (spec.clusterIP && spec.clusterIP !== "None" && !isIp(spec.clusterIP)) errors.invalid("spec.clusterIPs[0]", spec.clusterIP, IP_DETAIL);
  if (spec.clusterIP === "None" && (spec.type === "NodePort" || spec.type === "LoadBalancer")) {
    errors.invalid("spec.clusterIPs[0]", "None", `may not be set to 'None' for ${spec.type} services`);
  }
  if (spec.type === "ExternalName") {
    if (!spec.externalName) errors.required("spec.externalName");
    else errors.names("spec.externalName", spec.externalName, dns1123Subdomain(spec.externalName.replace(/\.$/, "")));
    if (spec.clusterIP) errors.forbidden("spec.clusterIPs", "may not be set when `type` is 'ExternalName'");
  }
  (spec.externalIPs ?? []).forEach((ip, i) => {
    if (!isIp(ip)) errors.invalid(`spec.externalIPs[${i}]`, ip, IP_DETAIL);
  });
  const timeout = spec.sessionAffinityConfig?.clientIP?.timeoutSeconds;
  if (spec.sessionAffinity === "ClientIP" && (timeout === undefined || timeout <= 0 || timeout > 86_400)) {
    errors.invalid("spec.sessionAffinityConfig.clientIP.timeoutSeconds", timeout, "must be greater than 0 and less than 86400");
  }
  if (spec.externalTrafficPolicy && spec.type === "ClusterIP" && !spec.externalIPs?.length) {
    errors.invalid("spec.externalTrafficPolicy", spec.externalTrafficPolicy, "may only be set for externally-accessible services");
  }
  if (
    old &&
    old.spec.type !== "ExternalName" &&
    spec.type !== "ExternalName" &&
    old.spec.clusterIP &&
    spec.clusterIP !== old.spec.clusterIP
  ) {
    errors.invalid("spec.clusterIPs[0]", spec.clusterIPs ?? [spec.clusterIP], "may not change once set");
  }
};

function endpointAddress(ip: string, field: string, errors: Errors): void {
  if (!isIp(ip)) errors.invalid(field, ip, IP_DETAIL);
  else if (ip.startsWith("127.") || ip === "::1") errors.invalid(field, ip, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
  else if (ip.startsWith("169.254.")) errors.invalid(field, ip, "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
  else if (ip === "0.0.0.0" || ip === "::") errors.invalid(field, ip, `may not be unspecified (${ip})`);
}

export const endpoints: Validator<core.Endpoints> = (e, errors) => {
  (e.subsets ?? []).forEach((s, i) => {
    const at = `subsets[${i}]`;
    if (!s.addresses?.length && !s.notReadyAddresses?.length) errors.required(at, "must specify `addresses` or `notReadyAddresses`");
    (s.addresses ?? []).forEach((a, j) => endpointAddress(a.ip, `${at}.addresses[${j}].ip`, errors));
    (s.notReadyAddresses ?? []).forEach((a, j) => endpointAddress(a.ip, `${at}.notReadyAddresses[${j}].ip`, errors));
    (s.ports ?? []).forEach((p, j) => errors.port(`${at}.ports[${j}].port`, p.port));
  });
};

export const endpointSlice: Validator<discovery.EndpointSlice> = (s, errors, old) => {
  if (!s.addressType) errors.required("addressType");
  if (old && s.addressType !== old.addressType) errors.invalid("addressType", s.addressType, IMMUTABLE);
  if ((s.endpoints?.length ?? 0) > 1000) errors.tooMany("endpoints", s.endpoints!.length, 1000);
  (s.endpoints ?? []).forEach((e, i) => {
    const at = `endpoints[${i}]`;
    if (!e.addresses?.length) errors.required(`${at}.addresses`, "must contain at least 1 address");
    (e.addresses ?? []).forEach((a, j) => {
      if (s.addressType === "FQDN") errors.names(`${at}.addresses[${j}]`, a, dns1123Subdomain(a));
      else endpointAddress(a, `${at}.addresses[${j}]`, errors);
    });
  });
  const names = new Set<string>();
  (s.ports ?? []).forEach((p, i) => {
    if (names.has(p.name ?? "")) errors.duplicate(`ports[${i}].name`, p.name ?? "");
    names.add(p.name ?? "");
  });
};

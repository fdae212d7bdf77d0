import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { writeAtomic } from "../../platform/files.ts";

export interface KubeconfigSpec {
  server: string;
  caPem: string;
  user: string;
  certPem: string;
  keyPem: string;
}

const base64 = (text: string) => Buffer.from(text).toString("base64");

/** A kubeconfig with one cluster, one user and one context, all certificates inside. */
export function kubeconfigText(spec: KubeconfigSpec): string {
  return `apiVersion: v1
kind: Config
clusters:
- name: kubun
  cluster:
    server: ${spec.server}
    certificate-authority-data: ${base64(spec.caPem)}
contexts:
- name: ${spec.user}@kubun
  context:
    cluster: kubun
    user: ${spec.user}
current-context: ${spec.user}@kubun
users:
- name: ${spec.user}
  user:
    client-certificate-data: ${base64(spec.certPem)}
    client-key-data: ${base64(spec.keyPem)}
`;
}

export function writeKubeconfig(file: string, spec: KubeconfigSpec): void {
  mkdirSync(dirname(file), { recursive: true });
  writeAtomic(file, kubeconfigText(spec), 0o600);
}

// Every pod runs as a service account and, unless it or the account says
// otherwise, gets that account's token mounted.
import type * as core from "../../api/gen/core/v1.ts";
import { forbidden } from "../../api/status.ts";
import { type AdmissionPlugin, isPodCreate } from "./admission.ts";

const MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount";
const NAME_PREFIX = "kube-api-access-";
const MIRROR = "kubernetes.io/config.mirror";
const ALPHABET = "bcdfghjklmnpqrstvwxz2456789";
/** An hour and seven seconds: by the odd number a token made here is told from others. */
const EXPIRATION_SECONDS = 3607;

const suffix = () => Array.from(crypto.getRandomValues(new Uint8Array(5)), (b) => ALPHABET[b % ALPHABET.length]).join("");

function tokenVolume(name: string): core.Volume {
  return {
    name,
    projected: {
      defaultMode: 0o644,
      sources: [
        { serviceAccountToken: { expirationSeconds: EXPIRATION_SECONDS, path: "token" } },
        { configMap: { name: "kube-root-ca.crt", items: [{ key: "ca.crt", path: "ca.crt" }] } },
        { downwardAPI: { items: [{ path: "namespace", fieldRef: { apiVersion: "v1", fieldPath: "metadata.namespace" } }] } },
      ],
    },
  };
}

function mountToken(pod: core.Pod): void {
  const existing = pod.spec.volumes?.find(
    (v) => v.name.startsWith(NAME_PREFIX) && v.projected?.sources?.some((s) => s.serviceAccountToken),
  );
  const volume = existing ?? tokenVolume(`${NAME_PREFIX}${suffix()}`);
  let used = false;
  for (const c of [...(pod.spec.initContainers ?? []), ...(pod.spec.containers ?? [])]) {
    if (c.volumeMounts?.some((m) => m.mountPath === MOUNT_PATH)) continue;
    c.volumeMounts = [...(c.volumeMounts ?? []), { name: volume.name, readOnly: true, mountPath: MOUNT_PATH }];
    used = true;
  }
  if (used && !existing) pod.spec.volumes = [...(pod.spec.volumes ?? []), volume];
}

export const serviceAccount: AdmissionPlugin = {
  name: "ServiceAccount",
  async admit(request, source) {
    if (!isPodCreate(request)) return;
    const pod = request.object as unknown as core.Pod;
    // A mirror pod shows what a kubelet runs by itself; it gets nothing from the API.
    if (pod.metadata.annotations?.[MIRROR] !== undefined) return;
    pod.spec.serviceAccountName ||= "default";
    pod.spec.serviceAccount = pod.spec.serviceAccountName;
    const { namespace, name } = pod.metadata;
    const account = (await source.get("", "serviceaccounts", namespace, pod.spec.serviceAccountName)) as core.ServiceAccount | undefined;
    if (!account) {
      throw forbidden(
        { resource: "pods" },
        name ?? "",
        `error looking up service account ${namespace}/${pod.spec.serviceAccountName}: serviceaccount "${pod.spec.serviceAccountName}" not found`,
      );
    }
    if (pod.spec.automountServiceAccountToken ?? account.automountServiceAccountToken ?? true) mountToken(pod);
    if (!pod.spec.imagePullSecrets?.length && account.imagePullSecrets?.length)
      pod.spec.imagePullSecrets = account.imagePullSecrets.map((s) => ({ ...s }));
  },
};

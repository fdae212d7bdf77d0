// Kinds that configure the cluster rather than run in it.
import { deepEqual } from "../../api/equal.ts";
import type { Fresh, Strategy } from "./strategy.ts";

const counted: Strategy = { generation: true };
const upsert: Strategy = { createOnUpdate: true };
const rest = (o: Record<string, unknown>) => ({ ...o, metadata: undefined, status: undefined });

/** generation counts changes of anything but metadata and status. */
const countedWhole: Strategy = { generation: (next, old) => !deepEqual(rest(next), rest(old)) };

function generationOne(object: Fresh): void {
  object.metadata.generation = 1;
}

export const clusterStrategies: Record<string, Strategy> = {
  "networking.k8s.io/networkpolicies": counted,
  "networking.k8s.io/ingresses": counted,
  "networking.k8s.io/ingressclasses": counted,
  "networking.k8s.io/servicecidrs": {},
  "networking.k8s.io/ipaddresses": { fields: (ip) => ({ "spec.parentRef.name": ip.spec?.parentRef?.name ?? "" }) },
  "discovery.k8s.io/endpointslices": {
    generation: (next, old) =>
      !deepEqual(rest(next), rest(old)) ||
      !deepEqual(next.metadata.labels, old.metadata.labels) ||
      !deepEqual(next.metadata.annotations, old.metadata.annotations),
  },
  "rbac.authorization.k8s.io/roles": upsert,
  "rbac.authorization.k8s.io/rolebindings": upsert,
  "rbac.authorization.k8s.io/clusterroles": upsert,
  "rbac.authorization.k8s.io/clusterrolebindings": upsert,
  "coordination.k8s.io/leases": upsert,
  "scheduling.k8s.io/priorityclasses": { prepareCreate: generationOne },
  "apiextensions.k8s.io/customresourcedefinitions": counted,
  "apiregistration.k8s.io/apiservices": {},
  "admissionregistration.k8s.io/mutatingwebhookconfigurations": countedWhole,
  "admissionregistration.k8s.io/validatingwebhookconfigurations": countedWhole,
  "admissionregistration.k8s.io/validatingadmissionpolicies": counted,
  "admissionregistration.k8s.io/validatingadmissionpolicybindings": counted,
  "flowcontrol.apiserver.k8s.io/flowschemas": counted,
  "flowcontrol.apiserver.k8s.io/prioritylevelconfigurations": counted,
  "resource.k8s.io/resourceslices": {
    ...counted,
    fields: (s) => ({ "spec.driver": s.spec?.driver ?? "", "spec.nodeName": s.spec?.nodeName ?? "" }),
  },
  "resource.k8s.io/deviceclasses": counted,
  "certificates.k8s.io/certificatesigningrequests": {
    prepareCreate: (csr, context) => {
      if (!csr.spec) return;
      csr.spec.username = context.user.name;
      csr.spec.uid = context.user.uid;
      csr.spec.groups = [...context.user.groups];
      csr.spec.extra = context.user.extra && structuredClone(context.user.extra);
    },
    prepareUpdate: (next, old) => {
      next.spec = old.spec;
    },
    fields: (csr) => ({ "spec.signerName": csr.spec?.signerName ?? "" }),
  },
};

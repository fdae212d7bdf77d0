export { Kubelet } from "./kubelet.ts";
export type { KubeletOptions, ServingTls } from "./options.ts";
export { type RemoveAllOptions, removeAllPods } from "./remove-all.ts";

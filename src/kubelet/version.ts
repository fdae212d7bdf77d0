/** The Kubernetes release whose behaviour this kubelet has. */
export const kubeletVersion = "v1.35.0";

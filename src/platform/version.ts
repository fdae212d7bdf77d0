/** The version of kubun, as package.json has it. */
export const VERSION = "0.1.0";

/** The Kubernetes version whose API is served, in the form that clients parse. */
export const KUBERNETES_VERSION = `v1.35.0+kubun-${VERSION}`;

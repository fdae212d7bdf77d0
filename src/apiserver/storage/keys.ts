// Where objects lie in the store: upstream's key layout
// (k8s.io/apiserver/pkg/server/options, SpecialDefaultResourcePrefixes).

const special: Record<string, string> = {
  "/replicationcontrollers": "controllers",
  "/endpoints": "services/endpoints",
  "/nodes": "minions",
  "/services": "services/specs",
  "networking.k8s.io/ingresses": "ingress",
};

/** Groups of servers that upstream delegates to; their keys begin with the group. */
const prefixed = new Set(["apiregistration.k8s.io", "apiextensions.k8s.io"]);

/**
 * The key of a resource's collection below the store's prefix, without slashes
 * at its ends. `custom` is true for resources of a CustomResourceDefinition.
 */
export function collectionKey(group: string, plural: string, custom = false): string {
  // Both groups' events are one collection.
  if (group === "events.k8s.io" && plural === "events") return "events";
  if (custom || prefixed.has(group)) return `${group}/${plural}`;
  return special[`${group}/${plural}`] ?? plural;
}

/** "ns/name" or "name": an object's key below its collection. */
export const objectKey = (namespace: string | undefined, name: string): string => (namespace ? `${namespace}/${name}` : name);

/** The etcd release whose API this speaks; clients choose features by it. */
export const VERSION = "3.6.0";
/** What `etcdctl version` and /version call the cluster. */
export const CLUSTER_VERSION = "3.6.0";

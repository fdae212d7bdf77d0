// Debian packages that kubun uses, and the file that shows a package is there.
// `for` says which tasks need it; the README tells a person the same.

/** @typedef {{ package: string, file: string[], for: string[], why: string }} DebianPackage */

/** @type {DebianPackage[]} */
export const debianPackages = [
  { package: "runc", file: ["/usr/sbin/runc", "/usr/bin/runc"], for: ["node", "test"], why: "starts containers" },
  {
    package: "conmon",
    file: ["/usr/bin/conmon"],
    for: ["node", "test"],
    why: "keeps a container's output and exit code while kubun is away",
  },
  {
    package: "containernetworking-plugins",
    file: ["/usr/lib/cni/bridge"],
    for: ["node", "test"],
    why: "connects pods to the node's bridge",
  },
  { package: "nftables", file: ["/usr/sbin/nft"], for: ["node", "test"], why: "service addresses" },
  { package: "conntrack", file: ["/usr/sbin/conntrack"], for: ["node", "test"], why: "forgets UDP flows to backends that are gone" },
  { package: "iproute2", file: ["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip"], for: ["node", "test"], why: "network namespaces of nodes" },
  {
    package: "containerd",
    file: ["/usr/bin/containerd"],
    for: ["containerd", "test"],
    why: "the other runtime that the kubelet is proven with",
  },
  { package: "etcd-server", file: ["/usr/bin/etcd"], for: ["test", "bench"], why: "the store's peer" },
  { package: "etcd-client", file: ["/usr/bin/etcdctl"], for: ["test", "bench"], why: "the store's outside client" },
  { package: "busybox-static", file: ["/bin/busybox", "/usr/bin/busybox"], for: ["test", "bench"], why: "content of test images" },
  { package: "curl", file: ["/usr/bin/curl"], for: ["test"], why: "outside HTTP client" },
  { package: "bind9-dnsutils", file: ["/usr/bin/dig"], for: ["test"], why: "outside DNS client" },
  { package: "netcat-openbsd", file: ["/bin/nc.openbsd", "/usr/bin/nc.openbsd"], for: ["test"], why: "UDP through service addresses" },
  { package: "docker-registry", file: ["/usr/bin/docker-registry"], for: ["test"], why: "a registry to pull images from" },
  { package: "nghttp2-client", file: ["/usr/bin/h2load"], for: ["test", "bench"], why: "outside HTTP/2 clients" },
  { package: "chromium", file: ["/usr/bin/chromium"], for: ["test"], why: "calls over gRPC-Web and Connect from a page" },
  { package: "unzip", file: ["/usr/bin/unzip"], for: ["test"], why: "unpacks kubectl 1.35 and Helm" },
];

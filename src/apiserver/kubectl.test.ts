// The REST API as kubectl, the real one, uses it.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { noKubectl, startApiServer, type TestApiServer } from "../testing/api-server.ts";

const missing = noKubectl();
if (missing) console.log(`skipped: ${missing}`);

const deployment = {
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name: "web", labels: { app: "web" } },
  spec: {
    replicas: 2,
    selector: { matchLabels: { app: "web" } },
    template: {
      metadata: { labels: { app: "web" } },
      spec: { containers: [{ name: "c", image: "one", ports: [{ containerPort: 80 }], env: [{ name: "A", value: "1" }] }] },
    },
  },
};

describe.skipIf(missing !== undefined)("kubectl", () => {
  let s: TestApiServer;
  const k = (...args: string[]) => s.kubectl(args);
  const get = async (...args: string[]) => JSON.parse(await k("get", "-o", "json", ...args));

  beforeAll(async () => {
    s = await startApiServer({ tokens: [{ token: "letmein", user: "teller", groups: ["system:masters"] }] });
    await k("create", "serviceaccount", "default");
  });
  afterAll(async () => {
    await s?.[Symbol.asyncDispose]();
  });

  test("create, get, label, annotate and delete a ConfigMap", async () => {
    expect(await k("create", "configmap", "a", "--from-literal=k=v")).toBe("configmap/a created\n");
    expect(await s.kubectl(["create", "configmap", "a"], { fails: true })).toBe(
      'error: failed to create configmap: configmaps "a" already exists\n',
    );
    expect(await k("label", "cm", "a", "x=y")).toContain("labeled");
    expect(await k("annotate", "cm", "a", "note=hello")).toContain("annotated");
    expect(await k("get", "cm", "-l", "x=y", "-o", "jsonpath={.items[*].metadata.annotations.note}")).toBe("hello");
    expect(await k("get", "cm", "a")).toMatch(/^NAME +DATA +AGE\na +1 +\d+s\n$/);
    expect(await k("delete", "cm", "a")).toBe('configmap "a" deleted\n');
    expect(await s.kubectl(["get", "cm", "a"], { fails: true })).toBe('Error from server (NotFound): configmaps "a" not found\n');
  });

  test("apply creates, changes and prunes what a manifest says, and diff shows it", async () => {
    const apply = (o: object, ...args: string[]) => s.kubectl(["apply", "-f", "-", ...args], { stdin: JSON.stringify(o) });
    expect(await apply(deployment)).toBe("deployment.apps/web created\n");
    expect(await apply(deployment)).toBe("deployment.apps/web unchanged\n");
    const changed = structuredClone(deployment);
    changed.spec.template.spec.containers[0]!.env = [{ name: "B", value: "2" }];
    changed.spec.replicas = 4;
    expect(await apply(changed, "--dry-run=server")).toBe("deployment.apps/web configured (server dry run)\n");
    expect((await get("deploy", "web")).spec.replicas).toBe(2);
    expect(await apply(changed)).toBe("deployment.apps/web configured\n");
    const found = await get("deploy", "web");
    expect(found.spec.replicas).toBe(4);
    expect(found.spec.template.spec.containers[0].env).toEqual([{ name: "B", value: "2" }]);
    expect(found.metadata.generation).toBe(2);
  });

  test("server-side apply keeps fields of others and names conflicts", async () => {
    const own = { apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "web" }, spec: { replicas: 9 } };
    const args = ["apply", "--server-side", "--field-manager=robot", "-f", "-"];
    const refused = await s.kubectl(args, { stdin: JSON.stringify(own), fails: true });
    expect(refused).toContain('Apply failed with 1 conflict: conflict with "kubectl-client-side-apply" using apps/v1: .spec.replicas');
    expect(await s.kubectl([...args, "--force-conflicts"], { stdin: JSON.stringify(own) })).toBe(
      "deployment.apps/web serverside-applied\n",
    );
    expect((await get("deploy", "web")).spec).toMatchObject({ replicas: 9, selector: deployment.spec.selector });
    const fields = await k("get", "deploy", "web", "--show-managed-fields", "-o", "json");
    const managers = JSON.parse(fields).metadata.managedFields.map((m: { manager: string; operation: string }) => [m.manager, m.operation]);
    expect(managers).toContainEqual(["robot", "Apply"]);
  });

  test("patch in all three forms, scale, set image, edit", async () => {
    await k("patch", "deploy", "web", "-p", '{"spec":{"template":{"spec":{"containers":[{"name":"c","workingDir":"/x"}]}}}}');
    await k("patch", "deploy", "web", "--type=json", "-p", '[{"op":"replace","path":"/spec/replicas","value":3}]');
    await k("patch", "deploy", "web", "--type=merge", "-p", '{"spec":{"minReadySeconds":7}}');
    expect((await get("deploy", "web")).spec).toMatchObject({
      replicas: 3,
      minReadySeconds: 7,
      template: { spec: { containers: [{ image: "one", workingDir: "/x" }] } },
    });
    expect(await k("scale", "deploy/web", "--replicas=5")).toBe("deployment.apps/web scaled\n");
    expect(await k("set", "image", "deploy/web", "c=two")).toBe("deployment.apps/web image updated\n");
    expect((await get("deploy", "web")).spec).toMatchObject({ replicas: 5, template: { spec: { containers: [{ image: "two" }] } } });
    const bad = await s.kubectl(["patch", "deploy", "web", "--type=json", "-p", '[{"op":"test","path":"/spec/replicas","value":1}]'], {
      fails: true,
    });
    expect(bad).toContain("the server rejected our request due to an error in our request");
  });

  test("YAML, jsonpath, wide, name and sorted output; describe", async () => {
    expect(await k("get", "deploy", "web", "-o", "yaml")).toContain("\n  name: web\n");
    expect(await k("get", "deploy", "web", "-o", "wide")).toMatch(/CONTAINERS +IMAGES +SELECTOR\n.* c +two +app=web\n$/);
    expect(await k("get", "deploy", "-o", "name")).toBe("deployment.apps/web\n");
    expect(await k("get", "ns", "--sort-by=.metadata.name", "-o", "jsonpath={.items[*].metadata.name}")).toBe(
      "default kube-node-lease kube-public kube-system",
    );
    const described = await k("describe", "deploy", "web");
    expect(described).toMatch(/Image: +two/);
    expect(described).toMatch(/Selector: +app=web/);
  });

  test("watch tells of changes as they come", async () => {
    const child = Bun.spawn(["kubectl", "get", "cm", "-w", "-o", "name", "--request-timeout=20s"], {
      env: { ...process.env, KUBECONFIG: s.kubeconfig },
      stdout: "pipe",
    });
    let seen = "";
    const done = (async () => {
      for await (const chunk of child.stdout) {
        seen += Buffer.from(chunk).toString();
        if (seen.split("configmap/later").length > 2) break;
      }
    })();
    await k("create", "configmap", "later");
    await k("annotate", "configmap", "later", "a=b");
    await done;
    child.kill();
    await child.exited;
    expect(seen).toContain("configmap/later");
    await k("delete", "configmap", "later");
  });

  test("wait notices a condition and a deletion", async () => {
    await k("create", "configmap", "waiting");
    const waiting = k("wait", "--for=jsonpath={.data.done}=yes", "cm/waiting", "--timeout=20s");
    await k("patch", "cm", "waiting", "--type=merge", "-p", '{"data":{"done":"yes"}}');
    expect(await waiting).toBe("configmap/waiting condition met\n");
    const gone = k("wait", "--for=delete", "cm/waiting", "--timeout=20s");
    await k("delete", "cm", "waiting", "--wait=false");
    await gone;
  });

  test("unknown and doubled fields are refused, warned of or passed over, as asked", async () => {
    const wrong = JSON.stringify({ ...deployment, metadata: { name: "wrong" }, spec: { ...deployment.spec, replica: 3 } });
    const strict = await s.kubectl(["create", "-f", "-", "--validate=strict"], { stdin: wrong, fails: true });
    expect(strict).toContain('strict decoding error: unknown field "spec.replica"');
    const child = Bun.spawn(["kubectl", "create", "-f", "-", "--validate=warn"], {
      env: { ...process.env, KUBECONFIG: s.kubeconfig },
      stdin: Buffer.from(wrong),
      stderr: "pipe",
    });
    expect(await new Response(child.stderr).text()).toContain('Warning: unknown field "spec.replica"');
    await k("delete", "deploy", "wrong");
  });

  test("an invalid object is refused with a cause for each field", async () => {
    const pod = { apiVersion: "v1", kind: "Pod", metadata: { name: "Bad_Name" }, spec: { containers: [] } };
    const error = await s.kubectl(["create", "-f", "-"], { stdin: JSON.stringify(pod), fails: true });
    expect(error).toContain('The Pod "Bad_Name" is invalid');
    expect(error).toContain("* metadata.name: Invalid value");
    expect(error).toContain("* spec.containers: Required value");
  });

  test("services get addresses and ports, and lose them again", async () => {
    await k("create", "service", "nodeport", "front", "--tcp=80:8080", "--node-port=30080");
    const front = await get("svc", "front");
    expect(front.spec).toMatchObject({
      type: "NodePort",
      ipFamilies: ["IPv4"],
      ipFamilyPolicy: "SingleStack",
      ports: [{ nodePort: 30080 }],
    });
    expect(front.spec.clusterIP).toMatch(/^10\.96\./);
    const taken = await s.kubectl(["create", "service", "nodeport", "other", "--tcp=80:8080", "--node-port=30080"], { fails: true });
    expect(taken).toContain("provided port is already allocated");
    const outside = await s.kubectl(["create", "service", "clusterip", "other", "--tcp=80:80", "--clusterip=10.97.0.1"], { fails: true });
    expect(outside).toContain("10.97.0.1");
    const same = await s.kubectl(["create", "service", "clusterip", "other", "--tcp=80:80", `--clusterip=${front.spec.clusterIP}`], {
      fails: true,
    });
    expect(same).toContain("provided IP is already allocated");
    await k("patch", "svc", "front", "-p", '{"spec":{"type":"ClusterIP"}}');
    expect((await get("svc", "front")).spec.ports[0].nodePort).toBeUndefined();
    await k("delete", "svc", "front");
    const again = await k("create", "service", "clusterip", "again", "--tcp=80:80", `--clusterip=${front.spec.clusterIP}`);
    expect(again).toBe("service/again created\n");
    const held = {
      apiVersion: "networking.k8s.io/v1",
      kind: "IPAddress",
      metadata: { name: "10.96.0.77", labels: { "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io" } },
      spec: { parentRef: { resource: "services", namespace: "default", name: "late" } },
    };
    await s.kubectl(["create", "-f", "-"], { stdin: JSON.stringify(held) });
    const foreign = await s.kubectl(["create", "service", "clusterip", "other", "--tcp=80:80", "--clusterip=10.96.0.77"], { fails: true });
    expect(foreign).toContain("provided IP is already allocated");
    // Left by a start that was killed between the two writes.
    await k("create", "service", "clusterip", "late", "--tcp=80:80", "--clusterip=10.96.0.77");
    expect((await get("svc", "kubernetes")).spec.clusterIP).toBe("10.96.0.1");
    expect((await get("endpointslices", "kubernetes")).endpoints[0].addresses).toEqual(["192.0.2.1"]);
    await k("create", "service", "clusterip", "headless", "--clusterip=None");
    expect((await get("svc", "headless")).spec.clusterIPs).toEqual(["None"]);
  });

  test("who am I, what may I, and acting as somebody else", async () => {
    expect(await k("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")).toBe("kubernetes-admin");
    expect(await k("auth", "can-i", "create", "pods")).toBe("yes\n");
    await k("create", "role", "reader", "--verb=get,list", "--resource=pods");
    await k("create", "rolebinding", "reads", "--role=reader", "--user=jane");
    expect(await k("auth", "can-i", "list", "pods", "--as=jane")).toBe("yes\n");
    const jane = await s.kubeconfigFor("jane");
    expect(await s.kubectl(["get", "pods", "-o", "name"], { kubeconfig: jane })).toBe("");
    expect(await s.kubectl(["get", "secrets"], { kubeconfig: jane, fails: true })).toBe(
      'Error from server (Forbidden): secrets is forbidden: User "jane" cannot list resource "secrets" in API group "" in the namespace "default"\n',
    );
    expect(await s.kubectl(["get", "ns", "--as=admin"], { kubeconfig: jane, fails: true })).toContain(
      'cannot impersonate resource "users"',
    );
    const rules = await s.kubectl(["auth", "can-i", "--list"], { kubeconfig: jane });
    expect(rules).toMatch(/pods .*\[get list\]/);
  });

  test("tokens: a static one, one of a service account, and a wrong one", async () => {
    const as = (token: string) => ["--kubeconfig=/dev/null", `--server=${s.server}`, "--insecure-skip-tls-verify", `--token=${token}`];
    expect(await k(...as("letmein"), "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")).toBe("teller");
    await k("create", "serviceaccount", "robot");
    const token = (await k("create", "token", "robot")).trim();
    expect(await k(...as(token), "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")).toBe(
      "system:serviceaccount:default:robot",
    );
    await k("delete", "serviceaccount", "robot");
    expect(await s.kubectl([...as(token), "get", "pods"], { fails: true })).toContain("Unauthorized");
    expect(await s.kubectl([...as("wrong"), "get", "pods"], { fails: true })).toContain("Unauthorized");
  });

  test("discovery, explain, version and health", async () => {
    expect(await k("api-resources", "--namespaced=false", "-o", "name")).toContain("nodes\n");
    expect(await k("api-versions")).toContain("apps/v1\n");
    expect(await k("explain", "pods.spec.containers.livenessProbe")).toContain("httpGet");
    expect(JSON.parse(await k("version", "-o", "json")).serverVersion.gitVersion).toStartWith("v1.35.");
    expect(await k("get", "--raw", "/readyz?verbose")).toContain("readyz check passed");
    expect(await k("get", "--raw", "/metrics")).toContain("apiserver_request_total{");
    const anonymous = await fetch(`${s.server}/livez`, { tls: { ca: s.ca } });
    expect([anonymous.status, await anonymous.text()]).toEqual([200, "ok"]);
    expect((await fetch(`${s.server}/api/v1/pods`, { tls: { ca: s.ca } })).status).toBe(403);
    expect((await fetch(`${s.server}/nothing`, { tls: { ca: s.ca, cert: s.admin.cert, key: s.admin.key } })).status).toBe(404);
  });

  test("events are told in both groups' words", async () => {
    const event = {
      apiVersion: "v1",
      kind: "Event",
      metadata: { name: "e1", namespace: "default" },
      involvedObject: { apiVersion: "v1", kind: "Pod", name: "p", namespace: "default" },
      reason: "Started",
      message: "it runs",
      type: "Normal",
      lastTimestamp: new Date().toISOString(),
    };
    await s.kubectl(["create", "-f", "-"], { stdin: JSON.stringify(event) });
    expect(await k("events", "--for=pod/p")).toContain("it runs");
    const other = JSON.parse(await k("get", "--raw", "/apis/events.k8s.io/v1/namespaces/default/events/e1"));
    expect(other).toMatchObject({ apiVersion: "events.k8s.io/v1", regarding: { name: "p" }, note: "it runs" });
    expect((await get("events", "--field-selector=involvedObject.name=p")).items).toHaveLength(1);
  });

  test("a namespace goes when its finalizer goes", async () => {
    await k("create", "namespace", "brief");
    await k("delete", "namespace", "brief", "--wait=false");
    expect((await get("ns", "brief")).status.phase).toBe("Terminating");
    expect(await s.kubectl(["create", "cm", "x", "-n", "brief"], { fails: true })).toContain("because it is being terminated");
    const ns = await get("ns", "brief");
    await s.kubectl(["replace", "--raw", "/api/v1/namespaces/brief/finalize", "-f", "-"], {
      stdin: JSON.stringify({ ...ns, spec: { finalizers: [] } }),
    });
    expect(await s.kubectl(["get", "ns", "brief"], { fails: true })).toContain("NotFound");
    expect(await s.kubectl(["delete", "ns", "default"], { fails: true })).toContain("this namespace may not be deleted");
  });

  test("certificates are asked for and approved", async () => {
    const csr = {
      apiVersion: "certificates.k8s.io/v1",
      kind: "CertificateSigningRequest",
      metadata: { name: "req" },
      spec: {
        request: Buffer.from("-----BEGIN CERTIFICATE REQUEST-----\n").toString("base64"),
        signerName: "example.com/x",
        usages: ["client auth"],
      },
    };
    await s.kubectl(["create", "-f", "-"], { stdin: JSON.stringify(csr) });
    expect(await k("certificate", "approve", "req")).toContain("approved");
    const found = await get("csr", "req");
    expect(found.spec.username).toBe("kubernetes-admin");
    expect(found.status.conditions[0]).toMatchObject({ type: "Approved", status: "True" });
  });

  test("a drained node's pods are evicted, unless a budget says no", async () => {
    const pod = (name: string) => ({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name, labels: { app: name } },
      spec: { nodeName: "n", containers: [{ name: "c", image: "x" }] },
    });
    for (const name of ["free", "kept"]) {
      await s.kubectl(["create", "-f", "-"], { stdin: JSON.stringify(pod(name)) });
      await k(
        "patch",
        "pod",
        name,
        "--subresource=status",
        "--type=merge",
        "-p",
        '{"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}}',
      );
    }
    await k("create", "pdb", "budget", "--selector=app=kept", "--min-available=1");
    await k(
      "patch",
      "pdb",
      "budget",
      "--subresource=status",
      "--type=merge",
      "-p",
      '{"status":{"observedGeneration":1,"disruptionsAllowed":0,"currentHealthy":1,"desiredHealthy":1,"expectedPods":1}}',
    );
    const evict = (name: string) => ({ apiVersion: "policy/v1", kind: "Eviction", metadata: { name } });
    const post = (name: string, fails: boolean) =>
      s.kubectl(["create", "--raw", `/api/v1/namespaces/default/pods/${name}/eviction`, "-f", "-"], {
        stdin: JSON.stringify(evict(name)),
        fails,
      });
    expect(await post("kept", true)).toContain("Cannot evict pod as it would violate the pod's disruption budget.");
    expect(JSON.parse(await post("free", false))).toMatchObject({ kind: "Status", status: "Success", code: 201 });
    expect((await get("pod", "free")).metadata.deletionTimestamp).toBeDefined();
    await k("delete", "pod", "--all", "--force", "--grace-period=0");
  });
});

//! NetworkPolicies as pods see them: what they reach, and what they do not.

use std::process::Command;

use crate::busybox;
use crate::cluster::{Cluster, until};
use crate::running::installed;

/// A server of two ports behind a Service, two clients beside it, one in another namespace, and a component.
const OBJECTS: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: other}
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: box
    image: localhost/tools/busybox:1
    command: [sh, -c, "echo here > /www/index.html; httpd -p 8081 -h /www; exec httpd -f -p 8080 -h /www"]
    ports: [{name: http, containerPort: 8080}, {name: admin, containerPort: 8081}]
    readinessProbe: {tcpSocket: {port: http}, periodSeconds: 1, failureThreshold: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: http}, {name: admin, port: 81, targetPort: admin}]
---
apiVersion: v1
kind: Pod
metadata: {name: component, labels: {app: component}}
spec:
  containers:
  - {name: hello, image: demo/hello:v1, ports: [{containerPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: component}
spec:
  selector: {app: component}
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Pod
metadata: {name: friend, labels: {role: friend}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: box, image: localhost/tools/busybox:1, command: [sleep, "100000"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: stranger, labels: {role: stranger}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: box, image: localhost/tools/busybox:1, command: [sleep, "100000"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: neighbour, namespace: other, labels: {role: neighbour}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: box, image: localhost/tools/busybox:1, command: [sleep, "100000"]}]
"#;

/// A policy of the namespace `default` with this specification.
fn policy(name: &str, spec: &str) -> String {
    let head = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy";
    format!("{head}\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n")
}

/// A cluster with all of it ready, or nothing where something is missing.
fn with_pods(test: &str) -> Option<Cluster> {
    if !installed("busybox") {
        return None;
    }
    if let Err(why) = xebec_container::check(&std::env::temp_dir()) {
        println!("skipped: {test}: {why}");
        return None;
    }
    if let Err(why) = xebec_datapath::probe().and_then(|()| xebec_datapath::Filter::probe()) {
        println!("skipped: {test}: {why}");
        return None;
    }
    let cluster = Cluster::start()?;
    let root = tempfile::tempdir().expect("a temporary directory");
    crate::services::fill(root.path());
    busybox::build(&cluster, root.path());
    cluster.apply(OBJECTS);
    cluster.kubectl("wait --for=condition=Ready pod --all --all-namespaces --timeout=120s");
    Some(cluster)
}

/// Whether a pod gets a page. BusyBox has a limit of its own, with which it fails in some distributions.
fn gets(cluster: &Cluster, pod: &str, url: &str) -> bool {
    cluster.run(&format!("exec {pod} -- timeout 2 wget -q -O - http://{url}"), "").status.success()
}

/// Waits until a pod gets a page, or does not, and sees that it stays so.
fn becomes(cluster: &Cluster, pod: &str, url: &str, expected: bool) {
    let what = format!("{pod} {} http://{url}", if expected { "to get" } else { "not to get" });
    until(&what, || (gets(cluster, pod, url) == expected).then_some(()));
    assert_eq!(gets(cluster, pod, url), expected, "{what}, again");
}

/// The name of the filter's table.
fn table(cluster: &Cluster) -> String {
    let berth = std::fs::read_to_string(cluster.data().join("berth")).expect("the place is noted");
    format!("table ip xebec{}-policies", berth.trim())
}

fn has_table(name: &str) -> Option<bool> {
    installed("nft").then(|| {
        let tables = Command::new("nft").args(["list", "tables"]).output().expect("nft runs");
        String::from_utf8_lossy(&tables.stdout).lines().any(|line| line == name)
    })
}

#[test]
fn pods_are_reached_by_those_whom_policies_name() {
    let Some(mut cluster) = with_pods("pods_are_reached_by_those_whom_policies_name") else { return };
    let (friend, stranger, neighbour) = ("friend", "stranger", "neighbour -n other");
    let address = cluster.get("pod web")["status"]["podIP"].as_str().expect("an address").to_owned();
    for pod in [friend, stranger] {
        for url in ["web", "web:81", "component"] {
            becomes(&cluster, pod, url, true);
        }
    }
    becomes(&cluster, neighbour, "web.default", true);
    let table = table(&cluster);
    assert_ne!(has_table(&table), Some(true), "nothing filters where there is no policy");
    // Nobody reaches anybody, but for the machine.
    cluster.apply(&policy("deny", "podSelector: {}, policyTypes: [Ingress]"));
    for url in ["web", "component", &format!("{address}:8080")] {
        becomes(&cluster, friend, url, false);
    }
    becomes(&cluster, neighbour, "web.default", false);
    let page =
        Command::new("busybox").args(["wget", "-q", "-O", "-", &format!("http://{address}:8080/")]).output();
    assert!(page.expect("BusyBox runs").status.success(), "the machine reaches every pod");
    assert_ne!(has_table(&table), Some(false));
    // By the labels of pods, and by the name of a port.
    let from = "from: [{podSelector: {matchLabels: {role: friend}}}], ports: [{port: http}]";
    let spec = format!("podSelector: {{matchLabels: {{app: web}}}}, ingress: [{{{from}}}]");
    cluster.apply(&policy("allow", &spec));
    becomes(&cluster, friend, "web", true);
    for (pod, url) in [(friend, "web:81"), (stranger, "web"), (neighbour, "web.default")] {
        becomes(&cluster, pod, url, false);
    }
    // A changed policy holds, and changed labels count.
    cluster.apply(&policy("allow", &spec.replace("role: friend", "role: stranger")));
    becomes(&cluster, stranger, "web", true);
    becomes(&cluster, friend, "web", false);
    cluster.kubectl("label pod friend role=stranger --overwrite");
    becomes(&cluster, friend, "web", true);
    // By the labels of namespaces.
    let from =
        "from: [{namespaceSelector: {matchLabels: {team: red}}}], ports: [{port: 8080, endPort: 8081}]";
    cluster.apply(&policy(
        "allow",
        &format!("podSelector: {{matchLabels: {{app: web}}}}, ingress: [{{{from}}}]"),
    ));
    becomes(&cluster, friend, "web", false);
    becomes(&cluster, neighbour, "web.default", false);
    cluster.kubectl("label namespace other team=red");
    becomes(&cluster, neighbour, "web.default", true);
    becomes(&cluster, neighbour, "web.default:81", true);
    cluster.kubectl("label namespace other team-");
    becomes(&cluster, neighbour, "web.default", false);
    // Killed, the program goes on with what it left.
    cluster.restart_after("KILL");
    becomes(&cluster, friend, "web", false);
    assert!(
        cluster.get("pod web")["status"]["containerStatuses"][0]["ready"] == true,
        "probes come from the machine"
    );
    cluster.kubectl("delete networkpolicy --all");
    for (pod, url) in
        [(friend, "web"), (stranger, "web:81"), (friend, "component"), (neighbour, "web.default")]
    {
        becomes(&cluster, pod, url, true);
    }
    assert_ne!(has_table(&table), Some(true), "nothing filters any more");
    cluster.apply(&policy("deny", "podSelector: {}"));
    becomes(&cluster, friend, "web", false);
    assert_eq!(cluster.terminate(), Some(0));
    assert_ne!(has_table(&table), Some(true), "nothing stays");
}

#[test]
fn pods_reach_those_whom_policies_name() {
    let Some(cluster) = with_pods("pods_reach_those_whom_policies_name") else { return };
    let address = cluster.get("pod web")["status"]["podIP"].as_str().expect("an address").to_owned();
    becomes(&cluster, "friend", "web", true);
    // Names are found, and nothing else.
    let names = "{ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]}";
    let egress = |rules: &str| format!("podSelector: {{}}, policyTypes: [Egress], egress: [{rules}]");
    cluster.apply(&policy("out", &egress(names)));
    for url in ["web", "component", &format!("{address}:8080")] {
        becomes(&cluster, "friend", url, false);
    }
    let found = cluster.kubectl("exec friend -- nslookup web.default.svc.cluster.local");
    let service = cluster.get("service web")["spec"]["clusterIP"].as_str().expect("an address").to_owned();
    assert!(found.contains(&service), "{found}");
    becomes(&cluster, "neighbour -n other", "web.default", true);
    // A pod that begins under the policy has never been without it.
    let early = r#"
apiVersion: v1
kind: Pod
metadata: {name: early}
spec: {restartPolicy: Never, terminationGracePeriodSeconds: 0, containers: [{name: box,
      image: localhost/tools/busybox:1, command: [sh, -c, "timeout 2 wget -q -O - http://ADDRESS:8080 || echo nothing"]}]}"#;
    cluster.apply(&early.replace("ADDRESS", &address));
    cluster.kubectl("wait --for=jsonpath={.status.phase}=Succeeded pod/early --timeout=120s");
    let told = cluster.kubectl("logs early");
    // The shell tells of its command's end, too, before or after.
    assert!(told.lines().any(|line| line == "nothing") && !told.contains("here"), "{told}");
    // What is behind a service's address counts.
    let to_web = "{to: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: http}]}";
    cluster.apply(&policy("out", &egress(&format!("{names}, {to_web}"))));
    becomes(&cluster, "friend", "web", true);
    becomes(&cluster, "friend", "web:81", false);
    becomes(&cluster, "friend", "component", false);
    // By address.
    let block = |except: &str| format!("{{to: [{{ipBlock: {{cidr: 10.244.0.0/16, except: [{except}]}}}}]}}");
    cluster.apply(&policy("out", &egress(&block(&format!("{address}/32")))));
    becomes(&cluster, "friend", &format!("{address}:8080"), false);
    cluster.apply(&policy("out", &egress(&block("10.244.255.255/32"))));
    becomes(&cluster, "friend", &format!("{address}:8080"), true);
    // What two allow is allowed, and what one denies the other may still deny.
    cluster.apply(&policy("in", "podSelector: {matchLabels: {app: web}}"));
    becomes(&cluster, "friend", "web", false);
    becomes(&cluster, "neighbour -n other", "web.default", false);
    cluster.kubectl("delete networkpolicy in out");
    becomes(&cluster, "friend", "web", true);
}

//! Services as pods see them: by name and by address, from containers and from components.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::busybox;
use crate::cluster::{Cluster, until};
use crate::running::installed;

const APPLETS: [&str; 8] = ["sh", "timeout", "wget", "nslookup", "httpd", "sleep", "hostname", "cat"];

/// What BusyBox, where it is linked with glibc, looks names up with.
const LIBRARIES: [&str; 5] =
    ["libc.so.6", "libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2", "ld-linux-x86-64.so.2"];
const FOLDERS: [&str; 3] = ["lib/x86_64-linux-gnu", "lib64", "lib/aarch64-linux-gnu"];

/// Two servers behind a Service, a member of a headless one, a component, and a client that is not among them.
const OBJECTS: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: box
        image: localhost/tools/busybox:1
        command: [sh, -c, "hostname > /www/index.html; exec httpd -f -p 8080 -h /www"]
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {tcpSocket: {port: http}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: v1
kind: Service
metadata: {name: set}
spec:
  clusterIP: None
  selector: {app: member}
  ports: [{name: http, port: 8080}]
---
apiVersion: v1
kind: Pod
metadata: {name: member, labels: {app: member}}
spec:
  hostname: first
  subdomain: set
  setHostnameAsFQDN: true
  terminationGracePeriodSeconds: 0
  containers:
  - name: box
    image: localhost/tools/busybox:1
    command: [sh, -c, "hostname > /www/index.html; exec httpd -f -p 8080 -h /www"]
    ports: [{containerPort: 8080, hostPort: 18080, hostIP: 127.0.0.7}]
---
apiVersion: v1
kind: Pod
metadata: {name: component, labels: {app: component}}
spec:
  containers:
  - {name: hello, image: demo/hello:v1, ports: [{containerPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: mixed, labels: {app: mixed}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: hello
    image: demo/hello:v1
    ports: [{containerPort: 8080}]
    readinessProbe: {httpGet: {port: 8080}, periodSeconds: 1}
  - name: box
    image: localhost/tools/busybox:1
    command: [sh, -c, "echo a neighbour > /www/index.html; exec httpd -f -p 8081 -h /www"]
---
apiVersion: v1
kind: Service
metadata: {name: mixed}
spec:
  selector: {app: mixed}
  ports: [{port: 80, targetPort: 8080}]
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
metadata: {name: client}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: box, image: localhost/tools/busybox:1, command: [sleep, "100000"]}
"#;

/// A root with these and what they look names up with.
pub(crate) fn fill(root: &Path) {
    busybox::fill(root, &APPLETS);
    for (folder, library) in FOLDERS.iter().flat_map(|folder| LIBRARIES.map(|library| (folder, library))) {
        let from = Path::new("/").join(folder).join(library);
        if from.exists() {
            fs::create_dir_all(root.join(folder)).expect("a folder");
            fs::copy(from, root.join(folder).join(library)).expect("a library is copied");
        }
    }
}

/// A cluster with all of it ready, or nothing where something is missing.
fn with_services(test: &str) -> Option<Cluster> {
    if !installed("busybox") {
        return None;
    }
    if let Err(why) = xebec_container::check(&std::env::temp_dir()) {
        println!("skipped: {test}: {why}");
        return None;
    }
    if let Err(why) = xebec_datapath::probe() {
        println!("skipped: {test}: {why}");
        return None;
    }
    let cluster = Cluster::start()?;
    let root = tempfile::tempdir().expect("a temporary directory");
    fill(root.path());
    busybox::build(&cluster, root.path());
    cluster.apply(OBJECTS);
    cluster.kubectl("rollout status deployment/web --timeout=120s");
    cluster.kubectl("wait --for=condition=Ready pod --all --timeout=120s");
    Some(cluster)
}

/// What the client gets to see of a page, once it sees what is expected of it.
fn sees(cluster: &Cluster, url: &str, expected: impl Fn(&str) -> bool) -> String {
    until(&format!("{url} to be as expected"), || {
        let seen = cluster.run(&format!("exec client -- wget -q -O - http://{url}"), "");
        let text = String::from_utf8_lossy(&seen.stdout).trim().to_owned();
        (seen.status.success() && expected(&text)).then_some(text)
    })
}

#[test]
fn one_pod_reaches_anothers_service_by_name() {
    let Some(mut cluster) = with_services("one_pod_reaches_anothers_service_by_name") else { return };
    let names: Vec<String> =
        cluster.pods("web").iter().map(|pod| crate::cluster::name(pod).to_owned()).collect();
    // By every name, and all who answer for it in turn.
    for url in ["web", "web.default", "web.default.svc.cluster.local"] {
        for name in &names {
            sees(&cluster, url, |text| text == name);
        }
    }
    let address = cluster.get("service web")["spec"]["clusterIP"].as_str().expect("an address").to_owned();
    sees(&cluster, &address, |text| names.iter().any(|name| name == text));
    let told = cluster.kubectl("exec client -- nslookup web.default.svc.cluster.local");
    assert!(told.contains(&address), "{told}");
    let told = cluster.kubectl(&format!("exec client -- nslookup {address}"));
    assert!(told.contains("web.default.svc.cluster.local"), "{told}");
    let missing = cluster.run("exec client -- nslookup none.default.svc.cluster.local", "");
    assert!(String::from_utf8_lossy(&missing.stdout).contains("NXDOMAIN"), "{missing:?}");
    // The member of a headless service is found by its own name, which is its host name too.
    let full = "first.set.default.svc.cluster.local";
    sees(&cluster, &format!("{full}:8080"), |text| text == full);
    assert!(cluster.kubectl("exec member -- cat /etc/hosts").contains(&format!("{full}\tfirst")));
    // Components answer under services' addresses, and reach services by name.
    sees(&cluster, "component", |text| text.contains("hello from wasm"));
    sees(&cluster, "component/fetch?authority=web", |text| names.iter().any(|name| text.contains(name)));
    // In one pod, a component and a container are neighbours.
    let seen = cluster.kubectl("exec mixed -c box -- wget -q -O - http://localhost:8080");
    assert!(seen.contains("hello from wasm"), "{seen}");
    sees(&cluster, "mixed", |text| text.contains("hello from wasm"));
    for neighbour in ["localhost:8081", "127.0.0.1:8081"] {
        sees(&cluster, &format!("mixed/fetch?authority={neighbour}"), |text| text.contains("a neighbour"));
    }
    // The machine has ports of theirs.
    let port = cluster.get("service web")["spec"]["ports"][0]["nodePort"].as_u64().expect("a port");
    let node = cluster.get("nodes")["items"][0]["status"]["addresses"][0]["address"].clone();
    let node = format!("{}:{port}", node.as_str().expect("an address"));
    sees(&cluster, &node, |text| names.iter().any(|name| name == text));
    for place in [node, format!("127.0.0.1:{port}"), "127.0.0.7:18080".to_owned()] {
        let page =
            Command::new("busybox").args(["wget", "-q", "-O", "-", &format!("http://{place}/")]).output();
        let page = page.expect("BusyBox runs");
        assert!(page.status.success(), "{place}: {}", String::from_utf8_lossy(&page.stderr));
    }
    // What cluster DNS is found by comes back when it is taken away.
    cluster.kubectl("delete service kube-dns -n kube-system");
    sees(&cluster, "web", |text| names.iter().any(|name| name == text));
    // An endpoint that goes is left, and what is left when all have gone says so at once.
    cluster.kubectl("scale deployment web --replicas=1");
    until("one server to be left", || (cluster.pods("web").len() == 1).then_some(()));
    let left = crate::cluster::name(&cluster.pods("web")[0]).to_owned();
    for _ in 0..10 {
        sees(&cluster, "web", |text| text == left);
    }
    // Killed, the program takes up what it left.
    cluster.restart_after("KILL");
    sees(&cluster, "web", |text| text == left);
    cluster.kubectl("scale deployment web --replicas=0");
    until("nobody to answer", || {
        let refused = cluster.run("exec client -- wget -q -O - http://web", "");
        String::from_utf8_lossy(&refused.stderr).contains("refused").then_some(())
    });
    let table = cluster.data().join("berth");
    let table = format!("xebec{}", fs::read_to_string(table).expect("the place is noted").trim());
    assert_eq!(cluster.terminate(), Some(0));
    if installed("nft") {
        let tables = Command::new("nft").args(["list", "tables"]).output().expect("nft runs");
        let tables = String::from_utf8_lossy(&tables.stdout).into_owned();
        assert!(!tables.lines().any(|line| line == format!("table ip {table}")), "{tables}");
    }
}

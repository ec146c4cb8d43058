//! Streams between kubectl and pods: exec, attach, cp, port-forward and proxy. The pod is BusyBox in a container.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::busybox;
use crate::cluster::{Cluster, until};
use crate::running::installed;

const APPLETS: [&str; 9] = ["sh", "cat", "echo", "httpd", "id", "sleep", "stty", "tar", "tty"];

/// A pod that serves its `/www` on port 8080 of its loopback interface, and says so.
const BOX: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: box}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: box
    image: localhost/tools/busybox:1
    command: [sh, -c, "echo begun; httpd -f -p 127.0.0.1:8080 -h /www & while sleep 0.2; do echo tick; done"]
"#;

/// kubectl, ended with the value.
pub(super) struct Background(pub(super) Child);

impl Drop for Background {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}

/// A cluster with the pod, or nothing where a tool or the privilege for containers is missing.
fn with_box() -> Option<Cluster> {
    if !installed("busybox") {
        return None;
    }
    let cluster = Cluster::start()?;
    let root = tempfile::tempdir().expect("a temporary directory");
    fill(root.path());
    busybox::build(&cluster, root.path());
    cluster.apply(BOX);
    let phase = until("the pod to run, or to be refused", || {
        let pod = cluster.get("pod box");
        let state = pod["status"]["containerStatuses"][0]["state"].clone();
        (state["running"].is_object()
            || state["waiting"]["message"].as_str().is_some_and(|why| why.contains("privilege")))
        .then_some(state)
    });
    if phase["running"].is_null() {
        println!("skipped: no privilege for containers here");
        return None;
    }
    Some(cluster)
}

fn fill(root: &Path) {
    busybox::fill(root, &APPLETS);
    fs::write(root.join("www/page"), "served from within\n").expect("a file is written");
}

#[test]
fn a_command_has_its_input_its_two_outputs_and_its_code() {
    let Some(cluster) = with_box() else { return };
    let output = cluster.command("exec box -- sh -c").arg("echo out; echo err >&2; exit 7").output().unwrap();
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "out\n");
    let complaints = String::from_utf8(output.stderr).unwrap();
    assert_eq!(complaints, "err\ncommand terminated with exit code 7\n");
    // More than every buffer on the way holds, through the command and back.
    let long = "0123456789abcdef".repeat(1 << 16);
    let echoed = cluster.run("exec -i box -- cat", &long);
    assert!(echoed.status.success(), "{}", String::from_utf8_lossy(&echoed.stderr));
    assert!(echoed.stdout == long.as_bytes(), "{} bytes came back of {}", echoed.stdout.len(), long.len());
}

#[test]
fn what_cannot_be_run_says_why() {
    let Some(cluster) = with_box() else { return };
    let refused = cluster.refused("exec box -- nosuch", "");
    assert!(refused.contains("nosuch"), "{refused}");
    let refused = cluster.refused("exec box -c other -- id", "");
    assert!(refused.contains("container other is not valid for pod box"), "{refused}");
    let refused = cluster.refused("exec nosuch -- id", "");
    assert!(refused.contains("pods \"nosuch\" not found"), "{refused}");
}

#[test]
fn a_terminal_has_the_size_of_the_users() {
    let Some(cluster) = with_box() else { return };
    if !installed("script") {
        return;
    }
    let kubectl = cluster.command("exec -it box -- sh -c 'tty;sleep 0.3;stty size'");
    let line: Vec<_> = kubectl.get_args().map(|arg| arg.to_str().unwrap()).collect();
    let line = format!("stty rows 33 cols 99; kubectl {}", line.join(" "));
    let output =
        Command::new("script").args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()).output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    assert!(shown.contains("/dev/pts/"), "{shown}");
    assert!(shown.contains("33 99"), "{shown}");
}

#[test]
fn files_go_in_and_come_out() {
    let Some(cluster) = with_box() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (there, back) = (folder.path().join("there"), folder.path().join("back"));
    fs::write(&there, vec![7; 300_000]).unwrap();
    cluster.kubectl(&format!("cp {} box:/tmp/file", there.display()));
    cluster.kubectl(&format!("cp box:/tmp/file {}", back.display()));
    assert!(fs::read(there).unwrap() == fs::read(back).unwrap());
}

#[test]
fn a_forwarded_port_reaches_what_listens_within_the_pod_alone() {
    let Some(cluster) = with_box() else { return };
    let mut child = cluster.command("port-forward pod/box :8080 :81");
    let mut child = Background(child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    let mut local = |remote: &str| loop {
        let line = lines.next().expect("kubectl goes on").unwrap();
        if line.ends_with(remote) && line.contains("127.0.0.1:") {
            let port = line.split("127.0.0.1:").nth(1).unwrap().split(' ').next().unwrap();
            return port.to_owned();
        }
    };
    let (open, closed) = (local("-> 8080"), local("-> 81"));
    for _ in 0..3 {
        assert!(fetch(&open, "/page").ends_with("served from within\n"));
    }
    assert_eq!(fetch(&closed, "/"), "", "nothing listens at port 81");
    // kubectl ends all of them with the first that is refused, and says why.
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.0.stderr.take().unwrap(), &mut said).unwrap();
    assert!(said.contains("refused") && said.contains("lost connection to pod"), "{said}");
}

/// The whole answer; nothing where the connection is closed without one.
fn fetch(port: &str, path: &str) -> String {
    let mut stream = std::net::TcpStream::connect(format!("127.0.0.1:{port}")).expect("kubectl listens");
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").expect("kubectl takes a request");
    let mut answer = Vec::new();
    // A reset is an end, too.
    let _read = std::io::Read::read_to_end(&mut stream, &mut answer);
    String::from_utf8(answer).expect("an answer is text")
}

#[test]
fn who_attaches_sees_what_the_container_writes_from_then_on() {
    let Some(cluster) = with_box() else { return };
    let mut child = Background(cluster.command("attach box").stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "tick", "what was written before is not shown");
    assert_eq!(lines.next().unwrap().unwrap(), "tick");
}

#[test]
fn the_api_passes_requests_on_to_pods_and_services() {
    let Some(cluster) = Cluster::start() else { return };
    cluster.apply(super::HELLO);
    cluster.rolled_out("hello");
    let pods = cluster.ready_pods("hello", 2);
    let name = crate::cluster::name(&pods[0]);
    let pod = format!("get --raw /api/v1/namespaces/default/pods/{name}:8080/proxy/");
    assert!(cluster.kubectl(&pod).contains("first"));
    let service = "get --raw /api/v1/namespaces/default/services/hello/proxy/";
    let answer = until("an endpoint of the service", || {
        let output = cluster.run(service, "");
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    });
    assert!(answer.contains("first"), "{answer}");
    let refused = cluster.refused("get --raw /api/v1/namespaces/default/services/hello:99/proxy/", "");
    assert!(refused.contains("no endpoints available"), "{refused}");
}

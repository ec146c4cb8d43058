//! The main process of a container as who attaches to it sees it: `kubectl attach` and `kubectl run -i`.

use std::io::{BufRead as _, BufReader, Lines, Read as _, Write as _};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use super::streams::Background;
use crate::busybox;
use crate::cluster::{Cluster, until};
use crate::running::installed;

/// Two pods that answer each line, with and without a terminal.
const READERS: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: reader}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: main, image: "localhost/tools/busybox:1", stdin: true, command: [sh, -c, "while read line; do echo heard $line; done; sleep 1h"]}
---
apiVersion: v1
kind: Pod
metadata: {name: terminal}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: main, image: "localhost/tools/busybox:1", stdin: true, tty: true, command: [sh, -c, "while read line; do echo heard $line; done; sleep 1h"]}
"#;

/// A cluster with BusyBox and the privilege for containers, or nothing where a tool or the privilege is missing.
fn with_box() -> Option<Cluster> {
    if !installed("busybox") {
        return None;
    }
    if let Err(why) = xebec_container::check(&std::env::temp_dir()) {
        println!("skipped: {why}");
        return None;
    }
    let cluster = Cluster::start()?;
    let root = tempfile::tempdir().expect("a temporary directory");
    busybox::fill(root.path(), &["sh", "cat", "echo", "sleep", "stty"]);
    busybox::build(&cluster, root.path());
    Some(cluster)
}

/// Somebody who is attached.
struct Attached {
    _kubectl: Background,
    typing: ChildStdin,
    heard: Lines<BufReader<ChildStdout>>,
}

impl Attached {
    fn to(cluster: &Cluster, pod: &str) -> Self {
        let mut command = cluster.command(&format!("attach -i {pod}"));
        let mut kubectl =
            Background(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("kubectl starts"));
        let typing = kubectl.0.stdin.take().expect("stdin");
        let heard = BufReader::new(kubectl.0.stdout.take().expect("stdout")).lines();
        Self { _kubectl: kubectl, typing, heard }
    }

    fn says(&mut self, word: &str) {
        writeln!(self.typing, "{word}").expect("kubectl takes what is typed");
    }

    fn hears(&mut self, word: &str) {
        let answer = format!("heard {word}");
        let found =
            self.heard.by_ref().map(|line| line.expect("text")).find(|line| line.trim_end() == answer);
        assert!(found.is_some(), "kubectl ended before it heard {word}");
    }
}

#[test]
fn who_attaches_types_and_hears_over_departures_and_restarts() {
    let Some(mut cluster) = with_box() else { return };
    cluster.apply(READERS);
    for pod in ["reader", "terminal"] {
        cluster.kubectl(&format!("wait pod/{pod} --for=condition=Ready --timeout=120s"));
        let mut first = Attached::to(&cluster, pod);
        first.says("one");
        first.hears("one");
        let mut second = Attached::to(&cluster, pod);
        second.says("two");
        second.hears("two");
        first.hears("two");
    }
    // The containers' monitors live on, and so do the containers.
    let before = cluster.get("pod reader")["status"]["containerStatuses"][0]["containerID"].clone();
    cluster.restart_after("KILL");
    for pod in ["reader", "terminal"] {
        let mut third = Attached::to(&cluster, pod);
        third.says("three");
        third.hears("three");
        let log = cluster.kubectl(&format!("logs {pod}"));
        let heard: Vec<_> = log.lines().map(str::trim_end).filter(|line| line.starts_with("heard")).collect();
        assert_eq!(heard, ["heard one", "heard two", "heard three"], "{log}");
    }
    let status = &cluster.get("pod reader")["status"]["containerStatuses"][0];
    assert_eq!((&status["containerID"], &status["restartCount"]), (&before, &0.into()));
}

#[test]
fn what_is_piped_into_a_new_pod_comes_out_of_it_whole() {
    let Some(cluster) = with_box() else { return };
    let line = "run -i --rm --restart=Never --quiet --image=localhost/tools/busybox:1 pipe -- cat";
    let long = "0123456789abcde\n".repeat(1 << 16);
    let output = cluster.run(line, &long);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout == long.as_bytes(), "{} bytes came back of {}", output.stdout.len(), long.len());
    let gone = cluster.refused("get pod pipe", "");
    assert!(gone.contains("not found"), "{gone}");
    // The end of the input is the process' own, and its code is kubectl's.
    let line = "run -i --rm --restart=Never --image=localhost/tools/busybox:1 code --command -- sh -c";
    let mut command = cluster.command(line);
    let mut kubectl = command.arg("cat; exit 7").stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    assert_eq!(kubectl.wait().unwrap().code(), Some(7));
}

#[test]
fn a_new_pod_on_a_terminal_has_the_users_size() {
    let Some(cluster) = with_box() else { return };
    if !installed("script") {
        return;
    }
    // It asks until somebody answers, so that nothing is typed before anybody listens.
    let asking = "while ! read -t 1 word; do echo asking; done; stty size; echo got $word";
    let kubectl = cluster
        .command("run -it --rm --restart=Never --image=localhost/tools/busybox:1 tty --command -- sh -c");
    let line: Vec<_> = kubectl.get_args().map(|arg| arg.to_str().unwrap()).collect();
    let line = format!("stty rows 33 cols 99; kubectl {} '{asking}'", line.join(" "));
    let mut script = Command::new("script");
    script.args(["-qec", &line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut script = Background(script.spawn().unwrap());
    let (mut typing, mut shown) = (script.0.stdin.take().unwrap(), script.0.stdout.take().unwrap());
    let (mut said, mut buffer) = (String::new(), [0; 4096]);
    let mut has_answered = false;
    loop {
        let read = shown.read(&mut buffer).unwrap();
        if read == 0 {
            break;
        }
        said.push_str(&String::from_utf8_lossy(&buffer[..read]));
        if said.contains("asking") && !has_answered {
            typing.write_all(b"nothing\r").unwrap();
            has_answered = true;
        }
    }
    assert!(said.contains("33 99"), "{said}");
    assert!(said.contains("got nothing"), "{said}");
}

#[test]
fn a_pod_that_is_to_read_one_input_ends_with_it() {
    let Some(cluster) = with_box() else { return };
    let once = "{name: main, image: \"localhost/tools/busybox:1\", stdin: true, stdinOnce: true, command: [sh, -c, \"cat; echo done\"]}";
    cluster.apply(&format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: once}}\nspec:\n  restartPolicy: Never\n  containers: [{once}]\n"
    ));
    cluster.kubectl("wait pod/once --for=condition=Ready --timeout=120s");
    let output = cluster.run("attach -i once", "all of it\n");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said, "all of it\ndone\n");
    until("the pod's end", || (cluster.get("pod once")["status"]["phase"] == "Succeeded").then_some(()));
    assert_eq!(cluster.kubectl("logs once"), "all of it\ndone\n");
}

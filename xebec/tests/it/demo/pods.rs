//! The demo's pods: scaled, rolled out and back, killed, deleted, read, while the gateway goes on answering.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;

#[test]
fn scaling_a_rollout_and_a_rollback_show_in_answers_and_fail_no_request() {
    let Some(cluster) = Cluster::demo() else { return };
    weigh(&cluster, 1, 0);
    let curl = Curl::of(&cluster);
    until("answers of v1 alone", || (curl.answers(20).len() == 1).then_some(()));
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut answered = 0;
            while !over.load(Ordering::Relaxed) {
                answered += curl.answers(50).values().sum::<usize>();
            }
            answered
        });
        let driven = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drive(&cluster, &curl)));
        over.store(true, Ordering::Relaxed);
        let answered = asking.join().expect("no request fails");
        assert!(answered > 0);
        driven.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

fn drive(cluster: &Cluster, curl: &Curl) {
    for replicas in [4, 1, 2] {
        cluster.kubectl(&format!("scale deployment hello-v1 --replicas={replicas}"));
        cluster.rolled_out("hello-v1");
        ready(cluster, "v1", replicas);
    }
    let greeted = |greeting: &str| {
        cluster.rolled_out("hello-v1");
        until(&format!("{greeting:?} alone"), || {
            let answers = curl.answers(20);
            (answers.len() == 1 && answers.keys().all(|answer| answer.starts_with(greeting))).then_some(())
        });
    };
    cluster.kubectl("set env deployment/hello-v1 GREETING=good-day");
    greeted("good-day v1");
    cluster.kubectl("rollout undo deployment/hello-v1");
    greeted("hello from v1");
    let history = cluster.kubectl("rollout history deployment/hello-v1");
    assert!(history.lines().any(|line| line.starts_with('3')), "{history}");
}

#[test]
fn deleted_pods_are_replaced_and_answer() {
    let Some(cluster) = Cluster::demo() else { return };
    for version in ["v1", "v2"] {
        let before = ready(&cluster, version, 2);
        let lost = name(&before[0]);
        cluster.kubectl(&format!("delete pod {lost} --grace-period=0 --force --timeout=60s"));
        let after = until("another pod in its place", || {
            let pods = ready(&cluster, version, 2);
            pods.iter().all(|pod| name(pod) != lost).then_some(pods)
        });
        assert!(after.iter().any(|pod| name(pod) == name(&before[1])), "the other pod was left alone");
    }
    let curl = Curl::of(&cluster);
    until("both versions' answers", || {
        let answers = curl.answers(40);
        (answers.len() == 2).then_some(())
    });
}

#[test]
fn a_killed_container_is_started_again_in_its_pod() {
    let Some(cluster) = Cluster::demo() else { return };
    if !runs_containers(&cluster) {
        return;
    }
    let before = ready(&cluster, "v2", 2);
    let uid = before[0]["metadata"]["uid"].as_str().unwrap();
    let killed = processes_of(uid);
    assert_eq!(killed.len(), 1, "one process in the container of {uid}");
    assert!(Command::new("kill").args(["-KILL", &killed[0]]).status().unwrap().success());
    let pod = until("a restart", || {
        let pod = cluster.get(&format!("pod {}", name(&before[0])));
        let status = &pod["status"]["containerStatuses"][0];
        (status["restartCount"] == 1 && status["ready"] == true).then_some(pod)
    });
    assert_eq!(pod["metadata"]["uid"], uid);
    assert_eq!(pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"], 137);
    assert_ne!(processes_of(uid), killed);
    let logs = cluster.kubectl(&format!("logs {}", name(&pod)));
    assert!(logs.contains("listening on port 8080"), "{logs}");
}

#[test]
fn requests_show_in_the_logs_of_both_versions_and_a_deletion_takes_the_pods() {
    let Some(cluster) = Cluster::demo() else { return };
    let curl = Curl::of(&cluster);
    // Version one knows only one path, and writes down what it was asked for all the same.
    let nowhere = Curl { url: format!("{}seen/by/both", curl.url) };
    for version in ["v1", "v2"] {
        until(&format!("a request in the log of {version}"), || {
            nowhere.run(&["--no-fail"]).expect("an answer");
            let logs = cluster.kubectl(&format!("logs --tail=1000 -l version={version}"));
            logs.lines().any(|line| line == "request /seen/by/both").then_some(())
        });
    }
    cluster.kubectl("delete deployment hello-v2 --timeout=60s");
    until("no pods of v2", || {
        cluster.get("pods,replicasets -l version=v2")["items"].as_array()?.is_empty().then_some(())
    });
    // A quarter of the requests has nowhere to go now.
    until("failures", || (0..20).any(|_| curl.run(&[]).is_err()).then_some(()));
    weigh(&cluster, 1, 0);
    until("answers of v1 alone", || (0..20).all(|_| curl.run(&[]).is_ok()).then_some(()));
}

/// Whether version two runs as a container; says that the test is skipped where it does not.
pub(crate) fn runs_containers(cluster: &Cluster) -> bool {
    let nodes = cluster.get("nodes");
    let conditions = nodes["items"][0]["status"]["conditions"].as_array().expect("conditions").clone();
    let runs = conditions
        .iter()
        .any(|condition| condition["type"] == "ContainersReady" && condition["status"] == "True");
    if !runs {
        println!("skipped: no privilege for containers");
    }
    runs
}

/// The processes in the control groups of a pod.
fn processes_of(uid: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").expect("/proc").filter_map(|entry| {
        let pid = entry.ok()?.file_name().into_string().ok()?;
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        groups.contains(uid).then_some(pid)
    });
    processes.collect()
}

//! Those who are attached to a container's first process.

use std::time::Duration;

use xebec_container::{
    AttachedOutput, Attachment, Container, ContainerSpec, Error, Network, Signal, Status, Stdin, Stream,
    Streams, TerminalSize,
};

use crate::house::house;

const ALL: Streams = Streams { stdin: true, stdout: true, stderr: true };
const STDOUT: Streams = Streams { stdin: false, stdout: true, stderr: false };
/// How long anything may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

async fn attach(container: &Container, streams: Streams) -> Attachment {
    container.attach(streams).await.unwrap()
}

/// What comes next of a stream.
async fn next(output: &mut AttachedOutput) -> Option<(Stream, String)> {
    let next = tokio::time::timeout(DEADLINE, output.next()).await.expect("something is said");
    next.unwrap().map(|(stream, said)| (stream, String::from_utf8(said).unwrap()))
}

/// All that is said until these words have come.
async fn until(output: &mut AttachedOutput, words: &str) -> String {
    let mut said = String::new();
    while !said.contains(words) {
        match next(output).await {
            Some((_, more)) => said.push_str(&more),
            None => panic!("it ended with {said:?} before it said {words:?}"),
        }
    }
    said
}

/// All that is said up to the end.
async fn rest(output: &mut AttachedOutput) -> String {
    let mut said = String::new();
    while let Some((_, more)) = next(output).await {
        said.push_str(&more);
    }
    said
}

#[tokio::test]
async fn all_who_are_attached_hear_and_may_type_and_leave_it_running() {
    let Some(house) = house("all_who_are_attached_hear_and_may_type_and_leave_it_running") else { return };
    let runtime = house.runtime();
    let spec = ContainerSpec { stdin: Stdin::Open, ..house.spec(&["repeat"]) };
    let container = house.started(&runtime, "repeat", &spec).await;
    let (mut first, mut second) = (attach(&container, ALL).await, attach(&container, STDOUT).await);
    first.input.write(b"one\n").await.unwrap();
    // What is written to stderr comes in pieces.
    let mut both = [String::new(), String::new()];
    while !both.iter().all(|said| said.ends_with('\n')) {
        let (stream, more) = next(&mut first.output).await.expect("more of it");
        both[usize::from(stream == Stream::Stderr)].push_str(&more);
    }
    assert_eq!(both, ["out one\n", "err one\n"]);
    assert_eq!(next(&mut second.output).await.unwrap().1, "out one\n");
    drop(first);

    // A process that was killed has closed its sockets; the next one finds the container again.
    drop((container, runtime));
    let runtime = house.runtime();
    let container = runtime.recover().await.unwrap().pop().unwrap();
    let mut third = attach(&container, ALL).await;
    third.input.write(b"two\n").await.unwrap();
    assert!(until(&mut third.output, "err two\n").await.contains("err two"));
    assert_eq!(next(&mut second.output).await.unwrap().1, "out two\n");
    // Whoever types no more leaves.
    third.input.write(b"three\n").await.unwrap();
    third.input.end().await.unwrap();
    rest(&mut third.output).await;
    assert_eq!(next(&mut second.output).await.unwrap().1, "out three\n");
    assert_eq!(container.status().await.unwrap(), Status::Running);
    container.kill(Signal::KILL).unwrap();
    assert_eq!(next(&mut second.output).await, None);
    container.wait().await.unwrap();
    let mut log = house.log();
    log.sort();
    let said = |word: &str| [format!("stderr F err {word}"), format!("stdout F out {word}")];
    let mut expected = ["one", "two", "three"].map(said).concat();
    expected.sort();
    assert_eq!(log, expected);
    let ended = container.attach(ALL).await;
    assert!(matches!(ended, Err(Error::State { .. })), "{ended:?}");
    container.delete().await.unwrap();
}

#[tokio::test]
async fn the_first_who_leaves_ends_the_input_where_that_is_asked_for() {
    let Some(house) = house("the_first_who_leaves_ends_the_input_where_that_is_asked_for") else { return };
    let runtime = house.runtime();
    for ends_itself in [true, false] {
        let spec = ContainerSpec { stdin: Stdin::Once, ..house.spec(&["talk"]) };
        let container = house.started(&runtime, "talk", &spec).await;
        // Who only watches ends nothing.
        drop(attach(&container, STDOUT).await);
        let mut watcher = attach(&container, STDOUT).await;
        let mut typist = attach(&container, ALL).await;
        typist.input.write(b"hello\n").await.unwrap();
        until(&mut watcher.output, "you said hello\n").await;
        if ends_itself {
            typist.input.end().await.unwrap();
            // It stays to hear the rest.
            assert!(rest(&mut typist.output).await.ends_with("the end\n"));
        } else {
            drop(typist);
        }
        assert_eq!(rest(&mut watcher.output).await, "the end\n");
        assert_eq!(container.wait().await.unwrap().code, 0);
        container.delete().await.unwrap();
    }
}

#[tokio::test]
async fn a_terminal_is_all_that_it_reads_and_writes_and_keeps_its_size() {
    let Some(house) = house("a_terminal_is_all_that_it_reads_and_writes_and_keeps_its_size") else { return };
    let runtime = house.runtime();
    let pod = "pod".parse().unwrap();
    let network = house.folder.path().join("net");
    let own = runtime.user_namespace(&pod, Some(network.clone())).await.ok();
    for (user_namespace, user) in [(None, ""), (None, "app"), (own.clone(), ""), (own.clone(), "app")] {
        let network =
            user_namespace.as_ref().map_or(Network::Isolated, |_| Network::Namespace(network.clone()));
        let _ = std::fs::remove_dir_all(house.folder.path().join("logs"));
        let spec = ContainerSpec {
            stdin: Stdin::Once,
            terminal: true,
            user: user.to_owned(),
            user_namespace,
            network,
            ..house.spec(&["talk"])
        };
        let container = house.started(&runtime, "talk", &spec).await;
        let mut first = attach(&container, ALL).await;
        first.input.resize(TerminalSize { rows: 33, columns: 99 }).await.unwrap();
        first.input.write(b"size\n").await.unwrap();
        until(&mut first.output, "33 rows of 99\r\n").await;
        // Nobody who leaves ends a terminal.
        first.input.end().await.unwrap();
        rest(&mut first.output).await;
        let mut second = attach(&container, ALL).await;
        second.input.write(b"size\nhello\nbye\n").await.unwrap();
        let said = rest(&mut second.output).await;
        for expected in ["hello\r\n", "33 rows of 99\r\n", "you said hello\r\n"] {
            assert!(said.contains(expected), "{expected:?} is not in {said:?}");
        }
        assert_eq!(container.wait().await.unwrap().code, 5, "{user:?}");
        let log = house.log();
        assert!(log.contains(&"stdout F terminal true".to_owned()), "{log:?}");
        assert!(log.contains(&"stdout F you said hello".to_owned()), "{log:?}");
        container.delete().await.unwrap();
    }
    runtime.remove_user_namespace(&pod).await.unwrap();
    let _ = rustix::mount::unmount(&network, rustix::mount::UnmountFlags::DETACH);
}

#[tokio::test]
async fn one_who_is_slow_misses_nothing() {
    let Some(house) = house("one_who_is_slow_misses_nothing") else { return };
    let runtime = house.runtime();
    let spec = ContainerSpec { stdin: Stdin::Once, ..house.spec(&["cat"]) };
    let container = house.started(&runtime, "cat", &spec).await;
    let Attachment { mut input, mut output } = attach(&container, ALL).await;
    // More than every buffer on the way holds.
    let long: Vec<u8> =
        (0..8_u32 << 20).map(|number| if number % 64 == 63 { b'\n' } else { number as u8 }).collect();
    let sent = long.clone();
    let typing = tokio::spawn(async move {
        input.write(&sent).await.unwrap();
        input.end().await.unwrap();
        input
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!typing.is_finished(), "it was taken in though nobody heard it");
    let mut heard = Vec::new();
    while let Some((_, said)) = tokio::time::timeout(DEADLINE, output.next()).await.unwrap().unwrap() {
        heard.extend(said);
    }
    assert!(heard == long, "{} bytes of {}", heard.len(), long.len());
    drop(typing.await.unwrap());
    assert_eq!(container.wait().await.unwrap().code, 0);
    container.delete().await.unwrap();
}

#[tokio::test]
async fn a_process_without_input_is_watched_and_only_so_many_may() {
    let Some(house) = house("a_process_without_input_is_watched_and_only_so_many_may") else { return };
    let runtime = house.runtime();
    let container = house.started(&runtime, "count", &house.spec(&["count"])).await;
    let mut deaf = attach(&container, ALL).await;
    deaf.input.write(b"nobody reads this\n").await.unwrap();
    deaf.input.end().await.unwrap();
    until(&mut deaf.output, "\n").await;
    until(&mut deaf.output, "\n").await;
    let mut others = Vec::new();
    let refused = loop {
        match container.attach(STDOUT).await {
            Ok(other) => others.push(other),
            Err(refused) => break refused.to_string(),
        }
        assert!(others.len() < 1000, "there is no limit");
    };
    assert!(refused.contains("let go of others"), "{refused}");
    drop(others.pop());
    // That one has left is seen a moment later.
    let again = async {
        while container.attach(STDOUT).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, again).await.expect("there is a place again");
    container.delete().await.unwrap();
}

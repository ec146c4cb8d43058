//! Components that run to their end.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use xebec_wasm::{Error, Exit, Stream, WorkloadOptions};

use crate::{COMMAND, HELLO, Output, compiled, eventually, host};

fn options(args: &[&str], output: &Output) -> WorkloadOptions {
    WorkloadOptions {
        args: args.iter().map(|&arg| arg.to_owned()).collect(),
        env: vec![("NAME".into(), "value".into())],
        time_limit: None,
        output: output.sink(),
        ..WorkloadOptions::default()
    }
}

async fn run(args: &[&str], output: &Output) -> Result<Exit, Error> {
    host().run_command(&compiled(COMMAND), options(args, output), CancellationToken::new()).await
}

#[tokio::test]
async fn a_command_has_its_arguments_and_environment_and_gives_its_code() {
    let output = Output::default();
    // The stable exit of WASI 0.2 tells success from failure and no more.
    assert_eq!(run(&["program", "7"], &output).await.unwrap(), Exit::Code(1));
    assert_eq!(output.lines(Stream::Stdout), ["argument program", "argument 7", "variable NAME=value"]);
    assert_eq!(output.lines(Stream::Stderr), ["printed to standard error"]);
    assert_eq!(run(&[], &output).await.unwrap(), Exit::Code(0));
}

#[tokio::test]
async fn a_command_that_traps_is_told_from_one_that_fails() {
    let output = Output::default();
    let error = run(&["panic"], &output).await.unwrap_err();
    assert!(matches!(&error, Error::Trap { reason, .. } if reason.contains("unreachable")), "{error}");
    assert!(output.says("asked to panic") && output.says("xebec: "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_is_cancelled_whether_it_waits_or_computes() {
    for what in ["sleep", "spin"] {
        let output = Output::default();
        let cancel = CancellationToken::new();
        let running = tokio::spawn({
            let (options, cancel) = (options(&[what], &output), cancel.clone());
            async move { host().run_command(&compiled(COMMAND), options, cancel).await }
        });
        eventually("the command runs", || output.says("standard error")).await;
        cancel.cancel();
        let exit = tokio::time::timeout(Duration::from_secs(5), running).await.unwrap().unwrap().unwrap();
        assert_eq!(exit, Exit::Cancelled, "{what}");
    }
}

#[tokio::test]
async fn a_command_ends_with_its_time() {
    for what in ["sleep", "spin"] {
        let output = Output::default();
        let options =
            WorkloadOptions { time_limit: Some(Duration::from_millis(200)), ..options(&[what], &output) };
        let start = Instant::now();
        let exit = host().run_command(&compiled(COMMAND), options, CancellationToken::new()).await.unwrap();
        assert_eq!(exit, Exit::TimeIsOver, "{what}");
        assert!(start.elapsed() >= Duration::from_millis(200));
    }
}

#[tokio::test]
async fn a_service_is_not_run_as_a_command() {
    let output = Output::default();
    let options = options(&[], &output);
    let error = host().run_command(&compiled(HELLO), options, CancellationToken::new()).await.unwrap_err();
    assert!(matches!(error, Error::WrongKind { .. }), "{error}");
}

//! The corpora of clients: commands whose transcripts were recorded from upstream's own API server, run against ours.
//!
//! `conformance/SUITE/cases/NAME` holds commands, each behind `$ ` with what belongs to it on the lines below;
//! `recorded/VERSION/NAME` what each printed, two spaces in, for that version of the client.

mod transcript;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;

use transcript::Case;

use crate::running::{Running, on_free_ports};

/// How many files run at a time. They wait more than they work.
const WORKERS: usize = 4;
/// How long one command may take before `timeout` ends it.
const PATIENCE: &str = "60";

/// One client in one version, and its cases.
struct Suite {
    /// `conformance/kubectl`, say.
    folder: PathBuf,
    /// What counts are printed as: `kubectl-1.37`.
    name: String,
    version: String,
    /// The programs, by name, that its cases run.
    programs: Vec<(String, PathBuf)>,
}

impl Suite {
    /// The suite that `XEBEC_SUITE` names by client and version, with the programs of `XEBEC_CLIENTS`, `NAME=PATH` each.
    fn asked() -> Self {
        let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is set"));
        let name = variable("XEBEC_SUITE");
        let (client, version) = name.split_once('-').expect("a client and its version");
        let programs = variable("XEBEC_CLIENTS");
        let programs = programs.split(',').map(|program| {
            let (name, path) = program.split_once('=').expect("a program is NAME=PATH");
            (name.to_owned(), PathBuf::from(path))
        });
        Self {
            folder: Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance").join(client),
            version: version.to_owned(),
            programs: programs.collect(),
            name,
        }
    }
}

/// A shell with the suite's programs, talking to one server, in a namespace of the file's own.
struct Shell {
    folder: tempfile::TempDir,
    suite: PathBuf,
    path: String,
}

impl Shell {
    fn new(suite: &Suite, kubeconfig: &Path, namespace: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let bin = folder.path().join("bin");
        fs::create_dir(&bin).expect("a folder");
        for (name, path) in &suite.programs {
            std::os::unix::fs::symlink(path, bin.join(name)).expect("a link");
        }
        fs::create_dir(folder.path().join("work")).expect("a folder");
        fs::copy(kubeconfig, folder.path().join("kubeconfig")).expect("the kubeconfig is there");
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
        let shell = Self { folder, suite: suite.folder.canonicalize().expect("the suite is there"), path };
        for prepare in [
            format!("kubectl create namespace {namespace}"),
            format!("kubectl config set-context --current --namespace={namespace}"),
            // The controllers give a namespace its account a moment later.
            "for i in $(seq 100); do kubectl get serviceaccount default && break; sleep 0.1; done".to_owned(),
        ] {
            let told = shell.run(&prepare);
            assert!(!told.contains("[exit "), "{prepare}: {told}");
        }
        shell
    }

    /// What a command prints, with its exit status where that is not 0.
    fn run(&self, command: &str) -> String {
        let home = self.folder.path();
        let output = Command::new("timeout")
            .args(["-k", "5", PATIENCE, "bash", "-c", &format!("{{ {command}\n}} 2>&1")])
            .current_dir(home.join("work"))
            .env("PATH", &self.path)
            .env("HOME", home)
            .env("SUITE", &self.suite)
            .env("KUBECONFIG", home.join("kubeconfig"))
            .env("TZ", "UTC")
            .stdin(Stdio::null())
            .output()
            .expect("bash and timeout run");
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            text.push_str(&format!("[exit {}]\n", output.status.code().unwrap_or(-1)));
        }
        text
    }
}

/// `XEBEC_CORPUS` picks files by name. With `XEBEC_RECORD`, a kubeconfig, the transcripts are written from that server's
/// answers instead of compared.
#[test]
#[ignore = "conformance/kubectl/run and conformance/helm/run say which client"]
fn clients_print_what_they_print_of_upstreams_server() {
    let suite = Suite::asked();
    let only = std::env::var("XEBEC_CORPUS").unwrap_or_default();
    let record = std::env::var("XEBEC_RECORD").ok().map(PathBuf::from);
    let mut names: Vec<String> = fs::read_dir(suite.folder.join("cases"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| only.is_empty() || only.split(',').any(|part| part == name))
        .collect();
    names.sort();
    let queue = Mutex::new(names.into_iter());
    let (passed, of) = thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|_| {
                scope.spawn(|| {
                    let mut counts = (0, 0);
                    loop {
                        let next = queue.lock().expect("no worker panics with the queue").next();
                        let Some(name) = next else { return counts };
                        let (passed, of) = run_file(&suite, &name, record.as_deref());
                        counts = (counts.0 + passed, counts.1 + of);
                    }
                })
            })
            .collect();
        let counts = workers.into_iter().map(|worker| worker.join().expect("no worker panics"));
        counts.fold((0, 0), |sum, counts| (sum.0 + counts.0, sum.1 + counts.1))
    });
    println!("{}: {passed} of {of} passed", suite.name);
}

/// Runs the commands of one file: how many of them print what is recorded, and how many there are.
fn run_file(suite: &Suite, name: &str, record: Option<&Path>) -> (usize, usize) {
    let file = suite.folder.join("cases").join(name);
    let commands = transcript::commands(&fs::read_to_string(file).expect("the cases are there"));
    let place = suite.folder.join("recorded").join(&suite.version).join(name);
    if let Some(server) = record {
        let shell = Shell::new(suite, server, name);
        let cases: Vec<Case> = commands.into_iter().map(|command| told(&shell, command)).collect();
        fs::create_dir_all(place.parent().expect("a folder")).expect("the folder is made");
        fs::write(place, transcript::write(&cases)).expect("the transcript is written");
        shell.run(&format!("kubectl delete namespace {name} --wait=false"));
        return (0, 0);
    }
    let recorded = transcript::read(&fs::read_to_string(place).expect("the transcript is recorded"));
    let same = recorded.iter().map(|case| &case.command).eq(&commands);
    assert!(same, "{name}: the transcript is of other commands: record it again");
    let data = tempfile::tempdir().expect("a temporary folder");
    let mut up = on_free_ports(&["up", "--without", "node,gateway,registry"], data.path());
    up.env("RUST_LOG", "warn");
    let _server = Running::start_with(up, data.path());
    let shell = Shell::new(suite, &data.path().join("kubeconfig"), name);
    let (mut passed, of) = (0, recorded.len());
    for case in recorded {
        let ours = told(&shell, case.command.clone());
        if ours.output == case.output {
            passed += 1;
        } else {
            println!("{name}: $ {}\n--- upstream\n{}+++ xebec\n{}", case.command, case.output, ours.output);
        }
    }
    (passed, of)
}

fn told(shell: &Shell, command: String) -> Case {
    let output = transcript::settled(&shell.run(&command));
    Case { command, output }
}

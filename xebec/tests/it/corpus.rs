//! kubectl's corpus: commands whose transcripts were recorded from upstream's own API server, run against ours.
//!
//! `conformance/kubectl/cases/NAME` holds commands, each behind `$ ` with what belongs to it on the lines below;
//! `recorded/VERSION/NAME` what each printed, two spaces in, for that version of kubectl.

mod transcript;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use transcript::Case;

use crate::running::{Running, on_free_ports};

/// How long one command may take before `timeout` ends it.
const PATIENCE: &str = "60";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance/kubectl")
}

/// A shell in which `kubectl` is the one asked for, talking to one server, in a namespace of the file's own.
struct Shell {
    folder: tempfile::TempDir,
    path: String,
}

impl Shell {
    fn new(kubectl: &Path, kubeconfig: &Path, namespace: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bin = folder.path().join("bin");
        fs::create_dir(&bin).unwrap();
        std::os::unix::fs::symlink(kubectl, bin.join("kubectl")).unwrap();
        fs::create_dir(folder.path().join("work")).unwrap();
        fs::copy(kubeconfig, folder.path().join("kubeconfig")).unwrap();
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
        let shell = Self { folder, path };
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

/// `XEBEC_KUBECTL` is the client and `XEBEC_KUBECTL_VERSION` whose transcripts; `XEBEC_CORPUS` picks files by name. With
/// `XEBEC_RECORD`, a kubeconfig, the transcripts are written from that server's answers instead of compared.
#[test]
#[ignore = "conformance/kubectl/run says which kubectl"]
fn kubectl_prints_what_it_prints_of_upstreams_server() {
    let kubectl = PathBuf::from(std::env::var("XEBEC_KUBECTL").expect("XEBEC_KUBECTL names the client"));
    let version = std::env::var("XEBEC_KUBECTL_VERSION").expect("XEBEC_KUBECTL_VERSION is set");
    let only = std::env::var("XEBEC_CORPUS").unwrap_or_default();
    let record = std::env::var("XEBEC_RECORD").ok().map(PathBuf::from);
    let mut names: Vec<String> = fs::read_dir(folder().join("cases"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| only.is_empty() || only.split(',').any(|part| part == name))
        .collect();
    names.sort();
    let (mut passed, mut of) = (0, 0);
    for name in names {
        let commands = transcript::commands(&fs::read_to_string(folder().join("cases").join(&name)).unwrap());
        let place = folder().join("recorded").join(&version).join(&name);
        if let Some(server) = &record {
            let shell = Shell::new(&kubectl, server, &name);
            let cases: Vec<Case> = commands.into_iter().map(|command| told(&shell, command)).collect();
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::write(place, transcript::write(&cases)).unwrap();
            shell.run(&format!("kubectl delete namespace {name} --wait=false"));
            continue;
        }
        let recorded = transcript::read(&fs::read_to_string(place).expect("the transcript is recorded"));
        let same = recorded.iter().map(|case| &case.command).eq(&commands);
        assert!(same, "{name}: the transcript is of other commands: record it again");
        let data = tempfile::tempdir().unwrap();
        let mut up = on_free_ports(&["up", "--without", "node,gateway,registry"], data.path());
        up.env("RUST_LOG", "warn");
        let _server = Running::start_with(up, data.path());
        let shell = Shell::new(&kubectl, &data.path().join("kubeconfig"), &name);
        for case in recorded {
            let ours = told(&shell, case.command.clone());
            of += 1;
            if ours.output == case.output {
                passed += 1;
            } else {
                println!(
                    "{name}: $ {}\n--- upstream\n{}+++ xebec\n{}",
                    case.command, case.output, ours.output
                );
            }
        }
    }
    println!("kubectl-{version}: {passed} of {of} passed");
}

fn told(shell: &Shell, command: String) -> Case {
    let output = transcript::settled(&shell.run(&command));
    Case { command, output }
}

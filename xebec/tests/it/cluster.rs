//! An instance as a cluster: its kubectl, an image in its registry, and waits that end.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use xebec_oci::image::push_wasm;
use xebec_oci::{Limits, Store};

use crate::running::{Running, installed, on_free_ports, with_api};

/// How long anything may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(200);

/// A running instance whose registry holds `demo/hello:v1`, driven with the kubectl on `PATH`.
pub(crate) struct Cluster {
    // Before the directory, so that the process has ended when its files go.
    running: Option<Running>,
    /// Where its API listens, over restarts too.
    api: String,
    data: TempDir,
}

impl Cluster {
    /// Starts one, or says that it cannot because kubectl is missing.
    pub(crate) fn start() -> Option<Self> {
        installed("kubectl").then(Self::without_kubectl)
    }

    /// Starts one for other clients.
    pub(crate) fn without_kubectl() -> Self {
        Self::started(&["up"])
    }

    /// Starts one with these arguments.
    pub(crate) fn started(args: &[&str]) -> Self {
        let data = tempfile::tempdir().expect("a temporary directory");
        push_hello(&data.path().join("registry"));
        let command = on_free_ports(args, data.path());
        Self::of(Running::start_with(command, data.path()), data)
    }

    /// Starts the demo, or says which program is missing.
    pub(crate) fn demo() -> Option<Self> {
        if !installed("kubectl") || !installed("curl") {
            return None;
        }
        let data = tempfile::tempdir().expect("a temporary directory");
        let command = on_free_ports(&["demo", "--port", "0"], data.path());
        Some(Self::of(Running::start_with(command, data.path()), data))
    }

    /// Starts one whose files are in a folder of the caller's, with an empty registry.
    pub(crate) fn on(folder: &Path) -> Self {
        let data = tempfile::tempdir_in(folder).expect("a temporary directory");
        Self::of(Running::start(data.path()), data)
    }

    fn of(running: Running, data: TempDir) -> Self {
        let api = running.endpoint("api");
        Self { running: Some(running), api, data }
    }

    /// Where its files are.
    pub(crate) fn data(&self) -> &Path {
        self.data.path()
    }

    /// The process.
    pub(crate) fn running(&self) -> &Running {
        self.running.as_ref().expect("it runs")
    }

    /// Ends the process with a signal.
    pub(crate) fn end_with(&mut self, signal: &str) -> (ExitStatus, String) {
        self.running.take().expect("it runs").end_and_log(signal)
    }

    /// Starts a process with these arguments on the same data.
    pub(crate) fn start_again(&mut self, args: &[&str]) {
        let command = with_api(args, &self.api, self.data.path());
        self.running = Some(Running::start_with(command, self.data.path()));
    }

    /// Ends the process with a signal and starts another on the same data.
    pub(crate) fn restart_after(&mut self, signal: &str) {
        self.end_with(signal);
        self.start_again(&["up"]);
    }

    /// Kills the process, and others on the same data before they are ready, after these times; then starts one that may
    /// live.
    pub(crate) fn restart_after_kills(&mut self, times: &[Duration]) {
        self.end_with("KILL");
        for time in times {
            let mut command = with_api(&["up"], &self.api, self.data.path());
            let mut child =
                command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts");
            thread::sleep(*time);
            child.kill().expect("it can be killed");
            child.wait().expect("it has ended");
        }
        self.start_again(&["up"]);
    }

    /// Asks the process to end and gives its exit code.
    pub(crate) fn terminate(mut self) -> Option<i32> {
        self.end_with("TERM").0.code()
    }

    /// kubectl with these arguments, parted by white space, not yet started.
    pub(crate) fn command(&self, args: &str) -> Command {
        let mut command = Command::new("kubectl");
        command.arg("--kubeconfig").arg(self.data.path().join("kubeconfig"));
        command.arg("--cache-dir").arg(self.data.path().join("kubectl-cache"));
        command.args(args.split_whitespace());
        command
    }

    /// Runs kubectl to its end with `input` on its standard input.
    pub(crate) fn run(&self, args: &str, input: &str) -> Output {
        let mut child = self
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl starts");
        // A kubectl that refuses its arguments has closed its input already.
        let _closed = child.stdin.take().expect("stdin").write_all(input.as_bytes());
        child.wait_with_output().expect("kubectl ends")
    }

    /// Runs kubectl, which must succeed, and gives what it printed.
    pub(crate) fn kubectl(&self, args: &str) -> String {
        succeeded(args, &self.run(args, ""))
    }

    /// Applies a manifest.
    pub(crate) fn apply(&self, manifest: &str) -> String {
        succeeded(manifest, &self.run("apply -f -", manifest))
    }

    /// Runs kubectl, which must fail, and gives its complaint.
    pub(crate) fn refused(&self, args: &str, input: &str) -> String {
        let output = self.run(args, input);
        assert!(!output.status.success(), "kubectl {args} succeeded: {}", text(&output.stdout));
        text(&output.stderr)
    }

    /// What `kubectl get` shows as JSON.
    pub(crate) fn get(&self, what: &str) -> Value {
        let args = format!("get {what} -o json");
        serde_json::from_str(&self.kubectl(&args)).expect("kubectl prints JSON")
    }

    /// The pods of the application that are not on their way out.
    pub(crate) fn pods(&self, app: &str) -> Vec<Value> {
        let mut list = self.get(&format!("pods -l app={app}"));
        let items = list["items"].as_array_mut().expect("a list").drain(..);
        items.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()).collect()
    }

    /// Waits until exactly `count` pods of the application are there and ready.
    pub(crate) fn ready_pods(&self, app: &str, count: usize) -> Vec<Value> {
        until(&format!("{count} ready pods of {app}"), || {
            let pods = self.pods(app);
            (pods.len() == count && pods.iter().all(is_ready)).then_some(pods)
        })
    }

    /// The pods of the application that are not on their way out, if all of them are ready.
    pub(crate) fn ready_pods_or_none(&self, app: &str) -> Option<Vec<Value>> {
        let pods = self.pods(app);
        pods.iter().all(is_ready).then_some(pods)
    }

    /// Waits for a deployment's rollout.
    pub(crate) fn rolled_out(&self, name: &str) {
        let seconds = DEADLINE.as_secs();
        let said = self.kubectl(&format!("rollout status deployment/{name} --timeout={seconds}s"));
        assert!(said.contains("successfully rolled out"), "{said}");
    }
}

/// Asks again until there is an answer.
///
/// # Panics
/// When there is none in time.
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begun.elapsed() < DEADLINE, "waited in vain for {what}");
        thread::sleep(PAUSE);
    }
}

/// A pod's name.
pub(crate) fn name(pod: &Value) -> &str {
    pod["metadata"]["name"].as_str().expect("a name")
}

/// The whole HTTP answer of a pod to `GET /`.
pub(crate) fn ask(pod: &Value) -> String {
    let address = pod["status"]["podIP"].as_str().expect("an address");
    let mut stream = TcpStream::connect((address, 8080)).expect("a ready pod accepts connections");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout that is not zero");
    write!(stream, "GET / HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")
        .expect("the pod takes a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the answer ends");
    answer
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"))
}

fn succeeded(what: &str, output: &Output) -> String {
    assert!(output.status.success(), "kubectl failed: {what}\n{}", text(&output.stderr));
    text(&output.stdout)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn push_hello(registry: &Path) {
    let wasm = Path::new(env!("CARGO_MANIFEST_DIR")).join("../workload/wasm/fixtures/hello.wasm");
    let wasm = std::fs::read(wasm).expect("the fixture is there");
    let store = Store::open(registry, Limits::default()).expect("a store");
    let (repository, tag) = ("demo/hello".parse().expect("a name"), "v1".parse().expect("a tag"));
    push_wasm(&store, &repository, &tag, &wasm).expect("the fixture is a component");
}

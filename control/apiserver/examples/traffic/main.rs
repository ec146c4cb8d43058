//! Measures an API server, xebec's or another, from outside: `traffic KUBECONFIG [PID]`.
//!
//! Prints one line a figure: its name, its value, its unit. `PID` is the server's process; with it, memory is told as well.
//! `CHURN` is for how many seconds objects come and go while memory is watched (0: not at all), `CLIENTS` how many clients
//! there are at once, in turn.

mod client;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::client::{Body, Client, Target};

const CLIENTS: &str = "1,16,64";
const SPAN: Duration = Duration::from_secs(4);
/// What a ConfigMap holds; with its metadata it takes as much again as etcd's values in the store's figures.
const BYTES: usize = 1_024;
const CONFIG_MAPS: usize = 10_000;
const PODS: usize = 5_000;
const DEFINITIONS: usize = 200;
/// Where objects are made, read and changed for a while.
const MAPS: &str = "/api/v1/namespaces/load/configmaps";
/// Where they are there from the beginning.
const FULL: &str = "/api/v1/namespaces/full";

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (kubeconfig, process) = match &arguments[..] {
        [kubeconfig] => (kubeconfig, None),
        [kubeconfig, process] => (kubeconfig, Some(process.parse::<u32>().context("PID is no number")?)),
        _ => bail!("say `traffic KUBECONFIG [PID]`"),
    };
    let rounds = std::env::var("CLIENTS").unwrap_or_else(|_| CLIENTS.to_owned());
    let rounds = rounds.split(',').map(str::parse).collect::<Result<Vec<usize>, _>>().context("CLIENTS")?;
    let target = Target::of_kubeconfig(Path::new(kubeconfig))?;
    let mut client = target.connect().await?;
    for namespace in ["load", "full"] {
        create(&mut client, "/api/v1/namespaces", &json!({"metadata": {"name": namespace}})).await?;
    }
    memory("empty", process)?;
    fill(&target, process).await?;
    tokio::time::sleep(Duration::from_secs(20)).await;
    memory("filled", process)?;
    let mut client = target.connect().await?;
    lists(&mut client).await?;
    for clients in rounds {
        creates(&target, clients).await?;
        reads(&target, clients, Kind::Get).await?;
        reads(&target, clients, Kind::Page).await?;
        reads(&target, clients, Kind::Patch).await?;
        create_to_watch(&target, clients).await?;
        target.connect().await?.send(Method::DELETE, MAPS, Body::Nothing).await?;
    }
    memory("after", process)?;
    let churn = std::env::var("CHURN").map_or(Ok(0), |text| text.parse()).context("CHURN is no number")?;
    if churn > 0 {
        churn_for(&target, Duration::from_secs(churn), process).await?;
    }
    Ok(())
}

async fn create(client: &mut Client, path: &str, object: &Value) -> Result<()> {
    client.send(Method::POST, path, Body::Json(serde_json::to_vec(object)?.into())).await?;
    Ok(())
}

fn config_map(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"app": "load"}},
        "data": {"payload": "x".repeat(BYTES)},
    })
}

/// A client's requests of a span, one after the other.
struct Turns {
    client: Client,
    end: Instant,
    /// How long each took.
    waits: Vec<Duration>,
}

impl Turns {
    /// The number of the next request, while there is time.
    fn next(&self) -> Option<usize> {
        (Instant::now() < self.end).then_some(self.waits.len())
    }

    async fn send(&mut self, method: Method, path: &str, body: Body) -> Result<()> {
        let begin = Instant::now();
        self.client.send(method, path, body).await?;
        self.waits.push(begin.elapsed());
        Ok(())
    }
}

/// Runs one task a client, each of which is given its number, until the span is over.
async fn drive<F>(target: &Target, clients: usize, name: &str, task: impl Fn(Turns, usize) -> F) -> Result<()>
where
    F: Future<Output = Result<Vec<Duration>>> + Send + 'static,
{
    let mut connections = Vec::new();
    for _ in 0..clients {
        connections.push(target.connect().await?);
    }
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for (number, client) in connections.into_iter().enumerate() {
        tasks.spawn(task(Turns { client, end: start + SPAN, waits: Vec::new() }, number));
    }
    let mut waits = Vec::new();
    while let Some(task) = tasks.join_next().await {
        waits.extend(task??);
    }
    let rate = waits.len() as f64 / start.elapsed().as_secs_f64();
    println!("{name}_{clients}_clients {rate:.0} 1/s");
    quantiles(&format!("{name}_{clients}_clients"), waits)
}

fn quantiles(name: &str, mut waits: Vec<Duration>) -> Result<()> {
    waits.sort_unstable();
    let at = |hundredth: usize| waits.get(waits.len() * hundredth / 100).map(Duration::as_secs_f64);
    let (half, most) = at(50).zip(at(99)).context("nothing was measured")?;
    println!("{name}_p50 {:.2} ms", half * 1e3);
    println!("{name}_p99 {:.2} ms", most * 1e3);
    Ok(())
}

async fn creates(target: &Target, clients: usize) -> Result<()> {
    drive(target, clients, "create", move |mut turns, number| async move {
        while let Some(turn) = turns.next() {
            let object = config_map(&format!("c{clients}-{number}-{turn}"));
            turns.send(Method::POST, MAPS, Body::Json(serde_json::to_vec(&object)?.into())).await?;
        }
        Ok(turns.waits)
    })
    .await
}

/// What is done to objects that are there.
#[derive(Clone, Copy)]
enum Kind {
    Get,
    /// A list of at most 100.
    Page,
    Patch,
}

async fn reads(target: &Target, clients: usize, kind: Kind) -> Result<()> {
    let name = match kind {
        Kind::Get => "get",
        Kind::Page => "list_of_100",
        Kind::Patch => "patch",
    };
    drive(target, clients, name, move |mut turns, number| async move {
        let one = format!("{MAPS}/c{clients}-{number}-0");
        while let Some(turn) = turns.next() {
            match kind {
                Kind::Get => turns.send(Method::GET, &one, Body::Nothing).await?,
                Kind::Page => turns.send(Method::GET, &format!("{MAPS}?limit=100"), Body::Nothing).await?,
                Kind::Patch => {
                    let patch = json!({"data": {"turn": turn.to_string()}}).to_string();
                    turns.send(Method::PATCH, &one, Body::MergePatch(patch.into())).await?;
                }
            }
        }
        Ok(turns.waits)
    })
    .await
}

/// How long it takes from sending a create to reading its event on another connection, while `clients` create.
async fn create_to_watch(target: &Target, clients: usize) -> Result<()> {
    let begun = Instant::now();
    let (sent, mut arrived) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
    let mut watcher = target.connect().await?;
    let list = watcher.send(Method::GET, &format!("{MAPS}?limit=1"), Body::Nothing).await?;
    let list: Value = serde_json::from_slice(&list)?;
    let revision = list["metadata"]["resourceVersion"].as_str().context("a list without a revision")?;
    let path = format!("{MAPS}?watch=1&resourceVersion={revision}");
    let mut events = Lines::of(watcher.begin(Method::GET, &path, Body::Nothing).await?.into_body());
    let mark = format!("w{clients}-");
    let reader = tokio::spawn(async move {
        while let Ok(Some(line)) = events.next().await {
            let now = begun.elapsed();
            let event: Value = serde_json::from_slice(&line)?;
            let name = event["object"]["metadata"]["name"].as_str().unwrap_or_default();
            if name.starts_with(&mark) && arrived.0.send((name.to_owned(), now)).is_err() {
                break;
            }
        }
        anyhow::Ok(())
    });
    let sender = sent.0;
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for number in 0..clients {
        let (mut client, sender) = (target.connect().await?, sender.clone());
        tasks.spawn(async move {
            for turn in 0.. {
                if start.elapsed() > SPAN {
                    break;
                }
                let name = format!("w{clients}-{number}-{turn}");
                let object = config_map(&name);
                sender.send((name, begun.elapsed()))?;
                create(&mut client, MAPS, &object).await?;
                // Latency is the question here, not how much there can be at once.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            anyhow::Ok(())
        });
    }
    drop(sender);
    while let Some(task) = tasks.join_next().await {
        task??;
    }
    let mut from = sent.1;
    let mut departures = std::collections::HashMap::new();
    while let Some((name, at)) = from.recv().await {
        departures.insert(name, at);
    }
    let mut waits = Vec::new();
    while waits.len() < departures.len() {
        let event = tokio::time::timeout(Duration::from_secs(10), arrived.1.recv()).await;
        let (name, at) = event.context("events are missing")?.context("the watch ended")?;
        waits.push(at - *departures.get(&name).context("an event of what nobody made")?);
    }
    reader.abort();
    quantiles(&format!("create_to_watch_{clients}_clients"), waits)
}

/// The lines of a body.
struct Lines {
    body: hyper::body::Incoming,
    held: bytes::BytesMut,
}

impl Lines {
    fn of(body: hyper::body::Incoming) -> Self {
        Self { body, held: bytes::BytesMut::new() }
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(end) = self.held.iter().position(|byte| *byte == b'\n') {
                return Ok(Some(self.held.split_to(end + 1).freeze()));
            }
            match self.body.frame().await.transpose()? {
                Some(frame) => self.held.extend_from_slice(&frame.into_data().unwrap_or_default()),
                None => return Ok(None),
            }
        }
    }
}

/// Makes what memory is told of: ConfigMaps, pods that no node takes, and definitions.
async fn fill(target: &Target, process: Option<u32>) -> Result<()> {
    let start = Instant::now();
    let under = |plural: &str| format!("{FULL}/{plural}");
    make(target, CONFIG_MAPS, under("configmaps"), |number| config_map(&format!("m{number}"))).await?;
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    make(target, DEFINITIONS, definitions.to_owned(), definition).await?;
    memory("10000_config_maps_and_200_definitions", process)?;
    make(target, PODS, under("pods"), pod).await?;
    println!("fill {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// Makes so many objects by 16 clients.
async fn make(target: &Target, count: usize, path: String, object: fn(usize) -> Value) -> Result<()> {
    let mut tasks = JoinSet::new();
    for worker in 0..16 {
        let (mut client, path) = (target.connect().await?, path.clone());
        tasks.spawn(async move {
            for number in (worker..count).step_by(16) {
                create(&mut client, &path, &object(number)).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(task) = tasks.join_next().await {
        task??;
    }
    Ok(())
}

fn pod(number: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("p{number}"), "labels": {"app": "load"}},
        "spec": {
            "nodeSelector": {"example.com/none": "there"},
            "containers": [{
                "name": "main", "image": "example.com/app:1", "ports": [{"containerPort": 8080}],
                "env": [{"name": "LEVEL", "value": "info"}],
                "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
            }],
        },
    })
}

/// A definition of about the size that operators bring: a spec of 60 fields, each with a description.
fn definition(number: usize) -> Value {
    let field = |at: usize| {
        let schema = match at % 4 {
            0 => {
                json!({"type": "integer", "minimum": 0, "description": "How many of these there are to be at most."})
            }
            1 => {
                json!({"type": "array", "items": {"type": "string"}, "description": "Names, each of them once."})
            }
            2 => json!({
                "type": "object", "description": "Where it is.",
                "properties": {"name": {"type": "string"}, "namespace": {"type": "string", "maxLength": 63}},
            }),
            _ => {
                json!({"type": "string", "pattern": "^[a-z]+$", "description": "What it is called by others."})
            }
        };
        (format!("field{at}"), schema)
    };
    let fields: serde_json::Map<String, Value> = (0..60).map(field).collect();
    let plural = format!("loads{number}");
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.example.com")},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": plural, "kind": format!("Load{number}")},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "properties": fields},
                    "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                }}},
            }],
        },
    })
}

async fn lists(client: &mut Client) -> Result<()> {
    for (name, plural) in [("list_of_10000_config_maps", "configmaps"), ("list_of_5000_pods", "pods")] {
        let path = format!("{FULL}/{plural}");
        let mut waits = Vec::new();
        for _ in 0..10 {
            let begin = Instant::now();
            client.send(Method::GET, &path, Body::Nothing).await?;
            waits.push(begin.elapsed());
        }
        quantiles(name, waits)?;
    }
    Ok(())
}

/// Makes, changes and deletes for a while. Memory is told after a fifth of it and at its end.
async fn churn_for(target: &Target, span: Duration, process: Option<u32>) -> Result<()> {
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for worker in 0..16 {
        let mut client = target.connect().await?;
        tasks.spawn(async move {
            let mut turns = 0_u64;
            while start.elapsed() < span {
                let name = format!("churn-{worker}-{turns}");
                create(&mut client, MAPS, &config_map(&name)).await?;
                let one = format!("{MAPS}/{name}");
                for turn in 0..3 {
                    let patch = json!({"data": {"turn": turn.to_string()}}).to_string();
                    client.send(Method::PATCH, &one, Body::MergePatch(patch.into())).await?;
                }
                client.send(Method::DELETE, &one, Body::Nothing).await?;
                turns += 1;
            }
            anyhow::Ok(turns)
        });
    }
    tokio::time::sleep(span / 5).await;
    memory("churn_begun", process)?;
    let mut turns = 0;
    while let Some(task) = tasks.join_next().await {
        turns += task??;
    }
    println!("churn {:.0} writes/s", (turns * 5) as f64 / start.elapsed().as_secs_f64());
    memory("churn_ended", process)
}

/// What of a process is in memory.
fn memory(name: &str, process: Option<u32>) -> Result<()> {
    let Some(process) = process else { return Ok(()) };
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).context("PID is no process")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no memory is told")?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    println!("memory_{name} {:.0} MiB", kibibytes as f64 / 1024.0);
    Ok(())
}

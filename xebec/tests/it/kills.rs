//! SIGKILL under mixed load, again and again: nothing acknowledged is lost, nothing is half done, no revision goes back,
//! and each watcher that goes on where it was sees every change once and in its order.

mod ledger;
mod watchers;
mod writers;

use std::sync::Arc;
use std::time::Duration;

use kube::api::{ApiResource, ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{DynamicObject, GroupVersionKind};
use kube::{Api, Client, Config};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use xebec_dice::Dice;

use crate::cluster::Cluster;
use crate::hooks::{Hook, patched};
use ledger::Ledger;

/// How often the process is killed while it serves.
const KILLS: usize = 4;
/// How many writes are acknowledged before a kill, so that there is something to lose.
const WRITES: usize = 60;
/// How long anything may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(120);
/// What everything that is written here is labelled with.
const LABEL: &str = "kills";

/// The kinds that are written: one that a webhook changes, one that a quota counts, one that gets an address.
const KINDS: [(&str, &str); 3] =
    [("ConfigMap", "configmaps"), ("Secret", "secrets"), ("Service", "services")];

fn api(client: &Client, (kind, plural): (&str, &str)) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", kind), plural);
    Api::default_namespaced_with(client.clone(), &resource)
}

async fn connect(cluster: &Cluster) -> Client {
    let kubeconfig = Kubeconfig::read_from(cluster.data().join("kubeconfig")).expect("a kubeconfig");
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    Client::try_from(config.expect("a whole kubeconfig")).expect("a client")
}

async fn made(client: &Client, (group, kind, plural): (&str, &str, &str), object: serde_json::Value) {
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1", kind), plural);
    let api: Api<DynamicObject> = match kind {
        "ResourceQuota" => Api::default_namespaced_with(client.clone(), &resource),
        _ => Api::all_with(client.clone(), &resource),
    };
    let object = serde_json::from_value(object).expect("an object");
    api.create(&PostParams::default(), &object).await.expect("made");
}

/// The revision of the store, as a list tells it.
async fn revision(api: &Api<DynamicObject>) -> u64 {
    let list = api.list(&ListParams::default().limit(1)).await.expect("a list");
    list.metadata.resource_version.expect("a revision").parse().expect("a number")
}

/// Waits until it is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(DEADLINE, waiting).await.is_ok(), "waited in vain for {what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_outlives_every_kill_and_watchers_go_on_where_they_were() {
    let seed = std::env::var("XEBEC_FUZZ_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("XEBEC_FUZZ_SEED={seed}");
    let mut dice = Dice::new(seed);
    let mut cluster = Cluster::without_kubectl();
    let client = connect(&cluster).await;

    let hook =
        Hook::start(|_| patched(&json!([{"op": "add", "path": "/data/stamped", "value": "yes"}]))).await;
    let mut webhook = hook.webhook("kubernetes.io/metadata.name");
    webhook["objectSelector"] = json!({"matchLabels": {LABEL: "yes"}});
    let configuration = json!({"metadata": {"name": "stamp"}, "webhooks": [webhook]});
    let group = "admissionregistration.k8s.io";
    let kind = (group, "MutatingWebhookConfiguration", "mutatingwebhookconfigurations");
    made(&client, kind, configuration).await;
    let quota = json!({"metadata": {"name": "most"}, "spec": {"hard": {"count/secrets": "500"}}});
    made(&client, ("", "ResourceQuota", "resourcequotas"), quota).await;

    let (ledger, stop, done) =
        (Arc::new(Ledger::default()), CancellationToken::new(), CancellationToken::new());
    let from = revision(&api(&client, KINDS[0])).await;
    let mut watching = Vec::new();
    for kind in [KINDS, KINDS].concat() {
        let following = watchers::follow(api(&client, kind), kind.0, from, ledger.clone(), done.clone());
        watching.push((kind.0, tokio::spawn(following)));
    }
    let writing: Vec<_> = (0..12)
        .map(|number| {
            let (kind, dice) = (KINDS[number % KINDS.len()], Dice::new(dice.number()));
            let write =
                writers::write(api(&client, kind), kind.0, number, dice, ledger.clone(), stop.clone());
            tokio::spawn(write)
        })
        .collect();

    for kill in 0..KILLS {
        let before = ledger.acknowledged();
        until("writes to be acknowledged", async || ledger.acknowledged() >= before + WRITES).await;
        tokio::time::sleep(Duration::from_millis(dice.below(400) as u64)).await;
        let early: Vec<_> =
            (0..kill % 2).map(|_| Duration::from_millis(20 + dice.below(400) as u64)).collect();
        let restarted = tokio::task::spawn_blocking(move || {
            cluster.restart_after_kills(&early);
            cluster
        });
        cluster = restarted.await.expect("a restart");
        let (now, told) = (revision(&api(&client, KINDS[0])).await, ledger.newest());
        assert!(now >= told, "the revision went back to {now}, and {told} was acknowledged");
    }
    let before = ledger.acknowledged();
    until("writes after the last restart", async || ledger.acknowledged() >= before + WRITES).await;
    stop.cancel();
    for writer in writing {
        writer.await.expect("a writer ends");
    }
    done.cancel();
    let mut seen = Vec::new();
    for (kind, watcher) in watching {
        let changes = tokio::time::timeout(DEADLINE, watcher).await;
        seen.push((kind, changes.expect("a watcher sees everything in time").expect("a watcher ends")));
    }

    for (kind, plural) in KINDS {
        let params = ListParams::default().labels(LABEL);
        let there = api(&client, (kind, plural)).list(&params).await.expect("a list").items;
        let seen = seen.iter().filter(|(own, _)| *own == kind).map(|(_, changes)| &changes[..]);
        ledger.judge(kind, &there, seen);
    }
    let secrets = api(&client, KINDS[1]);
    let quotas = api(&client, ("ResourceQuota", "resourcequotas"));
    until("the quota to count what is there", async || {
        let count = secrets.list(&ListParams::default()).await.expect("a list").items.len();
        let quota = quotas.get("most").await.expect("the quota");
        quota.data["status"]["used"]["count/secrets"] == json!(count.to_string())
    })
    .await;
    println!("{} writes were acknowledged", ledger.acknowledged());
}

//! The faults themselves: each is seen by a client as what it stands for.

use futures::StreamExt as _;
use http::Method;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{PostParams, WatchParams};
use serde_json::json;

use crate::cluster::Cluster;
use crate::faults::{CALM, Fault, Faults, STORM};

fn map(name: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}, "data": {"key": "value"}})).unwrap()
}

#[tokio::test]
async fn a_lost_answer_leaves_the_write_behind() {
    let cluster = Cluster::quiet().await;
    let flawed = Api::<ConfigMap>::default_namespaced(cluster.flawed());
    cluster.faults.next(Method::POST, "/configmaps", Fault::AnswerLost);
    flawed.create(&PostParams::default(), &map("one")).await.expect_err("the answer is lost");
    cluster.until::<ConfigMap>("one", |_| true).await;

    cluster.faults.next(Method::POST, "/configmaps", Fault::Refused(503));
    flawed.create(&PostParams::default(), &map("two")).await.expect_err("the API refuses");
    assert!(flawed.get_opt("two").await.unwrap().is_none(), "a refused write does nothing");
    assert_eq!(cluster.faults.waiting(), 0);
}

#[tokio::test]
async fn watches_end_expire_and_tear() {
    let cluster = Cluster::quiet().await;
    let flawed = Api::<ConfigMap>::default_namespaced(cluster.flawed());
    for name in ["one", "two"] {
        cluster.create::<ConfigMap>(serde_json::to_value(map(name)).unwrap()).await;
    }
    for (fault, events, ends_well) in
        [(Fault::Ended(1), 1, true), (Fault::Expired(1), 2, true), (Fault::Torn(1), 2, false)]
    {
        cluster.faults.next(Method::GET, "/configmaps", fault);
        let watch = flawed.watch(&WatchParams::default(), "0").await.unwrap();
        let seen: Vec<_> = watch.collect().await;
        assert_eq!(seen.len(), events, "{fault:?}: {seen:?}");
        assert_eq!(seen.last().is_some_and(Result::is_ok), ends_well, "{fault:?}: {seen:?}");
    }
}

#[test]
fn a_seed_gives_the_same_faults_again() {
    let draws = |seed| {
        let faults = Faults::new(seed, STORM);
        (0..200).for_each(|_| faults.touch(&Method::POST, "/api/v1/namespaces/default/pods"));
        faults.story()
    };
    assert_eq!(draws(7), draws(7));
    assert_ne!(draws(7), draws(8).replace("seed 8", "seed 7"));
    let calm = Faults::new(7, CALM);
    calm.touch(&Method::GET, "/api/v1/pods");
    assert_eq!(calm.count(), 0);
}

//! Which pods answer for a Service, in a storm.

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt as _;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::deployment::template;
use crate::faults::STORM;
use crate::seeds;
use xebec_controllers::endpoints::SERVICE;

fn names(slices: &[EndpointSlice]) -> Vec<String> {
    let endpoints = slices.iter().flat_map(|slice| slice.endpoints.iter().flatten());
    let ready =
        endpoints.filter(|end| end.conditions.as_ref().is_some_and(|found| found.ready == Some(true)));
    let mut names: Vec<String> = ready.filter_map(|end| end.target_ref.clone()?.name).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slice_follows_the_ready_pods_and_goes_with_its_service() {
    for seed in seeds() {
        let cluster = Cluster::in_storm(seed, STORM).await;
        cluster
            .create::<Service>(json!({
                "metadata": {"name": "web"},
                "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
            }))
            .await;
        cluster
            .create::<ReplicaSet>(json!({
                "metadata": {"name": "web"},
                "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": template("shop:1")},
            }))
            .await;
        cluster.until_all::<EndpointSlice>(|slices| names(slices).len() == 3).await;
        let victim = cluster.list::<Pod>("app=web").await.remove(0).name_any();
        cluster.api::<Pod>().delete(&victim, &DeleteParams::default()).await.unwrap();
        cluster
            .until_all::<EndpointSlice>(|slices| {
                let names = names(slices);
                names.len() == 3 && !names.contains(&victim)
            })
            .await;
        cluster.api::<Service>().delete("web", &DeleteParams::background()).await.unwrap();
        cluster
            .until_all::<EndpointSlice>(|slices| {
                slices.iter().all(|slice| !slice.name_any().starts_with("web"))
            })
            .await;
        cluster.until_all::<Endpoints>(|all| all.iter().all(|endpoints| endpoints.name_any() != "web")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_older_object_stands_beside_the_slices_and_what_users_write_is_mirrored() {
    for seed in seeds() {
        let cluster = Cluster::in_storm(seed, STORM).await;
        cluster
            .create::<Service>(json!({
                "metadata": {"name": "web", "labels": {"team": "shop"}},
                "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
            }))
            .await;
        cluster
            .create::<ReplicaSet>(json!({
                "metadata": {"name": "web"},
                "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template("shop:1")},
            }))
            .await;
        let addresses = |object: &Endpoints| -> usize {
            let subsets = object.subsets.iter().flatten();
            subsets.map(|subset| subset.addresses.as_ref().map_or(0, Vec::len)).sum()
        };
        let object = cluster.until::<Endpoints>("web", |object| addresses(object) == 2).await;
        assert_eq!(object.labels()["team"], "shop");
        let port = &object.subsets.as_ref().unwrap()[0].ports.as_ref().unwrap()[0];
        assert_eq!((port.port, port.name.as_deref()), (8080, Some("http")));
        cluster.change::<ReplicaSet>("web", json!({"spec": {"replicas": 0}})).await;
        cluster.until::<Endpoints>("web", |object| addresses(object) == 0).await;
        // Somebody takes the object away.
        cluster.api::<Endpoints>().delete("web", &DeleteParams::default()).await.unwrap();
        cluster.until::<Endpoints>("web", |_| true).await;

        let outside = json!({"metadata": {"name": "db"}, "spec": {"ports": [{"port": 5432}]}});
        cluster.create::<Service>(outside).await;
        cluster
            .create::<Endpoints>(json!({
                "metadata": {"name": "db"},
                "subsets": [{"addresses": [{"ip": "192.0.2.7"}], "ports": [{"port": 5432}]}],
            }))
            .await;
        let of_db = |slices: &[EndpointSlice]| -> Vec<String> {
            let of = |slice: &&EndpointSlice| slice.labels().get(SERVICE).is_some_and(|name| name == "db");
            let ends = slices.iter().filter(of).flat_map(|slice| slice.endpoints.iter().flatten());
            ends.flat_map(|end| end.addresses.clone()).collect()
        };
        cluster.until_all::<EndpointSlice>(|slices| of_db(slices) == ["192.0.2.7"]).await;
        let moved = json!({"subsets": [{"addresses": [{"ip": "192.0.2.8"}], "ports": [{"port": 5432}]}]});
        cluster.change::<Endpoints>("db", moved.clone()).await;
        cluster.until_all::<EndpointSlice>(|slices| of_db(slices) == ["192.0.2.8"]).await;
        // With a selector it leads to pods alone, and without it again to what the user wrote.
        let chosen = |labels: Value| json!({"spec": {"selector": labels}});
        cluster.change::<Service>("db", chosen(json!({"app": "nobody"}))).await;
        cluster.until_all::<EndpointSlice>(|slices| of_db(slices).is_empty()).await;
        cluster.change::<Service>("db", chosen(json!({"app": null}))).await;
        cluster.change::<Endpoints>("db", moved.clone()).await;
        cluster.until_all::<EndpointSlice>(|slices| of_db(slices) == ["192.0.2.8"]).await;
        cluster.api::<Endpoints>().delete("db", &DeleteParams::default()).await.unwrap();
        cluster.until_all::<EndpointSlice>(|slices| of_db(slices).is_empty()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn services_whose_names_are_alike_have_slices_of_their_own() {
    for seed in seeds() {
        let cluster = Cluster::in_storm(seed, STORM).await;
        for name in ["web", "web-1"] {
            cluster
                .create::<Service>(json!({
                    "metadata": {"name": name},
                    "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": "http"}]},
                }))
                .await;
        }
        // While a rollout changes the number of a port, its Service has two slices.
        for (name, app, port) in [("old", "web", 8080), ("new", "web", 9090), ("other", "web-1", 8080)] {
            let ports = json!([{"name": "http", "containerPort": port}]);
            cluster
                .create::<Pod>(json!({
                    "metadata": {"name": name, "labels": {"app": app}},
                    "spec": {"containers": [{"name": "web", "image": "shop:1", "ports": ports}]},
                }))
                .await;
        }
        let of = |slices: &[EndpointSlice], service: &str| -> Vec<EndpointSlice> {
            let is_its =
                |slice: &&EndpointSlice| slice.labels().get(SERVICE).is_some_and(|own| own == service);
            slices.iter().filter(is_its).cloned().collect()
        };
        let are_apart = |slices: &[EndpointSlice]| {
            let (web, other) = (of(slices, "web"), of(slices, "web-1"));
            web.len() == 2 && names(&web) == ["new", "old"] && other.len() == 1 && names(&other) == ["other"]
        };
        cluster.until_all::<EndpointSlice>(are_apart).await;
        for _ in 0..20 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            let now = cluster.api::<EndpointSlice>().list(&Default::default()).await.unwrap().items;
            assert!(are_apart(&now), "{now:#?}");
        }
    }
}

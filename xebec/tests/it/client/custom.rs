//! A kind of one's own: derived, defined, served and taken away.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::core::crd::CustomResourceExt as _;
use kube::runtime::conditions;
use kube::runtime::wait::await_condition;
use kube::{CustomResource, ResourceExt as _};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::*;

/// What a ship should be.
#[derive(CustomResource, Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[kube(
    group = "example.com",
    version = "v1",
    kind = "Ship",
    namespaced,
    status = "ShipStatus",
    shortname = "sh"
)]
#[kube(scale(spec_replicas_path = ".spec.masts", status_replicas_path = ".status.masts"))]
struct ShipSpec {
    /// How many masts.
    masts: i32,
    /// What it carries.
    #[serde(default)]
    cargo: Vec<String>,
}

/// What a ship is.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
struct ShipStatus {
    masts: i32,
}

async fn defined(client: &Client) -> Api<CustomResourceDefinition> {
    let definitions = Api::<CustomResourceDefinition>::all(client.clone());
    let parameters = PatchParams::apply("test").force();
    definitions.patch("ships.example.com", &parameters, &Patch::Apply(Ship::crd())).await.expect("defined");
    let served = await_condition(definitions.clone(), "ships.example.com", conditions::is_crd_established());
    tokio::time::timeout(DEADLINE, served).await.expect("in time").expect("a watch");
    definitions
}

#[tokio::test]
async fn a_derived_kind_is_served_with_its_schema_status_and_scale() {
    let (_cluster, client) = connect().await;
    defined(&client).await;
    let ships = Api::<Ship>::default_namespaced(client.clone());
    let ship = Ship::new("santa", ShipSpec { masts: 3, cargo: Vec::new() });
    let made = ships.create(&PostParams::default(), &ship).await.expect("made");
    assert_eq!((made.spec.masts, made.metadata.generation), (3, Some(1)));

    let wrong = json!({"spec": {"masts": "three"}});
    let (code, _, message) =
        refusal(ships.patch("santa", &PatchParams::default(), &Patch::Merge(wrong)).await);
    assert!(code == 422 && message.contains("spec.masts"), "{code} {message}");
    let loaded =
        json!({"apiVersion": "example.com/v1", "kind": "Ship", "spec": {"masts": 3, "cargo": ["salt"]}});
    let loaded = ships
        .patch("santa", &PatchParams::apply("test").force(), &Patch::Apply(loaded))
        .await
        .expect("applied");
    assert_eq!(loaded.spec.cargo, ["salt"]);

    let told = ships
        .patch_status(
            "santa",
            &PatchParams::default(),
            &Patch::Merge(json!({"status": {"masts": 2}, "spec": {"masts": 9}})),
        )
        .await
        .expect("told");
    assert_eq!((told.status.map(|status| status.masts), told.spec.masts), (Some(2), 3));
    assert_eq!(told.metadata.generation, Some(2), "a status changes no generation");
    let scaled = ships
        .patch_scale("santa", &PatchParams::default(), &Patch::Merge(json!({"spec": {"replicas": 4}})))
        .await
        .expect("scaled");
    assert_eq!(scaled.status.map(|status| status.replicas), Some(2));
    assert_eq!(ships.get("santa").await.expect("read").spec.masts, 4);
    assert_eq!(Api::<Ship>::all(client).list(&ListParams::default()).await.expect("a list").items.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_derived_kind_outlives_a_kill_and_its_objects_go_with_the_definition() {
    let (mut cluster, client) = connect().await;
    let definitions = defined(&client).await;
    let ships = Api::<Ship>::default_namespaced(client);
    let ship = Ship::new("santa", ShipSpec { masts: 3, cargo: Vec::new() });
    let uid = ships.create(&PostParams::default(), &ship).await.expect("made").uid();
    let cluster = tokio::task::spawn_blocking(move || {
        cluster.restart_after("KILL");
        cluster
    })
    .await
    .expect("a restart");
    let back = eventually("the ship", async || ships.get("santa").await.ok()).await;
    assert_eq!(back.uid(), uid);
    definitions.delete("ships.example.com", &DeleteParams::default()).await.expect("deleted");
    eventually("the end of the kind", async || {
        let served = ships.list(&ListParams::default()).await;
        matches!(served, Err(Error::Api(status)) if status.code == 404).then_some(())
    })
    .await;
    defined(&Client::try_from(config(&cluster).await).expect("a client")).await;
    assert!(
        ships.get_opt("santa").await.expect("answered").is_none(),
        "nothing is left of the first definition"
    );
}

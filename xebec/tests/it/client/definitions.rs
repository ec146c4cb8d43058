//! The gateway's own definitions in a data directory that an older release, or somebody else, has written to.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::*;

const BUNDLE: &str = "gateway.networking.k8s.io/bundle-version";
const GATEWAYS: &str = "gateways.gateway.networking.k8s.io";
const ROUTES: &str = "httproutes.gateway.networking.k8s.io";

#[tokio::test]
async fn definitions_of_an_older_release_are_brought_up_to_date_and_those_of_others_are_left() {
    let (mut cluster, client) = connect().await;
    let definitions = Api::<CustomResourceDefinition>::all(client);
    let fresh = definitions.get(GATEWAYS).await.expect("defined");
    // As an older release wrote it.
    let mut older = fresh.clone();
    older.metadata = ObjectMeta {
        name: Some(GATEWAYS.to_owned()),
        annotations: fresh.metadata.annotations.clone(),
        ..ObjectMeta::default()
    };
    older.status = None;
    older.annotations_mut().insert(BUNDLE.to_owned(), "v1.0.0".to_owned());
    older.annotations_mut().remove("xebec.dev/definition-digest");
    older.spec.versions[0].additional_printer_columns = None;
    let parameters = PatchParams::apply("xebec").force();
    definitions.patch(GATEWAYS, &parameters, &Patch::Apply(&older)).await.expect("applied");
    let change = json!({"metadata": {"annotations": {BUNDLE: "v1.0.0"}}});
    let parameters = PatchParams { field_manager: Some("somebody".to_owned()), ..PatchParams::default() };
    definitions.patch(ROUTES, &parameters, &Patch::Merge(&change)).await.expect("patched");

    cluster.restart_after("TERM");
    let client = Client::try_from(config(&cluster).await).expect("a client");
    let definitions = Api::<CustomResourceDefinition>::all(client);
    let updated = definitions.get(GATEWAYS).await.expect("defined");
    assert_eq!(updated.spec, fresh.spec);
    assert_eq!(updated.annotations(), fresh.annotations());
    let theirs = definitions.get(ROUTES).await.expect("defined");
    assert_eq!(theirs.annotations()[BUNDLE], "v1.0.0");
    // What is as it should be is not written again.
    let before = updated.resource_version();
    cluster.restart_after("TERM");
    let client = Client::try_from(config(&cluster).await).expect("a client");
    let definitions = Api::<CustomResourceDefinition>::all(client);
    assert_eq!(definitions.get(GATEWAYS).await.expect("defined").resource_version(), before);
}

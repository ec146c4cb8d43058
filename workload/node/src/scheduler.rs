//! Which pods run here: all that this node may take, since it is the only one there is.

use k8s_openapi::api::core::v1::{Binding, ObjectReference, Pod};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, ResourceExt as _};

use crate::agent::Node;
use crate::event::{Kind, Source, pod_reference};

/// Puts a pod on this node: it is the only one there is.
pub(crate) async fn bind(node: &Node, pod: &Pod) {
    let namespace = pod.namespace().unwrap_or_default();
    let name = pod.name_any();
    let binding = Binding {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(namespace.clone()),
            ..ObjectMeta::default()
        },
        target: ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: Some(node.options.name.clone()),
            ..ObjectReference::default()
        },
    };
    let pods: Api<Pod> = Api::namespaced(node.client.clone(), &namespace);
    let bound: Result<serde_json::Value, _> =
        pods.create_subresource("binding", &name, &PostParams::default(), &binding).await;
    match bound {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
        Err(error) => tracing::warn!(pod = name, %error, "cannot put a pod on this node"),
        Ok(_) => {
            let message = format!("Successfully assigned {namespace}/{name} to {}", node.options.name);
            let object = pod_reference(pod, None);
            node.events.note(Source::Scheduler, object, Kind::Normal, "Scheduled", message);
        }
    }
}

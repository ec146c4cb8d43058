//! Who the pods of a StatefulSet are: names, labels and claims by their ordinals.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, PodTemplateSpec, Volume,
};
use kube::ResourceExt as _;
use kube::api::ObjectMeta;

use crate::pod::from_template;
use crate::revision::HASH_LABEL;

const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
const POD_INDEX: &str = "apps.kubernetes.io/pod-index";

/// The first ordinal of a set.
pub fn first(set: &StatefulSet) -> i32 {
    set.spec.ordinals.as_ref().and_then(|ordinals| ordinals.start).unwrap_or(0)
}

/// The name of the pod of an ordinal.
pub fn name(set: &StatefulSet, ordinal: i32) -> String {
    format!("{}-{ordinal}", set.name_any())
}

/// The ordinal of a pod, if its name is one that the set gives.
pub fn ordinal(set: &StatefulSet, pod: &Pod) -> Option<i32> {
    let pod = pod.name_any();
    let (parent, ordinal) = pod.rsplit_once('-')?;
    let plain = ordinal == "0" || !ordinal.starts_with(['0', '+', '-']);
    (parent == set.name_any() && plain).then(|| ordinal.parse().ok()).flatten()
}

/// The pod of an ordinal by the template of a revision.
pub fn pod(set: &StatefulSet, ordinal: i32, template: &PodTemplateSpec, revision: &str) -> Pod {
    let mut pod = from_template(set, template);
    let name = name(set, ordinal);
    pod.metadata.generate_name = None;
    pod.metadata.name = Some(name.clone());
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(POD_NAME.to_owned(), name.clone());
    labels.insert(POD_INDEX.to_owned(), ordinal.to_string());
    labels.insert(HASH_LABEL.to_owned(), revision.to_owned());
    let spec = pod.spec.get_or_insert_default();
    spec.hostname = Some(name.clone());
    spec.subdomain = set.spec.service_name.clone().filter(|name| !name.is_empty());
    let volumes = spec.volumes.get_or_insert_default();
    for template in set.spec.volume_claim_templates.iter().flatten() {
        let volume = template.name_any();
        volumes.retain(|other| other.name != volume);
        volumes.push(Volume {
            name: volume.clone(),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: format!("{volume}-{name}"),
                read_only: None,
            }),
            ..Volume::default()
        });
    }
    if volumes.is_empty() {
        spec.volumes = None;
    }
    pod
}

/// The claims of the pod of an ordinal. They outlive it.
pub fn claims(set: &StatefulSet, ordinal: i32) -> Vec<PersistentVolumeClaim> {
    let spec = &set.spec;
    let pod = name(set, ordinal);
    let templates = spec.volume_claim_templates.iter().flatten();
    templates
        .map(|template| {
            let mut labels = template.metadata.labels.clone().unwrap_or_default();
            labels.extend(spec.selector.match_labels.clone().unwrap_or_default());
            PersistentVolumeClaim {
                metadata: ObjectMeta {
                    name: Some(format!("{}-{pod}", template.name_any())),
                    namespace: set.namespace(),
                    labels: Some(labels),
                    annotations: template.metadata.annotations.clone(),
                    ..ObjectMeta::default()
                },
                spec: template.spec.clone(),
                status: None,
            }
        })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;
    use serde_json::json;

    fn set() -> StatefulSet {
        serde_json::from_value(json!({
            "metadata": {"name": "my-db", "namespace": "a", "uid": "u"},
            "spec": {
                "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
                "template": {
                    "metadata": {"labels": {"app": "db"}},
                    "spec": {"containers": [], "volumes": [{"name": "data", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}]},
                },
                "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}],
            },
        }))
        .unwrap()
    }

    #[test]
    fn a_pod_has_its_name_its_place_and_its_claims() {
        let set = set();
        let pod = pod(&set, 2, &set.spec.template, "abc");
        assert_eq!((pod.name_any(), ordinal(&set, &pod)), ("my-db-2".to_owned(), Some(2)));
        let spec = pod.spec.as_ref().unwrap();
        assert_eq!((spec.hostname.as_deref(), spec.subdomain.as_deref()), (Some("my-db-2"), Some("db")));
        let volumes = spec.volumes.as_ref().unwrap();
        let claim = volumes.iter().find_map(|volume| volume.persistent_volume_claim.as_ref()).unwrap();
        assert_eq!((volumes.len(), claim.claim_name.as_str()), (2, "data-my-db-2"));
        assert_eq!(pod.labels()[HASH_LABEL], "abc");
        let claims = claims(&set, 2);
        assert_eq!((claims[0].name_any(), &*claims[0].labels()["app"]), ("data-my-db-2".to_owned(), "db"));
    }

    #[test]
    fn only_the_sets_own_names_have_ordinals() {
        let set = set();
        let of = |name: &str| {
            let pod: Pod = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
            ordinal(&set, &pod)
        };
        assert_eq!(of("my-db-0"), Some(0));
        for name in ["my-db", "my-db-x", "my-db-01", "other-1", "my-db-+1", "my-db-99999999999"] {
            assert_eq!(of(name), None, "{name}");
        }
    }
}

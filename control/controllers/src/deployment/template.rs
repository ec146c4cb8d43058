//! Which ReplicaSet carries a Deployment's pod template.

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use sha2::{Digest as _, Sha256};

/// The label that tells the pods of a Deployment's ReplicaSets apart.
pub const HASH_LABEL: &str = "pod-template-hash";

/// Letters that spell no word: neither vowels nor the digits that look like them.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// Characters of a hash: 27^10 is above 2^47.
const LENGTH: usize = 10;

/// The hash of a template, the same for equal templates.
///
/// `collisions` is the Deployment's `status.collisionCount`: it gives a template another hash where a ReplicaSet of
/// another template already has the name.
pub fn hash(template: &PodTemplateSpec, collisions: i32) -> String {
    // serde_json keeps the keys of maps in order, so equal templates give equal bytes.
    let value = serde_json::to_value(without_hash(template)).unwrap_or_default();
    let mut digest = Sha256::new();
    digest.update(value.to_string());
    digest.update(collisions.to_be_bytes());
    let letter = |byte: &u8| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]);
    digest.finalize().iter().take(LENGTH).map(letter).collect()
}

/// The ReplicaSet of exactly this template: the oldest, should there be several.
///
/// Choosing the oldest, and by name between those of one second, makes every reader choose the same one.
pub fn current<'a>(template: &PodTemplateSpec, sets: &[&'a ReplicaSet]) -> Option<&'a ReplicaSet> {
    let wanted = without_hash(template);
    let carries = |set: &&ReplicaSet| {
        let template = set.spec.template.as_ref();
        template.is_some_and(|template| without_hash(template) == wanted)
    };
    sets.iter().copied().filter(carries).min_by_key(|set| age_order(set))
}

/// Orders ReplicaSets from the oldest to the newest.
pub(super) fn age_order(set: &ReplicaSet) -> (Option<String>, Option<String>) {
    let created = set.metadata.creation_timestamp.as_ref().map(|time| time.0.to_string());
    (created, set.metadata.name.clone())
}

/// The template as its author wrote it. Empty maps mean the same as absent ones.
fn without_hash(template: &PodTemplateSpec) -> PodTemplateSpec {
    let mut template = template.clone();
    let metadata = template.metadata.get_or_insert_default();
    if let Some(labels) = &mut metadata.labels {
        labels.remove(HASH_LABEL);
    }
    metadata.labels = metadata.labels.take().filter(|labels| !labels.is_empty());
    metadata.annotations = metadata.annotations.take().filter(|annotations| !annotations.is_empty());
    template
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn template(value: Value) -> PodTemplateSpec {
        serde_json::from_value(value).unwrap()
    }

    fn set(name: &str, created: &str, template: Value) -> ReplicaSet {
        serde_json::from_value(json!({
            "metadata": {"name": name, "creationTimestamp": created},
            "spec": {"selector": {}, "template": template},
        }))
        .unwrap()
    }

    #[test]
    fn a_hash_is_a_valid_label_and_changes_with_the_template_and_the_collision_count() {
        let one = template(json!({"spec": {"containers": [{"name": "web", "image": "shop:1"}]}}));
        let two = template(json!({"spec": {"containers": [{"name": "web", "image": "shop:2"}]}}));
        assert_eq!(hash(&one, 0).len(), LENGTH);
        assert!(hash(&one, 0).bytes().all(|byte| ALPHABET.contains(&byte)));
        assert_eq!(hash(&one, 0), hash(&one.clone(), 0));
        assert_ne!(hash(&one, 0), hash(&two, 0));
        assert_ne!(hash(&one, 0), hash(&one, 1));
    }

    #[test]
    fn the_label_that_the_controller_adds_changes_neither_hash_nor_identity() {
        let plain = json!({"metadata": {"labels": {"app": "shop"}}, "spec": {"containers": []}});
        let labelled = json!({
            "metadata": {"labels": {"app": "shop", HASH_LABEL: "bcdfg"}}, "spec": {"containers": []},
        });
        assert_eq!(hash(&template(plain.clone()), 0), hash(&template(labelled.clone()), 0));
        let sets = [set("shop-bcdfg", "2026-01-01T00:00:00Z", labelled)];
        assert!(current(&template(plain), &sets.each_ref()).is_some());
    }

    #[test]
    fn of_several_sets_with_the_template_the_oldest_is_the_current_one() {
        let same = json!({"spec": {"containers": [{"name": "web"}]}});
        let sets = [
            set("young", "2026-01-02T00:00:00Z", same.clone()),
            set("old", "2026-01-01T00:00:00Z", same.clone()),
            set("other", "2025-01-01T00:00:00Z", json!({"spec": {"containers": []}})),
        ];
        let found = current(&template(same), &sets.each_ref()).unwrap();
        assert_eq!(found.metadata.name.as_deref(), Some("old"));
        assert!(
            current(&template(json!({"spec": {"containers": [{"name": "db"}]}})), &sets.each_ref()).is_none()
        );
    }
}

//! `StorageObjectInUseProtection`: claims and volumes do not go while somebody uses them.
//!
//! Each is made with a finalizer, and whoever looks after them takes it away once they are not in use.

use serde_json::Value;

use crate::object;
use crate::passes::Passes;
use crate::request::{Operation, Request};
use crate::stage::{Case, Mutation, Outcome, now};

/// The finalizer of each resource.
const FINALIZERS: [(&str, &str); 2] = [
    ("persistentvolumeclaims", "kubernetes.io/pvc-protection"),
    ("persistentvolumes", "kubernetes.io/pv-protection"),
];

pub(crate) struct StorageObjectInUseProtection;

fn finalizer(request: &Request) -> Option<&'static str> {
    let own = FINALIZERS.iter().find(|(resource, _)| request.is_for("", resource));
    own.map(|(_, finalizer)| *finalizer)
}

impl Mutation for StorageObjectInUseProtection {
    fn name(&self) -> &'static str {
        "StorageObjectInUseProtection"
    }

    fn handles(&self, request: &Request) -> bool {
        request.is_whole() && request.operation == Operation::Create && finalizer(request).is_some()
    }

    fn mutate<'a>(&'a self, case: Case<'a>, object: &'a mut Value, _passes: &'a Passes) -> Outcome<'a> {
        if let Some(finalizer) = finalizer(case.request) {
            let finalizers = object::list_mut(object, &["metadata", "finalizers"]);
            if !finalizers.iter().any(|own| own == finalizer) {
                finalizers.push(finalizer.into());
            }
        }
        now(Ok(()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;
    use crate::sample::{Sample, request};
    use serde_json::json;

    #[tokio::test]
    async fn what_is_made_is_protected_once_and_keeps_its_other_finalizers() {
        let stage = StorageObjectInUseProtection;
        for (resource, before, after) in [
            ("persistentvolumeclaims", json!({}), json!(["kubernetes.io/pvc-protection"])),
            (
                "persistentvolumes",
                json!({"finalizers": ["mine"]}),
                json!(["mine", "kubernetes.io/pv-protection"]),
            ),
            (
                "persistentvolumes",
                json!({"finalizers": ["kubernetes.io/pv-protection"]}),
                json!(["kubernetes.io/pv-protection"]),
            ),
        ] {
            let (sample, request) = (Sample::default(), request(Operation::Create, "", resource));
            assert!(stage.handles(&request));
            let mut object = json!({"metadata": before});
            stage.mutate(sample.case(&request), &mut object, &Passes::default()).await.unwrap();
            assert_eq!(object["metadata"]["finalizers"], after, "{resource}");
        }
        assert!(!stage.handles(&request(Operation::Update, "", "persistentvolumes")));
        assert!(!stage.handles(&request(Operation::Create, "", "pods")));
    }
}

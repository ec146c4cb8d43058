//! What the status of a namespace on its way out says: what is left in it, and why.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition, NamespaceStatus};

use super::contents::Remaining;
use crate::time::time;

/// The status of a namespace in which this is left.
pub(super) fn status(namespace: &Namespace, remaining: &Remaining, now: Timestamp) -> NamespaceStatus {
    let before = namespace.status.clone().unwrap_or_default();
    let counted = |counts: &std::collections::BTreeMap<String, usize>, of: &str| -> String {
        let parts: Vec<String> = counts
            .iter()
            .map(|(name, count)| of.replace("{}", name).replace("#", &count.to_string()))
            .collect();
        parts.join(", ")
    };
    let left = counted(&remaining.objects, "{} has # resource instances");
    let waiting = counted(&remaining.finalizers, "{} in # resource instances");
    let facts = [
        (
            "NamespaceDeletionDiscoveryFailure",
            remaining
                .discovery
                .clone()
                .map(|why| format!("Discovery failed for some groups, 1 failing: {why}")),
            ("DiscoveryFailed", "ResourcesDiscovered", "All resources successfully discovered"),
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            None,
            ("GroupVersionParsingFailed", "ParsedGroupVersions", "All legacy kube types successfully parsed"),
        ),
        (
            "NamespaceDeletionContentFailure",
            (!remaining.failures.is_empty()).then(|| {
                format!(
                    "Failed to delete all resource types, {} remaining: {}",
                    remaining.failures.len(),
                    remaining.failures.join(", ")
                )
            }),
            (
                "ContentDeletionFailed",
                "ContentDeleted",
                "All content successfully deleted, may be waiting on finalization",
            ),
        ),
        (
            "NamespaceContentRemaining",
            (!left.is_empty()).then(|| format!("Some resources are remaining: {left}")),
            ("SomeResourcesRemain", "ContentRemoved", "All content successfully removed"),
        ),
        (
            "NamespaceFinalizersRemaining",
            (!waiting.is_empty())
                .then(|| format!("Some content in the namespace has finalizers remaining: {waiting}")),
            ("SomeFinalizersRemain", "ContentHasNoFinalizers", "All content-preserving finalizers finished"),
        ),
    ];
    let mut conditions = Vec::new();
    for (kind, problem, (bad, good, fine)) in facts {
        let status = if problem.is_some() { "True" } else { "False" };
        let told = before.conditions.iter().flatten().find(|told| told.type_ == kind);
        let since =
            told.filter(|told| told.status == status).and_then(|told| told.last_transition_time.clone());
        conditions.push(NamespaceCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: Some(if problem.is_some() { bad } else { good }.to_owned()),
            message: Some(problem.unwrap_or_else(|| fine.to_owned())),
            last_transition_time: since.or_else(|| Some(time(now))),
        });
    }
    NamespaceStatus { conditions: Some(conditions), ..before }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_and_what_it_waits_for_are_told() {
        let remaining = Remaining {
            objects: [("pods".to_owned(), 2), ("maps.example.com".to_owned(), 1)].into(),
            finalizers: [("test/keep".to_owned(), 1)].into(),
            ..Remaining::default()
        };
        let now = Timestamp::UNIX_EPOCH;
        let found = status(&Namespace::default(), &remaining, now);
        let told = |status: &NamespaceStatus, kind: &str| {
            let conditions = status.conditions.clone().unwrap_or_default();
            let found = conditions.into_iter().find(|condition| condition.type_ == kind);
            found.map(|found| (found.status, found.message.unwrap_or_default())).unwrap_or_default()
        };
        let text = "Some resources are remaining: maps.example.com has 1 resource instances, pods has 2 resource instances";
        assert_eq!(told(&found, "NamespaceContentRemaining"), ("True".into(), text.into()));
        let text =
            "Some content in the namespace has finalizers remaining: test/keep in 1 resource instances";
        assert_eq!(told(&found, "NamespaceFinalizersRemaining"), ("True".into(), text.into()));
        assert_eq!(told(&found, "NamespaceDeletionContentFailure").0, "False");
        let before = Namespace { status: Some(found.clone()), ..Namespace::default() };
        let later = now + jiff::SignedDuration::from_secs(5);
        assert_eq!(status(&before, &remaining, later), found, "the times stay while nothing changes");
    }
}

//! What an autoscaler's status says.

use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscalerCondition, HorizontalPodAutoscalerStatus};

use crate::time::time;

/// Sets a condition; its time stays while its status does.
pub(super) fn set(
    status: &mut HorizontalPodAutoscalerStatus,
    kind: &str,
    holds: bool,
    reason: &str,
    message: String,
    now: Timestamp,
) {
    let value = if holds { "True" } else { "False" };
    let conditions = status.conditions.get_or_insert_default();
    let at = conditions.iter().position(|condition| condition.type_ == kind);
    let since = at.filter(|at| conditions[*at].status == value);
    let since = since.and_then(|at| conditions[at].last_transition_time.clone());
    let new = HorizontalPodAutoscalerCondition {
        type_: kind.to_owned(),
        status: value.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_transition_time: since.or_else(|| Some(time(now))),
        ..HorizontalPodAutoscalerCondition::default()
    };
    match at {
        Some(at) => conditions[at] = new,
        None => conditions.push(new),
    }
}

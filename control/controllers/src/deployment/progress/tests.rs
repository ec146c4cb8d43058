use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus};
use serde_json::json;

use super::{Step, find, judge, next_look};
use crate::time::time;
use jiff::{SignedDuration, Timestamp};

fn deployment(paused: bool, before: &DeploymentStatus) -> Deployment {
    let mut deployment: Deployment = serde_json::from_value(json!({
        "metadata": {"name": "web", "generation": 1},
        "spec": {"replicas": 3, "paused": paused, "progressDeadlineSeconds": 60, "selector": {}, "template": {}},
    }))
    .unwrap();
    deployment.status = Some(before.clone());
    deployment
}

fn at(second: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second)
}

fn counts(before: &DeploymentStatus, updated: i32, all: i32, available: i32) -> DeploymentStatus {
    DeploymentStatus {
        updated_replicas: Some(updated),
        replicas: Some(all),
        available_replicas: Some(available),
        ready_replicas: Some(available),
        ..before.clone()
    }
}

/// Judges the next status, and gives it with what the condition says.
fn next(
    before: &DeploymentStatus,
    new: (i32, i32, i32),
    step: &Step,
    paused: bool,
    now: i64,
) -> (DeploymentStatus, String) {
    let mut status = counts(before, new.0, new.1, new.2);
    judge(&deployment(paused, before), &mut status, step, at(now));
    let told = find(status.conditions.as_deref().unwrap_or_default()).cloned().unwrap_or_default();
    let text = format!("{} {}", told.status.unwrap_or_default(), told.reason.unwrap_or_default());
    (status, text)
}

fn found() -> Step {
    Step::Found("web-1".to_owned())
}

#[test]
fn a_rollout_is_created_updated_and_available() {
    let (made, text) =
        next(&DeploymentStatus::default(), (0, 0, 0), &Step::Created("web-1".into()), false, 0);
    assert_eq!(text, "True NewReplicaSetCreated");
    let (moved, text) = next(&made, (3, 3, 1), &found(), false, 5);
    assert_eq!(text, "True ReplicaSetUpdated");
    let condition = find(moved.conditions.as_deref().unwrap()).unwrap();
    assert_eq!(condition.message.as_deref(), Some("ReplicaSet \"web-1\" is progressing."));
    assert_eq!(condition.last_update_time, Some(time(at(5))));
    assert_eq!(condition.last_transition_time, Some(time(at(0))));
    let (done, text) = next(&moved, (3, 3, 3), &found(), false, 9);
    assert_eq!(text, "True NewReplicaSetAvailable");
    // A pod that is lost later does not make the rollout one that is under way.
    let (_, text) = next(&done, (3, 3, 2), &found(), false, 500);
    assert_eq!(text, "True NewReplicaSetAvailable");
}

#[test]
fn standing_still_for_longer_than_the_deadline_is_told_until_something_moves() {
    let (stuck, text) = next(&DeploymentStatus::default(), (1, 1, 0), &found(), false, 0);
    assert_eq!(text, "True ReplicaSetUpdated");
    let wait = next_look(&deployment(false, &stuck), &stuck, at(20)).unwrap();
    assert_eq!(wait.as_secs(), 41);
    let (same, text) = next(&stuck, (1, 1, 0), &found(), false, 60);
    assert_eq!(text, "True ReplicaSetUpdated");
    let (late, text) = next(&same, (1, 1, 0), &found(), false, 61);
    assert_eq!(text, "False ProgressDeadlineExceeded");
    assert_eq!(next_look(&deployment(false, &late), &late, at(61)), None);
    let (moved, text) = next(&late, (1, 1, 1), &found(), false, 70);
    assert_eq!(text, "True ReplicaSetUpdated");
    let condition = find(moved.conditions.as_deref().unwrap()).unwrap();
    assert_eq!(condition.last_transition_time, Some(time(at(70))));
}

#[test]
fn a_paused_deployment_need_not_get_on_and_counts_anew_when_it_goes_on() {
    let (before, _) = next(&DeploymentStatus::default(), (1, 1, 0), &found(), false, 0);
    let (paused, text) = next(&before, (1, 1, 0), &found(), true, 10);
    assert_eq!(text, "Unknown DeploymentPaused");
    let (still, text) = next(&paused, (1, 1, 0), &found(), true, 5000);
    assert_eq!((text.as_str(), &still.conditions), ("Unknown DeploymentPaused", &paused.conditions));
    let (resumed, text) = next(&still, (1, 1, 0), &found(), false, 5001);
    assert_eq!(text, "Unknown DeploymentResumed");
    assert_eq!(next(&resumed, (1, 1, 0), &found(), false, 5050).1, "Unknown DeploymentResumed");
    assert_eq!(next(&resumed, (1, 1, 0), &found(), false, 5062).1, "False ProgressDeadlineExceeded");
}

#[test]
fn a_set_that_cannot_be_made_is_told_with_its_reason() {
    let step = Step::Failed { name: "web-1".to_owned(), why: "quota".to_owned() };
    let (status, text) = next(&DeploymentStatus::default(), (0, 0, 0), &step, false, 0);
    assert_eq!(text, "False FailedCreate");
    let told = find(status.conditions.as_deref().unwrap()).unwrap();
    assert_eq!(told.message.as_deref(), Some("Failed to create new replica set \"web-1\": quota"));
}

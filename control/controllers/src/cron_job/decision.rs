//! Which Job of a CronJob is due, and which go.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, CronJobStatus, Job, JobCondition};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::ObjectMeta;
use kube::{Resource as _, ResourceExt as _};

use super::schedule::Schedule;
use crate::job::conditions;
use crate::job::decision::Remark;
use crate::owner::{controller_reference, is_ending};
use crate::time::time;

const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";
/// How long after a time its Job is looked for, since clocks are never quite the same.
const SLACK: Duration = Duration::from_millis(100);

/// What to do, in this order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Decision {
    /// The names of the Jobs to delete.
    pub delete: Vec<String>,
    /// The Job to make.
    pub create: Option<Box<Job>>,
    /// The status to write then.
    pub status: CronJobStatus,
    /// When to look again though nothing happens.
    pub again: Option<Duration>,
    /// What to tell.
    pub remarks: Vec<Remark>,
}

impl Decision {
    fn remark(&mut self, warning: bool, reason: &str, note: String) {
        self.remarks.push(Remark { warning, reason: reason.to_owned(), note });
    }
}

/// Decides what to do, by the Jobs that the CronJob controls.
pub fn decide(cron: &CronJob, jobs: &[Job], now: Timestamp) -> Decision {
    let spec = &cron.spec;
    let mut decision = Decision { status: cron.status.clone().unwrap_or_default(), ..Decision::default() };
    observe(jobs, &mut decision);
    decision.delete = history(spec, jobs);
    if is_ending(cron) || spec.suspend.unwrap_or(false) {
        return decision;
    }
    let schedule = match Schedule::parse(&spec.schedule) {
        Ok(schedule) => schedule,
        Err(error) => {
            let note = format!("unparseable schedule: {:?} : {error}", spec.schedule);
            decision.remark(true, "UnparseableSchedule", note);
            return decision;
        }
    };
    let zone = match spec.time_zone.as_deref().map_or(Ok(TimeZone::UTC), TimeZone::get) {
        Ok(zone) => zone,
        Err(error) => {
            let name = spec.time_zone.as_deref().unwrap_or_default();
            decision.remark(true, "UnknownTimeZone", format!("invalid timeZone: {name:?} : {error}"));
            return decision;
        }
    };
    if let Some(due) = due(cron, &schedule, &zone, now, &mut decision) {
        start(cron, jobs, due, &zone, now, &mut decision);
    }
    if let Some(next) = schedule.next(now, &zone) {
        let wait = Duration::try_from(next.duration_since(now)).unwrap_or_default();
        decision.again = Some(wait + SLACK);
    }
    decision
}

/// Brings what the status says of the Jobs up to date.
fn observe(jobs: &[Job], decision: &mut Decision) {
    let before: Vec<String> =
        decision.status.active.iter().flatten().filter_map(|reference| reference.uid.clone()).collect();
    let mut active = Vec::new();
    for job in jobs {
        let Some(end) = end(job) else {
            active.push(reference(job));
            continue;
        };
        if job.uid().is_some_and(|uid| before.contains(&uid)) {
            let note = format!("Saw completed job: {}, condition: {}", job.name_any(), end.type_);
            decision.remark(false, "SawCompletedJob", note);
        }
        let done = job.status.as_ref().and_then(|status| status.completion_time.clone());
        let last = decision.status.last_successful_time.as_ref().map(|time| time.0);
        if let Some(done) = done.filter(|done| last.is_none_or(|last| last < done.0)) {
            decision.status.last_successful_time = Some(done);
        }
    }
    for gone in decision.status.active.clone().iter().flatten() {
        if !jobs.iter().any(|job| job.uid() == gone.uid) {
            let name = gone.name.as_deref().unwrap_or_default();
            decision.remark(false, "MissingJob", format!("Active job went missing: {name}"));
        }
    }
    decision.status.active = (!active.is_empty()).then_some(active);
}

fn end(job: &Job) -> Option<&JobCondition> {
    job.status.as_ref().and_then(conditions::end)
}

fn reference(job: &Job) -> ObjectReference {
    ObjectReference { resource_version: None, ..job.object_ref(&()) }
}

/// The last time that has come and whose Job was not begun.
fn due(
    cron: &CronJob,
    schedule: &Schedule,
    zone: &TimeZone,
    now: Timestamp,
    decision: &mut Decision,
) -> Option<Timestamp> {
    let last = cron.status.as_ref().and_then(|status| status.last_schedule_time.as_ref());
    let mut since = last.or(cron.metadata.creation_timestamp.as_ref())?.0;
    let deadline = cron.spec.starting_deadline_seconds;
    if let Some(deadline) = deadline {
        since = since.max(now.checked_sub(SignedDuration::from_secs(deadline)).unwrap_or(since));
    }
    let due = schedule.last(since, now, zone)?;
    if deadline.is_none() && schedule.many(since, now, zone) {
        let note =
            "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
        decision.remark(true, "TooManyMissedTimes", note.to_owned());
    }
    Some(due)
}

/// Makes the Job of a time that has come, if the others let it.
fn start(
    cron: &CronJob,
    jobs: &[Job],
    due: Timestamp,
    zone: &TimeZone,
    now: Timestamp,
    decision: &mut Decision,
) {
    let spec = &cron.spec;
    let late = now.duration_since(due).as_secs();
    if spec.starting_deadline_seconds.is_some_and(|deadline| late > deadline) {
        let note = format!("Missed scheduled time to start a job: {due}");
        return decision.remark(true, "MissSchedule", note);
    }
    let job = new_job(cron, due, zone);
    let begun = jobs.iter().any(|there| there.name_any() == job.name_any());
    if begun {
        // An earlier pass made it and could not write so.
        decision.status.last_schedule_time = Some(time(due));
        return;
    }
    let active: Vec<&Job> = jobs.iter().filter(|job| end(job).is_none()).collect();
    match spec.concurrency_policy.as_deref() {
        Some("Forbid") if !active.is_empty() => {
            let note = "Not starting job because prior execution is running and concurrency policy is Forbid";
            return decision.remark(false, "JobAlreadyActive", note.to_owned());
        }
        Some("Replace") => {
            let replaced = active.iter().map(|job| job.name_any());
            decision.delete.extend(replaced);
            decision.status.active = None;
        }
        _ => {}
    }
    decision.status.last_schedule_time = Some(time(due));
    decision.create = Some(Box::new(job));
}

fn new_job(cron: &CronJob, due: Timestamp, zone: &TimeZone) -> Job {
    let template = &cron.spec.job_template;
    let meta = template.metadata.clone().unwrap_or_default();
    let mut annotations = meta.annotations.unwrap_or_default();
    let local = due.to_zoned(zone.clone());
    let written = if *zone == TimeZone::UTC {
        due.to_string()
    } else {
        local.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
    };
    annotations.insert(SCHEDULED.to_owned(), written);
    Job {
        metadata: ObjectMeta {
            name: Some(format!("{}-{}", cron.name_any(), due.as_second().div_euclid(60))),
            namespace: cron.namespace(),
            labels: meta.labels,
            annotations: Some(annotations),
            owner_references: Some(vec![controller_reference(cron)]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        ..Job::default()
    }
}

/// The ended Jobs that history no longer keeps: the oldest above each limit.
fn history(spec: &CronJobSpec, jobs: &[Job]) -> Vec<String> {
    let mut surplus = Vec::new();
    for (kind, limit) in [
        (conditions::COMPLETE, spec.successful_jobs_history_limit.unwrap_or(3)),
        (conditions::FAILED, spec.failed_jobs_history_limit.unwrap_or(1)),
    ] {
        let keep = usize::try_from(limit).unwrap_or(0);
        let ended = |job: &&Job| !is_ending(*job) && end(job).is_some_and(|end| end.type_ == kind);
        let mut all: Vec<&Job> = jobs.iter().filter(ended).collect();
        all.sort_by_key(|job| {
            let started =
                job.status.as_ref().and_then(|status| status.start_time.as_ref().map(|time| time.0));
            (started, job.name_any())
        });
        let over = all.len().saturating_sub(keep);
        surplus.extend(all.into_iter().take(over).map(|job| job.name_any()));
    }
    surplus
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn cron(spec: Value, last: Option<&str>) -> CronJob {
        let mut cron = json!({
            "metadata": {"name": "tick", "namespace": "a", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {
                "schedule": "0 * * * *",
                "jobTemplate": {"metadata": {"labels": {"app": "tick"}}, "spec": {"template": {}}},
            },
            "status": {"lastScheduleTime": last},
        });
        for (key, value) in spec.as_object().unwrap() {
            cron["spec"][key] = value.clone();
        }
        serde_json::from_value(cron).unwrap()
    }

    fn job(name: &str, end: &str, start: &str) -> Job {
        let conditions = if end.is_empty() { json!([]) } else { json!([{"type": end, "status": "True"}]) };
        serde_json::from_value(json!({
            "metadata": {"name": name, "uid": name, "namespace": "a"},
            "status": {"conditions": conditions, "startTime": start},
        }))
        .unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn the_job_of_the_last_missed_time_is_made_once() {
        let decision = decide(&cron(json!({}), None), &[], at("2026-01-01T03:20:00Z"));
        let job = decision.create.unwrap();
        let minutes = at("2026-01-01T03:00:00Z").as_second() / 60;
        assert_eq!(job.name_any(), format!("tick-{minutes}"));
        assert_eq!(job.annotations()[SCHEDULED], "2026-01-01T03:00:00Z");
        assert_eq!((&*job.labels()["app"], &*job.owner_references()[0].uid), ("tick", "u"));
        assert_eq!(decision.again, Some(Duration::from_secs(40 * 60) + SLACK));
        assert_eq!(decision.status.last_schedule_time, Some(time(at("2026-01-01T03:00:00Z"))));
        let later = decide(&cron(json!({}), Some("2026-01-01T03:00:00Z")), &[], at("2026-01-01T03:20:00Z"));
        assert_eq!(later.create, None);
        // The Job was made, and the status could not be written.
        let again = decide(&cron(json!({}), None), &[*job], at("2026-01-01T03:20:00Z"));
        assert_eq!(
            (again.create, again.status.last_schedule_time),
            (None, Some(time(at("2026-01-01T03:00:00Z"))))
        );
    }

    #[test]
    fn a_schedule_follows_its_time_zone() {
        let spec = json!({"schedule": "0 9 * * *", "timeZone": "Asia/Tokyo"});
        let decision = decide(&cron(spec, Some("2026-01-01T00:00:00Z")), &[], at("2026-01-02T00:00:05Z"));
        assert_eq!(decision.create.unwrap().annotations()[SCHEDULED], "2026-01-02T09:00:00+09:00");
        let unknown = decide(&cron(json!({"timeZone": "Mars/Base"}), None), &[], at("2026-01-02T00:00:05Z"));
        assert_eq!((unknown.create, &*unknown.remarks[0].reason), (None, "UnknownTimeZone"));
    }

    #[test]
    fn policies_say_what_happens_while_a_job_still_runs() {
        let running = [job("tick-1", "", "2026-01-01T02:00:00Z")];
        let now = at("2026-01-01T03:00:01Z");
        let with = |policy: &str| {
            decide(&cron(json!({"concurrencyPolicy": policy}), Some("2026-01-01T02:00:00Z")), &running, now)
        };
        let allowed = with("Allow");
        assert!(allowed.create.is_some() && allowed.delete.is_empty());
        let forbidden = with("Forbid");
        assert_eq!((forbidden.create.is_none(), &*forbidden.remarks[0].reason), (true, "JobAlreadyActive"));
        assert_eq!(
            forbidden.status.last_schedule_time,
            Some(time(at("2026-01-01T02:00:00Z"))),
            "it is still due"
        );
        let replaced = with("Replace");
        assert_eq!((replaced.create.is_some(), replaced.delete), (true, vec!["tick-1".to_owned()]));
    }

    #[test]
    fn a_job_that_is_too_late_is_not_begun() {
        let spec = json!({"startingDeadlineSeconds": 60});
        let late = decide(&cron(spec.clone(), None), &[], at("2026-01-01T03:01:30Z"));
        assert_eq!(late.create, None);
        assert!(decide(&cron(spec, None), &[], at("2026-01-01T03:00:30Z")).create.is_some());
        let suspended = decide(&cron(json!({"suspend": true}), None), &[], at("2026-01-01T03:00:30Z"));
        assert_eq!((suspended.create, suspended.again), (None, None));
        let many = decide(&cron(json!({"schedule": "* * * * *"}), None), &[], at("2026-01-01T03:00:30Z"));
        assert_eq!(many.remarks[0].reason, "TooManyMissedTimes");
        assert!(many.create.is_some(), "the last of them is begun all the same");
    }

    #[test]
    fn history_keeps_the_newest_ended_jobs_and_the_active_ones() {
        let jobs: Vec<Job> = (0..5)
            .map(|hour| job(&format!("good-{hour}"), "Complete", &format!("2026-01-01T0{hour}:00:00Z")))
            .chain([
                job("bad-0", "Failed", "2026-01-01T00:30:00Z"),
                job("bad-1", "Failed", "2026-01-01T01:30:00Z"),
                job("runs", "", "2026-01-01T00:00:00Z"),
            ])
            .collect();
        let decision = decide(&cron(json!({"suspend": true}), None), &jobs, at("2026-01-01T06:00:00Z"));
        assert_eq!(decision.delete, ["good-0", "good-1", "bad-0"]);
        let active = decision.status.active.unwrap();
        assert_eq!((active.len(), active[0].name.as_deref()), (1, Some("runs")));
    }
}

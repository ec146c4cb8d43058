//! How far a proposal is followed: not further than the user allows at a time, and not back and forth.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::autoscaling::v2::{HPAScalingRules, HorizontalPodAutoscaler};

/// For how long the highest proposal counts before pods go, where the user does not say.
const STEADY: i32 = 300;

/// What happened lately. It is kept in memory: after a restart the autoscaler is as careful as at its beginning.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    proposals: Vec<(Timestamp, i32)>,
    changes: Vec<(Timestamp, i32)>,
}

/// What came of a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limited {
    /// The number to set.
    pub replicas: i32,
    /// Why recent proposals count in its place, if they do: whether pods were to go.
    pub steadied: Option<bool>,
    /// Which limit it met: a reason and a text.
    pub limit: Option<(&'static str, &'static str)>,
}

impl History {
    /// Notes a change of size.
    pub fn note_change(&mut self, now: Timestamp, change: i32) {
        self.changes.push((now, change));
    }

    /// Follows a proposal as far as is allowed.
    pub fn limit(
        &mut self,
        scaler: &HorizontalPodAutoscaler,
        current: i32,
        proposed: i32,
        now: Timestamp,
    ) -> Limited {
        let behavior = scaler.spec.behavior.as_ref();
        let up = behavior.and_then(|behavior| behavior.scale_up.as_ref());
        let down = behavior.and_then(|behavior| behavior.scale_down.as_ref());
        let window = |rules: Option<&HPAScalingRules>, usual: i32| {
            let seconds = rules.and_then(|rules| rules.stabilization_window_seconds).unwrap_or(usual);
            SignedDuration::from_secs(i64::from(seconds))
        };
        let (up_window, down_window) = (window(up, 0), window(down, STEADY));
        self.proposals.push((now, proposed));
        let oldest = up_window.max(down_window).max(SignedDuration::from_secs(1));
        self.proposals.retain(|(at, _)| now.duration_since(*at) <= oldest);
        self.changes.retain(|(at, _)| now.duration_since(*at) <= SignedDuration::from_secs(1800));
        let within = |window: SignedDuration| {
            self.proposals
                .iter()
                .filter(move |(at, _)| now.duration_since(*at) <= window)
                .map(|(_, own)| *own)
        };
        let least_up = within(up_window).min().unwrap_or(proposed).min(proposed);
        let most_down = within(down_window).max().unwrap_or(proposed).max(proposed);
        let steady = if current < least_up { least_up } else { current.min(most_down) };
        let steadied = (steady != proposed).then_some(proposed < current);

        let least = scaler.spec.min_replicas.unwrap_or(1);
        let most = scaler.spec.max_replicas;
        let (replicas, limit) = if steady > current {
            let rate = self.most_up(up, behavior.is_some(), current, now);
            let highest = rate.max(current).min(most);
            let limit = if steady <= highest {
                None
            } else if rate >= most {
                Some(("TooManyReplicas", "the desired replica count is more than the maximum replica count"))
            } else {
                Some((
                    "ScaleUpLimit",
                    "the desired replica count is increasing faster than the maximum scale rate",
                ))
            };
            (steady.min(highest), limit)
        } else if steady < current {
            let rate = self.least_down(down, current, now);
            let lowest = rate.min(current).max(least);
            let limit = if steady >= lowest {
                None
            } else if rate <= least {
                Some(("TooFewReplicas", "the desired replica count is less than the minimum replica count"))
            } else {
                Some((
                    "ScaleDownLimit",
                    "the desired replica count is decreasing faster than the maximum scale rate",
                ))
            };
            (steady.max(lowest), limit)
        } else {
            (steady, None)
        };
        let bounded = replicas.clamp(least.min(most), most);
        let limit = if bounded < replicas {
            Some(("TooManyReplicas", "the desired replica count is more than the maximum replica count"))
        } else if bounded > replicas {
            Some(("TooFewReplicas", "the desired replica count is less than the minimum replica count"))
        } else {
            limit
        };
        Limited { replicas: bounded, steadied, limit }
    }

    /// By how much the size changed in the last seconds, in one direction.
    fn changed(&self, seconds: i32, grown: bool, now: Timestamp) -> i32 {
        let period = SignedDuration::from_secs(i64::from(seconds));
        let recent = self.changes.iter().filter(|(at, _)| now.duration_since(*at) <= period);
        let changes = recent.map(|(_, change)| *change).filter(|change| (*change > 0) == grown);
        changes.fold(0, i32::saturating_add)
    }

    /// The most that the policies allow.
    fn most_up(
        &self,
        rules: Option<&HPAScalingRules>,
        by_policies: bool,
        current: i32,
        now: Timestamp,
    ) -> i32 {
        if !by_policies {
            return current.saturating_mul(2).max(4);
        }
        let policies = rules.and_then(|rules| rules.policies.clone()).unwrap_or_default();
        let mut bounds: Vec<i32> = policies
            .iter()
            .map(|policy| {
                let before = current.saturating_sub(self.changed(policy.period_seconds, true, now));
                match policy.type_.as_str() {
                    "Pods" => before.saturating_add(policy.value),
                    _ => percent_up(before, policy.value),
                }
            })
            .collect();
        if policies.is_empty() {
            let before = current.saturating_sub(self.changed(15, true, now));
            bounds = vec![before.saturating_add(4), percent_up(before, 100)];
        }
        match rules.and_then(|rules| rules.select_policy.as_deref()) {
            Some("Disabled") => current,
            Some("Min") => bounds.into_iter().min().unwrap_or(current),
            _ => bounds.into_iter().max().unwrap_or(current),
        }
    }

    /// The least that the policies allow.
    fn least_down(&self, rules: Option<&HPAScalingRules>, current: i32, now: Timestamp) -> i32 {
        let Some(rules) = rules else { return 0 };
        let bounds = rules.policies.iter().flatten().map(|policy| {
            let before = current.saturating_sub(self.changed(policy.period_seconds, false, now));
            match policy.type_.as_str() {
                "Pods" => before.saturating_sub(policy.value),
                _ => {
                    let part = i64::from(before) * i64::from(100 - policy.value.clamp(0, 100)) / 100;
                    i32::try_from(part).unwrap_or(0)
                }
            }
        });
        match rules.select_policy.as_deref() {
            Some("Disabled") => current,
            // The policy that changes least keeps most.
            Some("Min") => bounds.max().unwrap_or(0),
            _ => bounds.min().unwrap_or(0),
        }
    }
}

fn percent_up(before: i32, percent: i32) -> i32 {
    let hundredths = i64::from(before).saturating_mul(100 + i64::from(percent));
    i32::try_from(hundredths.saturating_add(99) / 100).unwrap_or(i32::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn scaler(behavior: Value) -> HorizontalPodAutoscaler {
        serde_json::from_value(json!({
            "metadata": {"name": "web"},
            "spec": {"minReplicas": 2, "maxReplicas": 20, "scaleTargetRef": {"kind": "Deployment", "name": "web"}, "behavior": behavior},
        }))
        .unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    #[test]
    fn a_proposal_is_followed_within_the_users_bounds() {
        let scaler = scaler(json!(null));
        let limited = |current, proposed| History::default().limit(&scaler, current, proposed, at(0));
        assert_eq!(limited(4, 6), Limited { replicas: 6, steadied: None, limit: None });
        assert_eq!((limited(4, 15).replicas, limited(4, 15).limit.unwrap().0), (8, "ScaleUpLimit"));
        assert_eq!((limited(15, 40).replicas, limited(15, 40).limit.unwrap().0), (20, "TooManyReplicas"));
        assert_eq!((limited(4, 1).replicas, limited(4, 1).limit.unwrap().0), (2, "TooFewReplicas"));
        assert_eq!(limited(30, 30).replicas, 20);
        assert_eq!(limited(1, 1).replicas, 2);
    }

    #[test]
    fn pods_go_only_when_fewer_would_have_done_for_a_while() {
        let scaler = scaler(json!(null));
        let mut history = History::default();
        assert_eq!(history.limit(&scaler, 8, 8, at(0)).replicas, 8);
        let held = history.limit(&scaler, 8, 3, at(100));
        assert_eq!((held.replicas, held.steadied), (8, Some(true)));
        assert_eq!(history.limit(&scaler, 8, 5, at(200)).replicas, 8);
        assert_eq!(history.limit(&scaler, 8, 3, at(301)).replicas, 5, "the highest of the last five minutes");
        let quick = self::scaler(json!({"scaleDown": {"stabilizationWindowSeconds": 0}}));
        assert_eq!(history.limit(&quick, 8, 3, at(302)).replicas, 3);
    }

    #[test]
    fn policies_limit_the_change_in_a_period() {
        let policies = json!([
            {"type": "Pods", "value": 2, "periodSeconds": 60}, {"type": "Percent", "value": 10, "periodSeconds": 60},
        ]);
        let most = scaler(json!({"scaleUp": {"policies": policies}}));
        let mut history = History::default();
        assert_eq!(history.limit(&most, 10, 20, at(0)).replicas, 12);
        history.note_change(at(0), 2);
        assert_eq!(history.limit(&most, 12, 20, at(30)).replicas, 12);
        assert_eq!(history.limit(&most, 12, 20, at(61)).replicas, 14);
        let least = scaler(json!({"scaleUp": {"policies": policies, "selectPolicy": "Min"}}));
        assert_eq!(History::default().limit(&least, 10, 20, at(0)).replicas, 11);
        let down = json!({"scaleDown": {"stabilizationWindowSeconds": 0, "policies": policies}});
        assert_eq!(History::default().limit(&scaler(down), 10, 2, at(0)).replicas, 8);
        let never = json!({"scaleDown": {"stabilizationWindowSeconds": 0, "selectPolicy": "Disabled"}});
        assert_eq!(History::default().limit(&scaler(never), 10, 2, at(0)).replicas, 10);
    }
}

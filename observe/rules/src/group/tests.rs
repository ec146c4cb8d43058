use std::cell::RefCell;
use std::collections::BTreeMap;

use xebec_promql::engine::{Cancellation, Engine};
use xebec_promql::matcher::Matcher;
use xebec_promql::memory::MemoryStorage;
use xebec_promql::parser::ParserOptions;
use xebec_promql::storage::{SelectHints, Selection, Storage, StorageError, StoredSample};
use xebec_promql::value::Value;

use super::*;
use crate::alert::{Alert, Nobody, State};
use crate::file::UnknownFields;
use crate::rule::Context;
use crate::storage::Appender;

#[derive(Default)]
struct Memories(RefCell<MemoryStorage>);

struct Reader<'m>(std::cell::Ref<'m, MemoryStorage>);

impl Storage for Reader<'_> {
    fn select(&self, hints: &SelectHints, matchers: &[Matcher]) -> Result<Selection<'_>, StorageError> {
        self.0.select(hints, matchers)
    }
}

struct Writer<'m>(&'m Memories, Vec<(Labels, StoredSample)>);

impl Appender for Writer<'_> {
    fn append(&mut self, labels: &Labels, time: i64, value: &SampleValue) -> Result<(), AppendError> {
        self.1.push((labels.clone(), StoredSample { time, start_time: 0, value: value.clone() }));
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<(), AppendError> {
        for (labels, sample) in self.1 {
            self.0.0.borrow_mut().append(&labels, sample);
        }
        Ok(())
    }
}

impl Store for Memories {
    fn reader(&self) -> Box<dyn Storage + '_> {
        Box::new(Reader(self.0.borrow()))
    }

    fn appender(&self) -> Box<dyn Appender + '_> {
        Box::new(Writer(self, Vec::new()))
    }
}

impl Memories {
    fn put(&self, name: &str, labels: &[(&str, &str)], time: i64, value: f64) {
        let mut all = vec![xebec_promql::labels::Label::new("__name__", name)];
        all.extend(labels.iter().map(|(name, value)| xebec_promql::labels::Label::new(*name, *value)));
        self.0.borrow_mut().append_float(&Labels::new(all), time, value);
    }

    fn ask(&self, query: &str, time: i64) -> Vec<(String, f64)> {
        let storage = self.0.borrow();
        let outcome = Engine::default().instant(&*storage, query, time, &Cancellation::default()).unwrap();
        let Value::Vector(_, samples) = outcome.value else { panic!("a vector") };
        let mut found: Vec<_> =
            samples.iter().map(|sample| (sample.labels.to_string(), sample.value)).collect();
        found.sort_by(|one, two| one.0.cmp(&two.0));
        found
    }

    fn evaluate(&self, group: &Group, time: i64) {
        let (engine, cancellation, labels) = (Engine::default(), Cancellation::default(), BTreeMap::new());
        let context = Context {
            engine: &engine,
            store: self,
            cancellation: &cancellation,
            external_url: "http://x",
            external_labels: &labels,
        };
        let round = Round {
            context: &context,
            notifier: &Nobody,
            clock: &|| 0,
            query_offset: 0,
            resend_delay: MINUTE,
        };
        group.evaluate(&round, time, 0);
    }
}

const MINUTE: i64 = 60_000;

fn group(rules: &str, restores: bool) -> Group {
    let text = format!("groups:\n- name: g\n  limit: 3\n  rules:\n{rules}");
    let read = file::parse(&text, UnknownFields::Refused, ParserOptions::default()).unwrap();
    Group::new("f.yml", &read[0], MINUTE, restores).unwrap()
}

fn alert_of(group: &Group) -> Option<Alert> {
    group.rules.iter().find_map(Rule::alerting)?.active().into_iter().next()
}

#[test]
fn later_rules_see_what_earlier_ones_wrote_and_series_that_vanish_end() {
    let store = Memories::default();
    let group = group(
        "  - record: a\n    expr: up * 2\n    labels: {x: y}\n  - record: b\n    expr: sum(a)\n",
        false,
    );
    store.put("up", &[("job", "j")], 0, 1.0);
    store.evaluate(&group, 0);
    assert_eq!(store.ask("a", 0), [(r#"{__name__="a", job="j", x="y"}"#.to_owned(), 2.0)]);
    assert_eq!(store.ask("b", 0)[0].1, 2.0);
    store.evaluate(&group, 6 * MINUTE);
    assert!(store.ask("a or b", 6 * MINUTE).is_empty());
    let status = group.status();
    assert_eq!((status.iterations, status.evaluations, status.failures, status.samples), (2, 4, 0, 0));
}

#[test]
fn a_limit_and_equal_labels_are_errors() {
    let store = Memories::default();
    let group =
        group("  - record: a\n    expr: up\n  - record: b\n    expr: up\n    labels: {job: same}\n", false);
    for job in ["1", "2", "3", "4"] {
        store.put("up", &[("job", job)], 0, 1.0);
    }
    store.evaluate(&group, 0);
    let error = |at: usize| group.rules[at].status().error.unwrap();
    assert_eq!(error(0), "exceeded limit of 3 with 4 series");
    assert_eq!(error(1), "vector contains metrics with the same labelset after applying rule labels");
    assert_eq!((group.rules[0].status().health, group.status().failures), (Health::Bad, 2));
}

const ALERT: &str = "  - alert: Down\n    expr: up == 0\n    for: 20m\n    labels: {severity: '{{ $labels.job }}!'}\n    \
                     annotations: {summary: '{{ $value }} of {{ $labels.job }}'}\n";

#[test]
fn alerts_are_written_as_series() {
    let store = Memories::default();
    let group = group(ALERT, false);
    for minute in 0..25 {
        store.put("up", &[("job", "j")], minute * MINUTE, 0.0);
        store.evaluate(&group, minute * MINUTE);
    }
    let expected = r#"{__name__="ALERTS", alertname="Down", alertstate="firing", job="j", severity="j!"}"#;
    assert_eq!(store.ask("ALERTS", 24 * MINUTE), [(expected.to_owned(), 1.0)]);
    assert_eq!(store.ask("ALERTS_FOR_STATE", 24 * MINUTE)[0].1, 0.0);
    let alert = alert_of(&group).unwrap();
    assert_eq!((alert.state, alert.fired_at), (State::Firing, Some(20 * MINUTE)));
    assert_eq!(alert.annotations["summary"], "0 of j");
}

#[test]
fn a_restart_forgets_nothing_of_pending_alerts() {
    let store = Memories::default();
    let before = group(ALERT, false);
    for minute in 0..5 {
        store.put("up", &[("job", "j")], minute * MINUTE, 0.0);
        store.evaluate(&before, minute * MINUTE);
    }
    // Four minutes of twenty have passed; then ten without us.
    let after = group(ALERT, true);
    for minute in [14, 15] {
        store.put("up", &[("job", "j")], minute * MINUTE, 0.0);
        store.evaluate(&after, minute * MINUTE);
    }
    assert_eq!(store.ask("ALERTS_FOR_STATE", 15 * MINUTE), []);
    after.restore(&store, 15 * MINUTE, Restoring::default()).unwrap();
    assert_eq!(alert_of(&after).unwrap().active_at, 11 * MINUTE);
    store.evaluate(&after, 16 * MINUTE);
    assert_eq!(store.ask("ALERTS_FOR_STATE", 16 * MINUTE)[0].1, 660.0);
    // An outage over the tolerance is not bridged.
    let late = group(ALERT, true);
    store.put("up", &[("job", "j")], 120 * MINUTE, 0.0);
    store.evaluate(&late, 120 * MINUTE);
    late.restore(&store, 120 * MINUTE, Restoring::default()).unwrap();
    assert_eq!(alert_of(&late).unwrap().active_at, 120 * MINUTE);
}

#[test]
fn a_group_that_changes_keeps_what_its_rules_knew() {
    let store = Memories::default();
    let before = group(&format!("  - record: a\n    expr: up\n{ALERT}"), false);
    store.put("up", &[("job", "j")], 0, 0.0);
    store.evaluate(&before, 0);
    let after = group(&ALERT.replace("20m", "30m"), false);
    assert!(
        !before.is_same(&after)
            && before.is_same(&group(&format!("  - record: a\n    expr: up\n{ALERT}"), true))
    );
    after.copy_state(&before);
    store.put("up", &[("job", "j")], MINUTE, 0.0);
    store.evaluate(&after, MINUTE);
    assert_eq!(alert_of(&after).unwrap().active_at, 0);
    // The rule that is gone leaves no series.
    assert!(store.ask("a", MINUTE).is_empty() && !store.ask("ALERTS", MINUTE).is_empty());
    after.end_series(&store, 2 * MINUTE).unwrap();
    assert!(store.ask("ALERTS", 2 * MINUTE).is_empty());
}

use super::*;

const MINUTE: i64 = 60_000;
const HOLDING: Holding = Holding { hold: 2 * MINUTE, keep_firing: 0 };

fn found(time: i64) -> BTreeMap<Labels, Alert> {
    let labels = Labels::from_pairs([(ALERT_NAME, "A")]);
    [(labels.clone(), Alert::new(labels, BTreeMap::new(), 1.0, time))].into()
}

#[test]
fn an_alert_is_pending_then_fires_and_is_kept_when_it_is_resolved() {
    let mut alerts = Alerts::default();
    for (minute, state, active) in [(0, State::Pending, 1), (1, State::Pending, 1), (2, State::Firing, 1)] {
        assert_eq!(alerts.update(found(minute * MINUTE), minute * MINUTE, HOLDING), active);
        assert_eq!(alerts.state(), state);
    }
    assert_eq!(alerts.active()[0].fired_at, Some(2 * MINUTE));
    assert_eq!(alerts.update(BTreeMap::new(), 3 * MINUTE, HOLDING), 0);
    assert_eq!((alerts.state(), alerts.active().len(), alerts.samples().len()), (State::Inactive, 0, 0));
    assert_eq!(alerts.due(3 * MINUTE, MINUTE, MINUTE).len(), 1);
    alerts.update(BTreeMap::new(), 18 * MINUTE, HOLDING);
    assert_eq!(alerts.due(18 * MINUTE, MINUTE, MINUTE).len(), 1);
    alerts.update(BTreeMap::new(), 18 * MINUTE + 1, HOLDING);
    assert_eq!(alerts.due(30 * MINUTE, MINUTE, MINUTE).len(), 0);
}

#[test]
fn a_pending_alert_that_ends_is_forgotten() {
    let mut alerts = Alerts::default();
    alerts.update(found(0), 0, HOLDING);
    alerts.update(BTreeMap::new(), MINUTE, HOLDING);
    assert!(alerts.active.is_empty());
}

#[test]
fn an_alert_may_be_kept_firing() {
    let mut alerts = Alerts::default();
    let holding = Holding { hold: 0, keep_firing: 2 * MINUTE };
    alerts.update(found(0), 0, holding);
    for minute in [1, 2] {
        assert_eq!(alerts.update(BTreeMap::new(), minute * MINUTE, holding), 1);
        assert_eq!(alerts.active()[0].keep_firing_since, Some(MINUTE));
    }
    assert_eq!(alerts.update(BTreeMap::new(), 3 * MINUTE, holding), 0);
    // One that is found again in between is firing as before.
    alerts.update(found(4 * MINUTE), 4 * MINUTE, holding);
    alerts.update(BTreeMap::new(), 5 * MINUTE, holding);
    alerts.update(found(6 * MINUTE), 6 * MINUTE, holding);
    assert_eq!(alerts.active()[0].keep_firing_since, None);
}

#[test]
fn alerts_are_told_again_after_a_while_and_stay_valid_longer() {
    let mut alerts = Alerts::default();
    let holding = Holding { hold: 0, keep_firing: 0 };
    alerts.update(found(0), 0, holding);
    let sent = alerts.due(0, MINUTE, 2 * MINUTE);
    assert_eq!(sent[0].valid_until, Some(8 * MINUTE));
    assert!(alerts.due(MINUTE, MINUTE, MINUTE).is_empty());
    assert_eq!(alerts.due(MINUTE + 1, MINUTE, MINUTE).len(), 1);
}

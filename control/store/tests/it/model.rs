//! The store against a plain map of histories: whatever is done to both, they show the same.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*, sample::Index};
use xebec_store::{Entry, Error, Event, EventKind, ListRequest, Op, Options, Revision, Store};

const KEYS: [&str; 6] = ["a", "a/1", "a/2", "b/1", "b/2", "c"];
const PREFIXES: [&str; 5] = ["", "a", "a/", "b/", "none"];

#[derive(Debug, Clone)]
enum Change {
    Create(usize, u8),
    /// Whether the expected revision is the right one.
    Update(usize, u8, bool),
    Delete(usize, Option<bool>),
}

#[derive(Debug, Clone)]
enum Step {
    Transact(Vec<Change>),
    /// At a revision somewhere from none to the newest.
    Compact(Index),
    Reopen,
}

fn change() -> impl Strategy<Value = Change> {
    let key = 0..KEYS.len();
    prop_oneof![
        (key.clone(), any::<u8>()).prop_map(|(key, value)| Change::Create(key, value)),
        (key.clone(), any::<u8>(), prop::bool::weighted(0.9))
            .prop_map(|(key, value, right)| Change::Update(key, value, right)),
        (key, prop::option::of(prop::bool::weighted(0.9)))
            .prop_map(|(key, expected)| Change::Delete(key, expected)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => vec(change(), 1..2).prop_map(Step::Transact),
        8 => vec(change(), 1..5).prop_map(Step::Transact),
        1 => any::<Index>().prop_map(Step::Compact),
        1 => Just(Step::Reopen),
    ]
}

type State = BTreeMap<String, Entry>;

#[derive(Debug)]
struct Model {
    /// The whole key space at every revision.
    states: Vec<State>,
    events: Vec<Event>,
    compacted: u64,
}

impl Model {
    fn newest(&self) -> &State {
        self.states.last().unwrap()
    }

    fn resolve(&self, change: &Change) -> Op {
        let modified = |key: usize| self.newest().get(KEYS[key]).map_or(Revision(1), |entry| entry.modified);
        let expected = |key, right| if right { modified(key) } else { Revision(modified(key).0 + 1) };
        match *change {
            Change::Create(key, value) => Op::Create { key: KEYS[key].into(), value: vec![value].into() },
            Change::Update(key, value, right) => Op::Update {
                key: KEYS[key].into(),
                value: vec![value].into(),
                expected: expected(key, right),
            },
            Change::Delete(key, right) => {
                Op::Delete { key: KEYS[key].into(), expected: right.map(|right| expected(key, right)) }
            }
        }
    }

    fn transact(&mut self, mut ops: Vec<Op>) -> Result<Revision, Error> {
        let twice = |at: &usize| ops[..*at].iter().any(|op| op.key() == ops[*at].key());
        if let Some(at) = (0..ops.len()).find(twice) {
            let reason = format!("it changes key {:?} twice; change each key once", ops[at].key());
            return Err(Error::Transaction { reason });
        }
        ops.sort_by(|left, right| left.key().cmp(right.key()));
        let mut state = self.newest().clone();
        let revision = Revision(self.states.len() as u64);
        let mut events = Vec::new();
        for op in ops {
            let previous = state.get(op.key()).cloned();
            let key = op.key().to_owned();
            let (value, wanted) = match (op, &previous) {
                (Op::Create { .. }, Some(there)) => {
                    return Err(Error::Exists { key, current: there.modified });
                }
                (Op::Create { value, .. }, None) => (Some(value), None),
                (_, None) => return Err(Error::NotFound { key }),
                (Op::Update { value, expected, .. }, Some(_)) => (Some(value), Some(expected)),
                (Op::Delete { expected, .. }, Some(_)) => (None, expected),
            };
            if let (Some(expected), Some(there)) = (wanted, &previous)
                && expected != there.modified
            {
                return Err(Error::Conflict { key, expected, actual: there.modified });
            }
            let kind = match value {
                Some(value) => {
                    let created = previous.as_ref().map_or(revision, |entry| entry.created);
                    let version = previous.as_ref().map_or(1, |entry| entry.version + 1);
                    let entry =
                        Entry { key: key.as_str().into(), value, created, modified: revision, version };
                    state.insert(key.clone(), entry.clone());
                    EventKind::Put { entry }
                }
                None => EventKind::Delete { last: state.remove(&key).unwrap() },
            };
            events.push(Event { revision, key: key.into(), kind, previous });
        }
        self.states.push(state);
        self.events.extend(events);
        Ok(revision)
    }

    fn check(&self, store: &Store) {
        let newest = self.states.len() as u64 - 1;
        assert_eq!(store.revision(), Revision(newest));
        assert_eq!(store.compacted(), Revision(self.compacted));
        for revision in (0..=newest + 1).map(Revision) {
            let reach = if revision.0 < self.compacted {
                Err(Error::Compacted { requested: revision, oldest: Revision(self.compacted) })
            } else if revision.0 > newest {
                Err(Error::Future { requested: revision, current: Revision(newest) })
            } else {
                Ok(())
            };
            let state = self.states.get(revision.0 as usize);
            for key in KEYS {
                let wanted = reach.clone().map(|()| state.and_then(|state| state.get(key)).cloned());
                assert_eq!(store.get_at(key, revision), wanted);
            }
            for prefix in PREFIXES {
                let request = ListRequest { prefix, at: Some(revision), ..Default::default() };
                let wanted = reach.clone().map(|()| {
                    let state = state.into_iter().flatten().filter(|(key, _)| key.starts_with(prefix));
                    state.map(|(_, entry)| entry.clone()).collect::<Vec<_>>()
                });
                assert_eq!(store.list(&request).map(|page| page.items), wanted);
                let watch = store.watch(prefix, Some(revision)).map(|mut watch| {
                    let events = std::iter::from_fn(|| watch.try_next().unwrap());
                    events.map(|event| (*event).clone()).collect::<Vec<_>>()
                });
                let wanted = reach.clone().map(|()| {
                    let after = self.events.iter().filter(|event| event.revision > revision);
                    after.filter(|event| event.key.starts_with(prefix)).cloned().collect::<Vec<_>>()
                });
                assert_eq!(watch, wanted);
            }
        }
    }
}

async fn run(steps: Vec<Step>) {
    let directory = tempfile::tempdir().unwrap();
    let open = || Store::open(directory.path(), &Options::default()).unwrap();
    let mut store = open();
    let mut model = Model { states: vec![State::new()], events: Vec::new(), compacted: 0 };
    for step in steps {
        match step {
            Step::Transact(changes) => {
                let ops: Vec<Op> = changes.iter().map(|change| model.resolve(change)).collect();
                assert_eq!(store.transact(ops.clone()).await, model.transact(ops));
            }
            Step::Compact(at) => {
                let to = at.index(model.states.len()) as u64;
                let answer = store.compact(Revision(to)).await;
                if to < model.compacted {
                    assert!(matches!(answer, Err(Error::Compacted { .. })), "{answer:?}");
                } else {
                    assert_eq!(answer, Ok(()));
                    model.compacted = to;
                }
            }
            Step::Reopen => {
                model.check(&store);
                store.close().await;
                store = open();
            }
        }
        model.check(&store);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_shows_what_a_map_of_histories_shows(steps in vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(run(steps));
    }
}

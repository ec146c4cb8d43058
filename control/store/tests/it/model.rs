use std::collections::BTreeMap;

use proptest::prelude::*;
use xebec_store::{Error, ListRequest, Op, Options, Revision, Store};

#[derive(Debug, Clone)]
enum Step {
    Create(u8, u8),
    Update(u8, u8, bool),
    Delete(u8, bool),
    Both(u8, u8),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..6u8;
    prop_oneof![
        4 => (key.clone(), any::<u8>()).prop_map(|(key, value)| Step::Create(key, value)),
        4 => (key.clone(), any::<u8>(), any::<bool>()).prop_map(|(key, value, stale)| Step::Update(key, value, stale)),
        3 => (key.clone(), any::<bool>()).prop_map(|(key, stale)| Step::Delete(key, stale)),
        2 => (key.clone(), key).prop_map(|(from, to)| Step::Both(from, to)),
        1 => Just(Step::Reopen),
    ]
}

type State = BTreeMap<String, (Vec<u8>, u64)>;

/// Every state there was, by revision.
#[derive(Default)]
struct Model {
    history: Vec<State>,
}

impl Model {
    fn now(&self) -> State {
        self.history.last().cloned().unwrap_or_default()
    }
}

fn name(key: u8) -> String {
    format!("k/{key}")
}

async fn check(store: &Store, model: &Model) {
    assert_eq!(store.revision().0 as usize, model.history.len());
    for (at, state) in std::iter::once(&State::new()).chain(&model.history).enumerate() {
        let request = ListRequest { prefix: "k/", at: Some(Revision(at as u64)), ..Default::default() };
        let page = store.list(&request).unwrap();
        let found: State = page
            .items
            .iter()
            .map(|entry| (entry.key.to_string(), (entry.value.to_vec(), entry.modified.0)))
            .collect();
        assert_eq!(&found, state, "at revision {at}");
    }
}

async fn run(steps: Vec<Step>) {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(directory.path(), Options::default()).unwrap();
    let mut model = Model::default();
    for step in steps {
        let mut state = model.now();
        let next = model.history.len() as u64 + 1;
        let outcome = match step {
            Step::Reopen => {
                store.close().await;
                drop(store);
                store = Store::open(directory.path(), Options::default()).unwrap();
                check(&store, &model).await;
                continue;
            }
            Step::Create(key, value) => {
                let expected = !state.contains_key(&name(key));
                state.entry(name(key)).or_insert((vec![value], next));
                (store.create(name(key), vec![value].into()).await.map(|_| ()), expected)
            }
            Step::Update(key, value, stale) => {
                let at = state.get(&name(key)).map_or(0, |(_, at)| *at);
                let expected = at != 0 && !stale;
                if expected {
                    state.insert(name(key), (vec![value], next));
                }
                let revision = Revision(at + u64::from(stale));
                (store.update(name(key), vec![value].into(), revision).await.map(|_| ()), expected)
            }
            Step::Delete(key, stale) => {
                let at = state.get(&name(key)).map_or(0, |(_, at)| *at);
                let expected = at != 0 && !stale;
                if expected {
                    state.remove(&name(key));
                }
                let revision = stale.then_some(Revision(at + 1));
                (store.delete(name(key), revision).await.map(|_| ()), expected)
            }
            Step::Both(from, to) => {
                let expected =
                    from != to && state.contains_key(&name(from)) && !state.contains_key(&name(to));
                if expected {
                    state.remove(&name(from));
                    state.insert(name(to), (b"moved".to_vec(), next));
                }
                let ops = vec![
                    Op::Delete { key: name(from), expected: None },
                    Op::Create { key: name(to), value: "moved".into() },
                ];
                (store.transact(ops).await.map(|_| ()), expected)
            }
        };
        assert_eq!(outcome.0.is_ok(), outcome.1, "{:?}", outcome.0);
        if outcome.1 {
            model.history.push(state);
        }
    }
    check(&store, &model).await;
    store.close().await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_store_does_what_a_map_of_histories_does(steps in prop::collection::vec(step(), 0..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(steps));
    }
}

#[tokio::test]
async fn history_behind_the_kept_revisions_is_too_old_and_what_lives_stays() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { keep_revisions: 10, ..Options::default() };
    let store = Store::open(directory.path(), options.clone()).unwrap();
    let mut at = store.create("a", "0".into()).await.unwrap().modified;
    store.create("b", "lives".into()).await.unwrap();
    for turn in 1..50 {
        at = store.update("a", turn.to_string().into(), at).await.unwrap().modified;
    }
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while store.oldest() == Revision(0) {
        assert!(std::time::Instant::now() < deadline, "nothing was compacted");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let old = ListRequest { at: Some(Revision(3)), ..Default::default() };
    assert!(matches!(store.list(&old), Err(Error::Compacted { requested: Revision(3), .. })));
    assert!(matches!(store.watch("", Some(Revision(3))), Err(Error::Compacted { .. })));
    assert_eq!(&store.get("b").unwrap().unwrap().value[..], b"lives");
    store.close().await;
    drop(store);
    let store = Store::open(directory.path(), options).unwrap();
    assert_eq!(&store.get("a").unwrap().unwrap().value[..], b"49");
    assert_eq!(store.get("a").unwrap().unwrap().modified, at);
    assert!(store.oldest() > Revision(3));
    store.close().await;
}

#[tokio::test]
async fn what_breaks_a_limit_is_refused_with_the_limit() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), Options::default()).unwrap();
    let large = vec![0; 1536 * 1024 + 1];
    let refused = store.create("a", large.into()).await.unwrap_err();
    assert!(matches!(refused, Error::ValueTooLarge { limit: 1_572_864, .. }), "{refused}");
    assert!(matches!(store.create("", "x".into()).await, Err(Error::KeyLength { .. })));
    assert!(matches!(store.transact(Vec::new()).await, Err(Error::Transaction { .. })));
    assert!(matches!(Store::open(directory.path(), Options::default()), Err(Error::Locked { .. })));
    store.close().await;
    assert_eq!(store.create("a", "x".into()).await, Err(Error::Closed));
}

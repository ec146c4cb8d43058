use std::future::Future;

use futures::FutureExt as _;
use serde_json::json;

use super::*;
use crate::user::AUTHENTICATED;

/// What can be had at once.
fn now<T>(future: &mut (impl Future<Output = T> + Unpin)) -> Option<T> {
    future.now_or_never()
}

/// One level for everybody that has all of some seats.
fn fairness(seats: u32, response: &Value) -> Arc<Fairness> {
    let fairness = Fairness::new(Limits { seats, ..Limits::default() });
    let (schema, level) = objects(1_000, response);
    fairness.configure(&[schema], &[level]);
    fairness
}

fn objects(shares: u32, response: &Value) -> (Value, Value) {
    let schema = json!({"metadata": {"name": "all", "uid": "s"}, "spec": {
        "priorityLevelConfiguration": {"name": "all"},
        "matchingPrecedence": 500,
        "distinguisherMethod": {"type": "ByUser"},
        "rules": [{
            "subjects": [{"kind": "User", "user": {"name": "*"}}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["/all"]}],
        }],
    }});
    let level = json!({"metadata": {"name": "all", "uid": "l"}, "spec": {
        "type": "Limited",
        "limited": {"nominalConcurrencyShares": shares, "limitResponse": response},
    }});
    (schema, level)
}

fn queue(queues: u32, length: u32) -> Value {
    let queuing = json!({"queues": queues, "handSize": 1, "queueLengthLimit": length});
    json!({"type": "Queue", "queuing": queuing})
}

fn place(fairness: &Fairness, user: &str, path: &str) -> Place {
    let user = User::new(user, [AUTHENTICATED]);
    fairness.place(&user, &Asked::Path { verb: "get", path }).unwrap()
}

/// Users whose queues differ, of four.
fn strangers(fairness: &Fairness) -> (Place, Place) {
    let card = |place: &Place| hand::deal(place.flow.hash(&place.distinguisher), 4, 1);
    let first = place(fairness, "flood", "/all");
    let other = (0..).map(|at| place(fairness, &format!("user-{at}"), "/all"));
    let other = other.into_iter().find(|other| card(other) != card(&first)).unwrap();
    (first, other)
}

#[tokio::test]
async fn one_who_floods_waits_behind_itself_and_another_is_served_next() {
    let fairness = fairness(4, &queue(4, 8));
    let (flood, other) = strangers(&fairness);
    let mut held = Vec::new();
    while let Some(seat) = now(&mut Box::pin(fairness.enter(&flood, 1))) {
        held.push(seat.unwrap());
    }
    assert_eq!(held.len(), 4, "all seats of the level");
    let mut waiting: Vec<_> = (0..8).map(|_| Box::pin(fairness.enter(&flood, 1))).collect();
    assert!(waiting.iter_mut().all(|one| now(one).is_none()));
    let refused = fairness.enter(&flood, 1).await.err().unwrap();
    assert_eq!((refused.code(), refused.details.unwrap().retry_after_seconds), (429, 1));

    let mut other = Box::pin(fairness.enter(&other, 1));
    assert!(now(&mut other).is_none(), "all seats are taken");
    tokio::time::sleep(Duration::from_millis(20)).await;
    drop(held.pop());
    let served = now(&mut other).expect("who was served less goes first");
    drop(held.pop());
    let next = now(&mut waiting[0]).expect("in the order in which they came");
    let levels = fairness.dump(Dump::Levels);
    let line = levels.lines().find(|line| line.starts_with("all,")).unwrap();
    let cells: Vec<&str> = line.split(',').map(str::trim).collect();
    assert_eq!(cells[1..], ["1", "false", "false", "7", "4", "6", "1", "0", "1"], "{levels}");
    assert_eq!(fairness.dump(Dump::Requests).lines().count(), 8);
    assert_eq!(fairness.dump(Dump::Queues).lines().count(), 3);
    drop((served, next));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_ever_and_whoever_leaves_leaves_no_trace() {
    let fairness = fairness(1, &queue(4, 8));
    let (first, other) = strangers(&fairness);
    let held = fairness.enter(&first, 1).await.unwrap();
    let before = Instant::now();
    assert_eq!(fairness.enter(&other, 1).await.err().unwrap().code(), 429);
    assert_eq!(before.elapsed(), Limits::default().patience);
    let mut leaves = Box::pin(fairness.enter(&other, 1));
    assert!(now(&mut leaves).is_none());
    drop(leaves);
    drop(held);
    let hall = fairness.lock();
    let level = &hall.levels["all"];
    assert!(level.queues.is_idle() && level.queues.demand() == 0);
    assert_eq!((level.refused("time-out"), level.refused("cancelled")), (1, 1));
}

#[tokio::test]
async fn a_level_that_does_not_queue_refuses_at_once() {
    let fairness = fairness(1, &json!({"type": "Reject"}));
    let place = place(&fairness, "jane", "/all");
    let _held = fairness.enter(&place, 1).await.unwrap();
    assert_eq!(fairness.enter(&place, 1).await.err().unwrap().code(), 429);
    let metrics = fairness.metrics();
    let refused = "apiserver_flowcontrol_rejected_requests_total{flow_schema=\"all\",priority_level=\"all\",\
                   reason=\"concurrency-limit\"} 1\n";
    assert!(metrics.contains(refused), "{metrics}");
    let nominal = "apiserver_flowcontrol_nominal_limit_seats{priority_level=\"all\"} 1\n";
    assert!(metrics.contains(nominal), "{metrics}");
}

#[tokio::test]
async fn administrators_never_wait_and_others_are_served_elsewhere_once_a_level_is_gone() {
    let fairness = fairness(1, &queue(4, 8));
    let root =
        fairness.place(&User::new("root", ["system:masters"]), &Asked::Path { verb: "get", path: "/all" });
    let root = root.unwrap();
    let mut seats = Vec::new();
    for _ in 0..1_000 {
        seats.push(fairness.enter(&root, 16).await.unwrap());
    }
    let before = place(&fairness, "jane", "/all");
    let mut headers = HeaderMap::new();
    before.tell(&mut headers);
    assert_eq!(headers["x-kubernetes-pf-flowschema-uid"], "s");
    assert_eq!(headers["x-kubernetes-pf-prioritylevel-uid"], "l");
    let held = fairness.enter(&before, 1).await.unwrap();
    fairness.configure(&[objects(1, &queue(4, 8)).0], &[]);
    assert!(fairness.lock().levels["all"].is_leaving, "somebody is still in");
    assert_eq!(&*place(&fairness, "jane", "/all").flow.name, CATCH_ALL);
    drop(held);
    assert!(!fairness.lock().levels.contains_key("all"));
    assert!(fairness.enter(&before, 1).await.is_ok(), "the level has gone under a request on its way");
}

#[tokio::test(start_paused = true)]
async fn a_level_borrows_what_others_do_not_need_and_lends_it_again() {
    let fairness = Fairness::new(Limits { seats: 100, ..Limits::default() });
    let level = |name: &str, lendable: u32| {
        let limited = json!({
            "nominalConcurrencyShares": 50, "lendablePercent": lendable,
            "limitResponse": {"type": "Queue", "queuing": {"queues": 1, "handSize": 1, "queueLengthLimit": 500}},
        });
        json!({"metadata": {"name": name}, "spec": {"type": "Limited", "limited": limited}})
    };
    let mut schema = objects(1, &Value::Null).0;
    schema["spec"]["priorityLevelConfiguration"]["name"] = "busy".into();
    fairness.configure(&[schema], &[level("busy", 50), level("calm", 80)]);
    let limit = |name: &str| fairness.lock().levels[name].limit;
    let place = place(&fairness, "jane", "/all");
    let (mut seats, mut waiting) = (Vec::new(), Vec::new());
    for _ in 0..200 {
        let mut one = Box::pin(fairness.enter(&place, 1));
        match now(&mut one) {
            Some(seat) => seats.push(seat.unwrap()),
            None => waiting.push(one),
        }
    }
    assert!(seats.len() > 20, "{}", seats.len());
    tokio::time::advance(Duration::from_secs(10)).await;
    fairness.rebalance();
    let (busy, calm) = (limit("busy"), limit("calm"));
    assert!(busy > 60 && calm < 30, "{busy} {calm}");
    drop((seats, waiting));
    for _ in 0..200 {
        tokio::time::advance(Duration::from_secs(10)).await;
        fairness.rebalance();
    }
    assert!(limit("calm") > calm, "{} {}", limit("busy"), limit("calm"));
}

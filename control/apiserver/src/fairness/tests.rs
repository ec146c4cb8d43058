use std::future::Future;

use futures::FutureExt as _;

use super::*;

fn fairness(seats: u32, seats_of_one: u32, queue: usize) -> Arc<Fairness> {
    let limits = Limits { seats, seats_of_one, queue, ..Limits::default() };
    Fairness::new(limits)
}

/// What can be had at once.
fn now<T>(future: &mut (impl Future<Output = T> + Unpin)) -> Option<T> {
    future.now_or_never()
}

#[tokio::test]
async fn one_who_floods_waits_behind_itself_and_another_is_served_next() {
    let fairness = fairness(4, 3, 8);
    let mut held: Vec<_> = Vec::new();
    for _ in 0..3 {
        held.push(fairness.enter("flood", 1).await.unwrap());
    }
    let mut waiting: Vec<_> = (0..8).map(|_| Box::pin(fairness.enter("flood", 1))).collect();
    assert!(waiting.iter_mut().all(|one| now(one).is_none()), "a seat is left for others");
    let refused = fairness.enter("flood", 1).await.err().unwrap();
    assert_eq!(refused.code(), 429);
    assert_eq!(refused.details.unwrap().retry_after_seconds, 1);

    let other = fairness.enter("other", 1).await.unwrap();
    let mut second = Box::pin(fairness.enter("other", 1));
    assert!(now(&mut second).is_none(), "all seats are taken");
    drop(other);
    assert!(now(&mut second).is_some(), "who has fewer seats goes first");
    drop(held.pop());
    assert!(now(&mut waiting[0]).is_some(), "in the order in which they came");
}

#[tokio::test]
async fn a_wide_request_is_not_passed_by_narrow_ones_for_ever() {
    let fairness = fairness(4, 4, 8);
    let mut narrow: Vec<_> = Vec::new();
    for _ in 0..3 {
        narrow.push(fairness.enter("a", 1).await.unwrap());
    }
    let mut wide = Box::pin(fairness.enter("b", 4));
    assert!(now(&mut wide).is_none());
    let mut more = Box::pin(fairness.enter("a", 1));
    assert!(now(&mut more).is_none(), "the wide one is next");
    narrow.clear();
    let wide = now(&mut wide).unwrap().unwrap();
    assert!(now(&mut more).is_none());
    drop(wide);
    assert!(now(&mut more).is_some());
}

#[tokio::test]
async fn whoever_leaves_takes_no_seat_and_leaves_no_trace() {
    let fairness = fairness(1, 1, 8);
    let held = fairness.enter("a", 1).await.unwrap();
    let mut leaves = Box::pin(fairness.enter("b", 1));
    assert!(now(&mut leaves).is_none());
    drop(leaves);
    let mut stays = Box::pin(fairness.enter("c", 1));
    assert!(now(&mut stays).is_none());
    drop(held);
    let seat = now(&mut stays).unwrap().unwrap();
    drop(seat);
    let hall = fairness.lock();
    assert!(hall.users.is_empty() && hall.turns.is_empty(), "{} users are left", hall.users.len());
    assert_eq!((hall.taken, hall.waiting), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_ever() {
    let fairness = fairness(1, 1, 8);
    let _held = fairness.enter("a", 1).await.unwrap();
    let before = tokio::time::Instant::now();
    assert_eq!(fairness.enter("b", 1).await.err().unwrap().code(), 429);
    assert_eq!(before.elapsed(), Limits::default().patience);
}

#[tokio::test]
async fn whoever_waits_behind_one_that_leaves_is_seated_at_once() {
    let fairness = fairness(4, 4, 2);
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(fairness.enter("a", 1).await.unwrap());
    }
    let mut wide = Box::pin(fairness.enter("b", 4));
    let mut narrow = Box::pin(fairness.enter("c", 1));
    assert!(now(&mut wide).is_none() && now(&mut narrow).is_none(), "the wide one is next");
    drop(wide);
    assert!(now(&mut narrow).is_some(), "no seat was given back, and none had to be");
}

#[tokio::test]
async fn whoever_left_takes_no_room_in_the_queue() {
    let fairness = fairness(1, 1, 2);
    let _held = fairness.enter("a", 1).await.unwrap();
    let mut first = Box::pin(fairness.enter("a", 1));
    let mut last = Box::pin(fairness.enter("a", 1));
    assert!(now(&mut first).is_none() && now(&mut last).is_none());
    drop(last);
    let mut next = Box::pin(fairness.enter("a", 1));
    assert!(now(&mut next).is_none(), "it waits");
}

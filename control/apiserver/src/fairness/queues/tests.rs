use super::*;

fn queues(queues: u32, hand: u32, length: usize, limit: u32) -> (Queues<u64>, Instant) {
    let now = Instant::now();
    let mut made = Queues::new(Shape::Queue { queues, hand, length }, now);
    made.set_limit(limit, now);
    (made, now)
}

fn seated(arrival: Arrival) -> Grant {
    match arrival {
        Arrival::Seated(grant) => grant,
        _ => panic!("there was a seat"),
    }
}

fn waits(arrival: &Arrival) -> bool {
    matches!(arrival, Arrival::Waits(_))
}

/// Two hashes whose hands of one card differ.
const FLOOD: u64 = 0;
const OTHER: u64 = 1;

#[test]
fn queues_take_turns_however_many_wait_in_each() {
    let (mut queues, now) = queues(8, 1, 100, 1);
    let mut held = seated(queues.arrive(FLOOD, 1, now, || 0));
    for _ in 0..20 {
        assert!(waits(&queues.arrive(FLOOD, 1, now, || FLOOD)));
    }
    for _ in 0..3 {
        assert!(waits(&queues.arrive(OTHER, 1, now, || OTHER)));
    }
    let mut served = Vec::new();
    for second in 1..=8 {
        let now = now + Duration::from_secs(second);
        queues.finish(&held, now);
        let (who, grant) = queues.next(now).unwrap();
        served.push(who);
        held = grant;
    }
    let others = served[..6].iter().filter(|who| **who == OTHER).count();
    assert_eq!(others, 3, "{served:?}");
}

#[test]
fn a_full_queue_refuses_and_another_takes() {
    let (mut queues, now) = queues(8, 1, 2, 1);
    let held = seated(queues.arrive(FLOOD, 1, now, || 0));
    assert!(waits(&queues.arrive(FLOOD, 1, now, || 0)) && waits(&queues.arrive(FLOOD, 1, now, || 0)));
    assert!(matches!(queues.arrive(FLOOD, 1, now, || 0), Arrival::Refused));
    assert!(waits(&queues.arrive(OTHER, 1, now, || 0)));
    assert_eq!((queues.waiting(), queues.active(), queues.demand()), (3, 2, 4));
    queues.finish(&held, now);
    assert!(queues.next(now).is_some());
    assert!(queues.next(now).is_none());
}

#[test]
fn a_flow_that_may_use_several_queues_waits_in_the_emptiest() {
    let (mut queues, now) = queues(4, 4, 1, 1);
    let _held = seated(queues.arrive(FLOOD, 1, now, || 0));
    for _ in 0..4 {
        assert!(waits(&queues.arrive(FLOOD, 1, now, || 0)));
    }
    assert!(matches!(queues.arrive(FLOOD, 1, now, || 0), Arrival::Refused));
    assert!(queues.show().all(|queue| queue.waiting == 1));
}

#[test]
fn a_wide_request_is_not_passed_by_narrow_ones_for_ever_and_goes_alone_where_it_must() {
    let (mut queues, now) = queues(8, 1, 10, 4);
    let narrow: Vec<_> = (0..3).map(|_| seated(queues.arrive(FLOOD, 1, now, || 0))).collect();
    assert!(waits(&queues.arrive(OTHER, 9, now, || 9)));
    assert!(waits(&queues.arrive(FLOOD, 1, now, || 1)), "somebody waits already");
    for grant in &narrow[..2] {
        queues.finish(grant, now);
    }
    let mut order = Vec::new();
    while let Some((who, grant)) = queues.next(now) {
        order.push(who);
        queues.finish(&grant, now);
    }
    queues.finish(&narrow[2], now);
    while let Some((who, grant)) = queues.next(now) {
        order.push(who);
        queues.finish(&grant, now);
    }
    order.sort_unstable();
    assert_eq!(order, [1, 9]);
    assert!(queues.is_idle());
}

#[test]
fn whoever_leaves_or_is_done_leaves_no_trace() {
    let (mut queues, now) = queues(64, 8, 10, 1);
    let held = seated(queues.arrive(FLOOD, 1, now, || 0));
    let Arrival::Waits(id) = queues.arrive(OTHER, 3, now, || 0) else { panic!("no seat is free") };
    assert!(queues.leave(id, now) && !queues.leave(id, now));
    queues.finish(&held, now);
    assert_eq!((queues.demand(), queues.seats(), queues.executing()), (0, 0, 0));
    assert_eq!(queues.show().count(), 0);
}

#[test]
fn a_level_that_does_not_queue_refuses_at_once_and_an_exempt_one_never() {
    let now = Instant::now();
    let mut rejecting = Queues::<u64>::new(Shape::Reject, now);
    rejecting.set_limit(1, now);
    let held = seated(rejecting.arrive(FLOOD, 1, now, || 0));
    assert!(matches!(rejecting.arrive(OTHER, 1, now, || 0), Arrival::Refused));
    rejecting.finish(&held, now);
    seated(rejecting.arrive(OTHER, 1, now, || 0));
    let mut exempt = Queues::<u64>::new(Shape::Exempt, now);
    for _ in 0..1_000 {
        seated(exempt.arrive(FLOOD, 10, now, || 0));
    }
    assert_eq!(exempt.seats(), 10_000);
}

use proptest::prelude::{prop, prop_assert, prop_assert_eq, proptest};

use super::{Bounds, IntOrString, Plan, Size, Strategy, Wish, plan, total};

fn percent(text: &str) -> IntOrString {
    IntOrString::String(text.to_owned())
}

fn healthy(wanted: i32, sized_for: i32) -> Size {
    Size { wanted, available: wanted, existing: wanted, observed: true, sized_for: Some(sized_for) }
}

fn rolling(replicas: i32, surge: i32, unavailable: i32) -> Wish {
    let bounds = Bounds { surge, unavailable };
    Wish { replicas, strategy: Strategy::RollingUpdate(bounds), paused: false }
}

#[test]
fn surge_rounds_up_and_unavailable_rounds_down() {
    assert_eq!(Bounds::resolve(10, None, None), Bounds { surge: 3, unavailable: 2 });
    assert_eq!(Bounds::resolve(1, None, None), Bounds { surge: 1, unavailable: 0 });
    let none = IntOrString::Int(0);
    assert_eq!(Bounds::resolve(3, Some(&none), Some(&percent("10%"))), Bounds { surge: 0, unavailable: 1 });
    assert_eq!(
        Bounds::resolve(4, Some(&IntOrString::Int(2)), Some(&IntOrString::Int(9))),
        Bounds { surge: 2, unavailable: 4 }
    );
}

#[test]
fn a_percentage_beyond_every_number_neither_overflows_nor_panics() {
    let huge = percent("2147483647%");
    assert_eq!(Bounds::resolve(i32::MAX, Some(&huge), Some(&huge)).surge, i32::MAX);
    assert_eq!(Bounds::resolve(5, Some(&percent("many")), Some(&percent("-5%"))).unavailable, 1);
}

#[test]
fn a_first_rollout_makes_all_replicas_at_once() {
    assert_eq!(plan(rolling(3, 1, 0), None, &[]), Plan { current: 3, old: vec![] });
}

#[test]
fn a_rolling_update_grows_the_new_set_before_it_shrinks_the_old_one() {
    let wish = rolling(3, 1, 0);
    let grown = plan(wish, None, &[healthy(3, 3)]);
    assert_eq!(grown, Plan { current: 1, old: vec![3] });
    let starting = Size { wanted: 1, available: 0, existing: 1, observed: true, sized_for: Some(3) };
    assert_eq!(plan(wish, Some(starting), &[healthy(3, 3)]), Plan { current: 1, old: vec![3] });
    assert_eq!(plan(wish, Some(healthy(1, 3)), &[healthy(3, 3)]), Plan { current: 1, old: vec![2] });
}

#[test]
fn pods_that_serve_nobody_give_way_first() {
    let broken = Size { wanted: 2, available: 0, existing: 2, observed: true, sized_for: Some(4) };
    let planned = plan(rolling(4, 0, 1), Some(healthy(0, 4)), &[healthy(2, 4), broken]);
    assert_eq!(planned, Plan { current: 0, old: vec![2, 1] });
}

#[test]
fn nothing_grows_while_pods_that_are_to_go_may_still_stand() {
    let wish = rolling(3, 1, 0);
    let shrunk = Size { wanted: 2, available: 3, existing: 3, observed: false, sized_for: Some(3) };
    let unchanged = Plan { current: 1, old: vec![2] };
    assert_eq!(plan(wish, Some(healthy(1, 3)), &[shrunk]), unchanged);
    let slow = Size { observed: true, ..shrunk };
    assert_eq!(plan(wish, Some(healthy(1, 3)), &[slow]), unchanged);
    assert_eq!(plan(wish, Some(healthy(1, 3)), &[healthy(2, 3)]), Plan { current: 2, old: vec![2] });
}

#[test]
fn recreate_waits_until_the_last_old_pod_is_gone() {
    let wish = Wish { replicas: 2, strategy: Strategy::Recreate, paused: false };
    assert_eq!(plan(wish, None, &[healthy(2, 2)]), Plan { current: 0, old: vec![0] });
    let ending = Size { wanted: 0, available: 0, existing: 1, observed: true, sized_for: Some(2) };
    assert_eq!(plan(wish, None, &[ending]), Plan { current: 0, old: vec![0] });
    assert_eq!(plan(wish, None, &[healthy(0, 2)]), Plan { current: 2, old: vec![0] });
}

#[test]
fn a_paused_deployment_moves_no_pods_but_still_scales() {
    let paused = |replicas| Wish { paused: true, ..rolling(replicas, 1, 0) };
    assert_eq!(plan(paused(3), Some(healthy(1, 3)), &[healthy(3, 3)]), Plan { current: 1, old: vec![3] });
    assert_eq!(plan(paused(5), Some(healthy(3, 3)), &[healthy(0, 3)]), Plan { current: 5, old: vec![0] });
    assert_eq!(plan(paused(5), None, &[healthy(3, 3)]).old, vec![5]);
}

#[test]
fn a_change_of_replicas_in_a_rollout_keeps_the_proportions() {
    let planned = plan(rolling(20, 0, 5), Some(healthy(5, 10)), &[healthy(5, 10)]);
    assert_eq!(planned, Plan { current: 10, old: vec![10] });
    let planned = plan(rolling(0, 3, 2), Some(healthy(5, 10)), &[healthy(5, 10)]);
    assert_eq!(planned, Plan { current: 0, old: vec![0] });
    // Shares are rounded: 5 of 13 and 8 of 13 become 13 and 20 of 33.
    let planned = plan(rolling(30, 3, 2), Some(healthy(5, 10)), &[healthy(8, 10)]);
    assert_eq!(planned, Plan { current: 13, old: vec![20] });
}

#[test]
fn sizes_that_together_are_more_than_one_holds_give_no_size_below_zero() {
    let huge = 2_000_000_000;
    let planned =
        plan(rolling(huge, huge, 0), Some(healthy(huge, huge)), &[healthy(huge, huge), healthy(huge, huge)]);
    assert_eq!(planned, Plan { current: huge, old: vec![0, 0] });
    let sized = plan(rolling(huge - 2, 0, 1), Some(healthy(huge, 3)), &[healthy(huge, 3)]);
    assert_eq!(sized, Plan { current: huge / 2 - 1, old: vec![huge / 2 - 1] });
    let negative = Size { available: -5, existing: i32::MIN, ..healthy(3, 3) };
    let planned = plan(rolling(3, 0, 1), Some(negative), &[negative]);
    assert!(planned.current >= 0 && planned.old[0] >= 0, "{planned:?}");
}

proptest! {
    #[test]
    fn every_rollout_ends_and_keeps_both_promises_at_every_step(
        replicas in 0..40_i32,
        surge in 0..6_i32,
        unavailable in 0..6_i32,
        olds in prop::collection::vec(0..15_i32, 0..4),
    ) {
        let bounds = Bounds::resolve(replicas, Some(&IntOrString::Int(surge)), Some(&IntOrString::Int(unavailable)));
        let wish = Wish { replicas, strategy: Strategy::RollingUpdate(bounds), paused: false };
        let mut current = healthy(0, replicas);
        let mut old: Vec<Size> = olds.into_iter().map(|size| healthy(size, replicas)).collect();
        let most = (replicas + bounds.surge).max(old.iter().map(|set| set.wanted).sum());
        let mut least = (replicas - bounds.unavailable).min(old.iter().map(|set| set.available).sum());
        for _ in 0..200 {
            let next = plan(wish, Some(current), &old);
            let sizes = Plan { current: current.wanted, old: old.iter().map(|set| set.wanted).collect() };
            if next == sizes {
                break;
            }
            prop_assert!(total(&next) <= i64::from(most), "{next:?} is above {most}");
            // Old pods end before new ones become available: the worst moment of the step.
            let worst: i32 = current.available.min(next.current) + next.old.iter().sum::<i32>();
            prop_assert!(worst >= least, "{next:?} leaves fewer than {least} available");
            current = healthy(next.current, replicas);
            for (set, wanted) in old.iter_mut().zip(next.old) {
                *set = healthy(wanted, replicas);
            }
            let available = current.available + old.iter().map(|set| set.available).sum::<i32>();
            least = least.max((replicas - bounds.unavailable).min(available));
        }
        prop_assert_eq!(current.wanted, replicas);
        prop_assert!(old.iter().all(|set| set.wanted == 0));
    }
}

use super::*;

fn histogram(first: i32, counts: &[f64]) -> Histogram {
    let count: f64 = counts.iter().sum();
    Histogram { count, sum: count, positive: Buckets::dense(first, counts.to_vec()), ..Histogram::default() }
}

#[test]
fn bounds_are_powers_of_two_and_their_roots() {
    assert_eq!(exponential_bound(0, 0), 1.0);
    assert_eq!(exponential_bound(3, 0), 8.0);
    assert_eq!(exponential_bound(1, 1), 2f64.sqrt());
    assert_eq!(exponential_bound(1, -1), 4.0);
    assert_eq!(exponential_bound(-1074, 0), f64::from_bits(1));
    assert_eq!(exponential_bound(1024, 0), f64::MAX);
    assert_eq!(exponential_bound(i32::MAX, 8), f64::INFINITY);
}

#[test]
fn addition_reduces_to_the_smaller_schema() {
    let mut fine = Histogram { schema: 1, ..histogram(1, &[1.0, 2.0, 3.0, 4.0]) };
    fine.add(&histogram(1, &[10.0, 20.0])).unwrap();
    assert_eq!((fine.schema, fine.count), (0, 40.0));
    assert_eq!(fine.positive, Buckets::new([(1, 13.0), (2, 27.0)]));
}

#[test]
fn subtraction_leaves_gaps_where_the_other_has_none() {
    let mut minuend = histogram(0, &[5.0]);
    minuend.subtract(&histogram(2, &[1.0])).unwrap();
    assert_eq!(minuend.positive, Buckets::new([(0, 5.0), (2, -1.0)]));
}

#[test]
fn a_larger_zero_bucket_swallows_buckets() {
    let mut narrow = Histogram { zero_threshold: 0.001, zero_count: 1.0, ..histogram(-2, &[1.0, 2.0, 4.0]) };
    let wide = Histogram { zero_threshold: 0.5, zero_count: 1.0, ..histogram(3, &[1.0]) };
    narrow.add(&wide).unwrap();
    assert_eq!((narrow.zero_threshold, narrow.zero_count), (0.5, 5.0));
    assert_eq!(narrow.positive, Buckets::new([(0, 4.0), (3, 1.0)]));
}

#[test]
fn exponential_and_custom_buckets_do_not_mix() {
    let custom = Histogram { schema: CUSTOM_SCHEMA, bounds: Arc::from([1.0]), ..histogram(0, &[1.0]) };
    assert_eq!(histogram(0, &[1.0]).add(&custom), Err(IncompatibleSchemas));
}

#[test]
fn mismatched_bounds_are_reconciled() {
    let mut one = Histogram {
        schema: CUSTOM_SCHEMA,
        bounds: Arc::from([1.0, 2.0, 4.0]),
        ..histogram(0, &[1.0, 2.0, 3.0, 4.0])
    };
    let two = Histogram {
        schema: CUSTOM_SCHEMA,
        bounds: Arc::from([2.0, 3.0, 4.0]),
        ..histogram(0, &[1.0, 1.0, 1.0, 1.0])
    };
    assert!(one.add(&two).unwrap().bounds_reconciled);
    assert_eq!(*one.bounds, [2.0, 4.0]);
    assert_eq!(one.positive, Buckets::dense(0, vec![4.0, 5.0, 5.0]));
}

#[test]
fn a_smaller_bucket_is_a_reset() {
    let before = histogram(0, &[1.0, 2.0]);
    assert!(!histogram(0, &[1.0, 2.0, 1.0]).is_reset_since(&before));
    assert!(histogram(0, &[4.0, 1.0]).is_reset_since(&before));
    let told = Histogram { hint: CounterReset::NotReset, ..histogram(0, &[4.0, 1.0]) };
    assert!(!told.is_reset_since(&before));
}

#[test]
fn a_sum_equals_plain_addition() {
    let parts =
        [histogram(0, &[1.0, 2.0]), histogram(1, &[3.0]), Histogram { schema: -1, ..histogram(1, &[1.0]) }];
    let mut plain = parts[0].clone();
    let mut sum = HistogramSum::new(parts[0].clone());
    for part in &parts[1..] {
        plain.add(part).unwrap();
        sum.add(part).unwrap();
    }
    assert_eq!(sum.total(), plain);
}

#[test]
fn a_mean_of_huge_sums_does_not_overflow() {
    let huge = Histogram { sum: f64::MAX, ..histogram(0, &[2.0]) };
    let mut mean = HistogramMean::new(huge.clone());
    mean.add(&huge).unwrap();
    mean.add(&huge).unwrap();
    let mean = mean.mean();
    assert!((mean.sum / f64::MAX - 1.0).abs() < 1e-12 && (mean.count - 2.0).abs() < 1e-12);
}

#[test]
fn trimming_keeps_part_of_a_bucket() {
    let mut whole =
        Histogram { schema: CUSTOM_SCHEMA, bounds: Arc::from([10.0, 20.0]), ..histogram(0, &[1.0, 10.0]) };
    whole.trim(15.0, true);
    assert_eq!(whole.positive, Buckets::dense(0, vec![1.0, 5.0]));
    assert_eq!((whole.count, whole.sum), (6.0, 5.0 + 62.5));
}

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;

use super::*;
use crate::{
    Labels, MatchOp, Matcher,
    matcher::{all_values, select},
    source::FileSource,
};

type Series = BTreeMap<Labels, Vec<ChunkMeta>>;

fn write(series: &Series) -> (tempfile::TempDir, Arc<IndexReader>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("index");
    let symbols = series.keys().flatten().flat_map(|(name, value)| [name, value]).map(Arc::from);
    let mut writer = IndexWriter::create(&path, symbols).unwrap();
    for (labels, chunks) in series {
        writer.push(labels, chunks).unwrap();
    }
    let size = writer.finish().unwrap();
    let source = FileSource::open(&path).unwrap();
    assert_eq!(crate::source::Source::len(&source), size);
    (directory, Arc::new(IndexReader::open(Arc::new(source)).unwrap()))
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::new(pairs.iter().copied()).unwrap()
}

fn chunks() -> impl Strategy<Value = Vec<ChunkMeta>> {
    proptest::collection::vec((1i64..1 << 40, 0i64..1 << 30, any::<u32>()), 0..5).prop_map(|steps| {
        let (mut time, mut reference) = (-(1i64 << 39), 8u64);
        let each = steps.into_iter().map(|(gap, length, size)| {
            let min_time = time + gap;
            time = min_time + length;
            reference += u64::from(size);
            ChunkMeta { min_time, max_time: time, reference }
        });
        each.collect()
    })
}

fn series() -> impl Strategy<Value = Series> {
    let value = || prop_oneof![Just(String::new()), "[a-c]{1,2}", "é[0-9]{1,3}"];
    let labels = (value(), value(), "[0-9]{1,3}").prop_map(|(a, b, c)| {
        Labels::new([("__name__", "m".to_owned()), ("a", a), ("b", b), ("c", c)]).unwrap()
    });
    proptest::collection::btree_map(labels, chunks(), 0..150)
}

fn matcher() -> impl Strategy<Value = Matcher> {
    let op = prop_oneof![
        Just(MatchOp::Equal),
        Just(MatchOp::NotEqual),
        Just(MatchOp::Regex),
        Just(MatchOp::NotRegex)
    ];
    let value = prop_oneof![
        Just(""),
        Just("a"),
        Just("ab"),
        Just("a|b|1"),
        Just("a.*"),
        Just("a.+"),
        Just(".*"),
        Just(".+"),
        Just("a?b?"),
        Just("é1.*"),
        Just("|a"),
        Just("[ab]+"),
        Just("1|2|3|4|55|66|77|88|99"),
        Just("1.*2"),
        Just("(a|b)c"),
    ];
    (op, "[a-d]", value).prop_map(|(op, name, value)| Matcher::new(op, name, value).unwrap())
}

proptest! {
    #[test]
    fn what_was_written_is_found(series in series()) {
        let (_directory, index) = write(&series);
        let mut cursor = index.cursor().unwrap();
        let all = index.all().unwrap();
        let back: Vec<_> = all.iter().map(|&number| cursor.read(number).unwrap()).collect();
        prop_assert_eq!(back, series.clone().into_iter().collect::<Vec<_>>());
        for name in index.names().unwrap() {
            let mut expected: Vec<&str> = series.keys().map(|labels| labels.get(&name)).filter(|v| !v.is_empty()).collect();
            expected.sort_unstable();
            expected.dedup();
            prop_assert_eq!(all_values(&*index, &name).unwrap(), expected);
        }
    }

    #[test]
    fn matchers_select_what_fulfils_them(series in series(), matchers in proptest::collection::vec(matcher(), 0..4)) {
        let (_directory, index) = write(&series);
        let mut cursor = index.cursor().unwrap();
        let selected = select(&*index, &matchers).unwrap();
        let found: Vec<Labels> = selected.iter().map(|&number| cursor.read(number).unwrap().0).collect();
        let expected: Vec<Labels> =
            series.keys().filter(|labels| Matcher::all_match(&matchers, labels)).cloned().collect();
        prop_assert_eq!(found, expected, "{:?}", matchers);
    }
}

#[test]
fn many_values_are_found_one_by_one_and_together() {
    let values: Vec<String> = (0..5000).map(|i| format!("v{i:05}")).collect();
    let series: Series = values.iter().map(|value| (labels(&[("l", value)]), Vec::new())).collect();
    let (_directory, index) = write(&series);
    for step in [1, 7, 100, 2500] {
        let wanted: Vec<&str> = values.iter().step_by(step).map(String::as_str).collect();
        assert_eq!(index.series_with("l", &wanted).unwrap().len(), wanted.len());
    }
    assert_eq!(index.series_with("l", &["", "v", "v00007x", "v00008", "z"]).unwrap().len(), 1);
}

#[test]
fn a_series_longer_than_the_window_is_read() {
    let long = "x".repeat(40_000);
    let chunks: Vec<ChunkMeta> =
        (0..30_000).map(|i| ChunkMeta { min_time: i, max_time: i, reference: i as u64 * 200 }).collect();
    let series: Series =
        [(labels(&[("a", "1")]), chunks.clone()), (labels(&[("a", &long)]), chunks[..1].to_vec())].into();
    let (_directory, index) = write(&series);
    let mut cursor = index.cursor().unwrap();
    for &number in index.all().unwrap().iter().rev() {
        let (labels, chunks) = cursor.read(number).unwrap();
        assert_eq!(series[&labels], chunks);
    }
}

#[test]
fn series_out_of_order_or_with_unknown_strings_are_not_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("index");
    let mut writer = IndexWriter::create(&path, ["a", "b"].map(Arc::from)).unwrap();
    writer.push(&labels(&[("b", "b")]), &[]).unwrap();
    assert!(writer.push(&labels(&[("b", "b")]), &[]).is_err());
    assert!(writer.push(&labels(&[("a", "b")]), &[]).is_err());
    assert!(writer.push(&labels(&[("c", "b")]), &[]).is_err());
}

//! Random queries, sound and broken: whatever comes, the parser answers in time and without a panic, what it accepts
//! prints as something it accepts, and the engine evaluates it or says why not. `XEBEC_FUZZ_SECONDS` sets how long it
//! tries; `XEBEC_FUZZ_SEED` repeats a run.

use std::time::Duration;

use xebec_dice::{Dice, Rounds};
use xebec_promql::engine::{Cancellation, Engine, EngineOptions};
use xebec_promql::labels::Labels;
use xebec_promql::memory::MemoryStorage;
use xebec_promql::parser::{ParserOptions, parse, parse_selector};
use xebec_promql::series_description;
use xebec_promql::storage::{SampleValue, StoredSample};

/// Pieces that queries are made of, sound and not.
const PIECES: &[&str] = &[
    "a",
    "b{x=\"1\"}",
    "{__name__=~\"a|b\"}",
    "h",
    "sum",
    "avg",
    "topk(2, ",
    "quantile(0.5, ",
    "count_values(\"v\", ",
    "limit_ratio(0.5, ",
    "limitk(1, ",
    "bottomk(1, ",
    "by (x)",
    "without (x)",
    "(",
    ")",
    "(",
    ")",
    "[5m]",
    "[1m:10s]",
    "[5m:]",
    "[step()+1]",
    " + ",
    " - ",
    " * ",
    " / ",
    " % ",
    " ^ ",
    " == ",
    " != bool ",
    " > ",
    " and ",
    " or ",
    " unless ",
    " </ ",
    " >/ ",
    " atan2 ",
    " on (x) ",
    " ignoring (x) ",
    " group_left ",
    " group_right (y) ",
    " fill (0) ",
    " fill_left (1) ",
    " offset 1m",
    " offset -1m",
    " @ 60",
    " @ start()",
    " @ end()",
    " anchored",
    " smoothed",
    "rate(",
    "increase(",
    "delta(",
    "irate(",
    "resets(",
    "changes(",
    "sum_over_time(",
    "avg_over_time(",
    "min_over_time(",
    "quantile_over_time(0.9, ",
    "absent(",
    "absent_over_time(",
    "abs(",
    "histogram_quantile(0.9, ",
    "histogram_fraction(0, 1, ",
    "histogram_count(",
    "histogram_quantiles(",
    "info(",
    "sort(",
    "sort_by_label(",
    "label_replace(a, \"x\", \"$1\", \"x\", \"(.*)\")",
    "label_join(a, \"x\", \"-\", \"x\")",
    "scalar(",
    "vector(",
    "time()",
    "timestamp(",
    "predict_linear(",
    "deriv(",
    "double_exponential_smoothing(",
    "mad_over_time(",
    "start_timestamp(",
    "max_of(1, 2)",
    "day_of_week()",
    "1",
    "0",
    "-1",
    "1e300",
    "0x1f",
    "NaN",
    "Inf",
    "5m",
    "\"s\"",
    "'s'",
    "`s`",
    "\"\\xff\"",
    "\"\\",
    "#c\n",
    ",",
    ",",
    "{",
    "}",
    "[",
    "]",
    ":",
    "=",
    "=~",
    "!~",
    "@",
    "é",
    "\u{fffd}",
    "9223372036854775807",
    "1y1y",
    "106751991167300d",
];

fn broken(dice: &mut Dice) -> String {
    (0..1 + dice.below(12)).map(|_| PIECES[dice.below(PIECES.len())]).collect()
}

/// A query that mostly parses.
fn sound(dice: &mut Dice, depth: usize) -> String {
    let selector = |dice: &mut Dice| {
        let names = ["a", "b", "h", "c", "{__name__=~\".+\"}", "a{x=\"1\"}"];
        names[dice.below(names.len())].to_owned()
    };
    let range = |dice: &mut Dice| {
        let ranges =
            ["[1m]", "[5m]", "[30s] anchored", "[2m] smoothed", "[10m] offset 1m", "[1m] @ 100", "[1ms]"];
        ranges[dice.below(ranges.len())]
    };
    if depth == 0 {
        return selector(dice);
    }
    let inner = sound(dice, depth - 1);
    match dice.below(12) {
        0 => selector(dice) + ["", " offset 1m", " @ 120", " smoothed", " offset -5m"][dice.below(5)],
        1 => {
            let functions = [
                "rate",
                "increase",
                "delta",
                "irate",
                "idelta",
                "resets",
                "changes",
                "sum_over_time",
                "avg_over_time",
                "max_over_time",
                "stddev_over_time",
                "last_over_time",
                "deriv",
                "ts_of_max_over_time",
                "mad_over_time",
            ];
            format!("{}({}{})", functions[dice.below(functions.len())], selector(dice), range(dice))
        }
        2 => {
            let steps = ["[5m:1m]", "[1m:7s]", "[10m:]", "[3m:30s] offset 1m", "[2m:1m] @ 300"];
            let functions =
                ["rate", "sum_over_time", "count_over_time", "absent_over_time", "quantile_over_time"];
            match functions[dice.below(functions.len())] {
                "quantile_over_time" => format!("quantile_over_time(0.3, ({inner}){})", steps[dice.below(5)]),
                function => format!("{function}(({inner}){})", steps[dice.below(5)]),
            }
        }
        3 | 4 => {
            let operators = [
                "+",
                "-",
                "*",
                "/",
                "%",
                "^",
                "== bool",
                ">",
                "<",
                "and",
                "or",
                "unless",
                "</",
                ">/",
                "atan2",
                "+ on (x)",
                "* ignoring (x) group_left (y)",
                "- on (x) group_right ()",
                "/ fill (1)",
            ];
            let other = if dice.below(3) == 0 { "2".to_owned() } else { sound(dice, depth - 1) };
            format!("({inner}) {} ({other})", operators[dice.below(operators.len())])
        }
        5 | 6 => {
            let aggregations = [
                "sum",
                "avg",
                "count",
                "min",
                "max",
                "group",
                "stddev",
                "topk(2,",
                "bottomk(1,",
                "quantile(0.7,",
                "limitk(1,",
                "limit_ratio(-0.4,",
                "count_values(\"v\",",
            ];
            let by = ["", " by (x)", " without (x)", " by (__name__)"][dice.below(4)];
            let aggregation = aggregations[dice.below(aggregations.len())];
            match aggregation.split_once('(') {
                Some((name, param)) => format!("{name}{by}({param} {inner})"),
                None => format!("{aggregation}{by}({inner})"),
            }
        }
        7 => {
            let functions = [
                "abs",
                "ceil",
                "exp",
                "ln",
                "sgn",
                "sqrt",
                "absent",
                "sort",
                "sort_desc",
                "timestamp",
                "histogram_avg",
                "histogram_count",
                "histogram_stddev",
                "hour",
                "round",
                "info",
                "start_timestamp",
                "deg",
            ];
            format!("{}({inner})", functions[dice.below(functions.len())])
        }
        8 => format!("histogram_quantile({}, {inner})", ["0.5", "NaN", "2", "time()/100"][dice.below(4)]),
        9 => format!("clamp({inner}, {}, scalar({inner}))", ["-1", "Inf", "5"][dice.below(3)]),
        10 => format!("label_replace({inner}, \"x\", \"$1\", \"__name__\", \"(.*)\")"),
        _ => format!("-({inner})"),
    }
}

fn storage() -> MemoryStorage {
    let mut storage = MemoryStorage::new();
    let descriptions = [
        "a{x=\"1\"} 0+1x20 3 _x3 5 stale 1x5",
        "a{x=\"2\"} 5 NaN Inf -Inf 1e300 1e300 0x10",
        "b{x=\"1\",y=\"2\"} 1x30",
        "c_bucket{x=\"1\",le=\"1\"} 0+2x20",
        "c_bucket{x=\"1\",le=\"+Inf\"} 0+1x20",
        "h{x=\"1\"} {{schema:1 count:5 sum:3 z_bucket:1 z_bucket_w:0.1 buckets:[1 0 3] n_buckets:[1]}}+{{schema:1 count:2 sum:1 buckets:[1 1]}}x20",
        "h{x=\"2\"} {{schema:-53 count:3 sum:3 custom_values:[1 2] buckets:[1 1 1]}}x5 1 2 {{schema:-53 count:3 sum:3 custom_values:[1 3] buckets:[1 1 1]}}x5",
        "target_info{x=\"1\"} 1x30",
    ];
    for description in descriptions {
        let (labels, samples) = series_description::parse(description).expect("a sound description");
        for (place, sample) in samples.into_iter().enumerate() {
            let value = match sample {
                series_description::DescribedSample::Float(value) => SampleValue::Float(value),
                series_description::DescribedSample::Histogram { histogram, .. } => {
                    SampleValue::Histogram(histogram)
                }
                series_description::DescribedSample::Omitted => continue,
            };
            let time = place as i64 * 15_000;
            storage.append(&labels, StoredSample { time, start_time: time.max(15_000) - 15_000, value });
        }
    }
    storage.append_float(&Labels::default(), i64::MAX / 2, 1.0);
    storage
}

#[test]
fn fuzz_queries_are_answered_or_refused() {
    let (mut rounds, mut dice) = Rounds::begin("queries");
    let storage = storage();
    let engines = [false, true].map(|delayed_name_removal| {
        Engine::new(EngineOptions {
            parser: ParserOptions::EXPERIMENTAL,
            max_samples: 20_000,
            timeout: Duration::from_secs(5),
            delayed_name_removal,
            start_timestamps: delayed_name_removal,
            ..EngineOptions::default()
        })
    });
    let mut evaluated = 0;
    while rounds.goes_on() {
        let depth = dice.below(5);
        let query = if dice.below(3) == 0 { broken(&mut dice) } else { sound(&mut dice, depth) };
        let _ = parse_selector(&query);
        let _ = series_description::parse(&query);
        let Ok(expr) = parse(&query, ParserOptions::EXPERIMENTAL) else { continue };
        let printed = expr.to_string();
        let again = parse(&printed, ParserOptions::EXPERIMENTAL);
        assert!(again.is_ok(), "{query} prints as {printed}: {again:?}");
        let cancellation = Cancellation::default();
        for engine in &engines {
            let time = [0, 60_000, 300_000, -1_000_000, i64::MAX / 4][dice.below(5)];
            if let Ok(outcome) = engine.instant(&storage, &query, time, &cancellation) {
                evaluated += 1;
                outcome.annotations.texts(&query);
            }
            let step = [1_000, 15_000, 60_000, 7_777][dice.below(4)];
            let start = [-60_000, 0, 120_000][dice.below(3)];
            let _ = engine.range(&storage, &query, (start, start + 300_001, step), &cancellation);
        }
    }
    let tried = rounds.begun();
    println!("{tried} queries tried, {evaluated} evaluated");
    assert!(tried > 0 && (evaluated > 0 || tried < 50));
}

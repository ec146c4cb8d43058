//! Times queries over made-up node metrics: `cargo run --release -p xebec-promql --example queries [SERIES]`. It prints a
//! line for each query: the median of its runs in milliseconds, how many series come out, and the query.

use std::time::Instant;

use xebec_promql::engine::{Cancellation, Engine, EngineOptions};
use xebec_promql::labels::Labels;
use xebec_promql::memory::MemoryStorage;
use xebec_promql::value::Value;

const SCRAPE: i64 = 15_000;
const HOURS: i64 = 6;

const QUERIES: &[&str] = &[
    "requests_total",
    "rate(requests_total[5m])",
    "sum by (mode) (rate(requests_total[5m]))",
    "sum(requests_total)",
    "quantile by (mode) (0.9, requests_total)",
    "topk(5, requests_total)",
    "count by (instance) (requests_total)",
    "requests_total / requests_total",
    "requests_total * on (instance) group_left (zone) machine",
    "abs(requests_total) > 100",
    "max_over_time(requests_total[10m])",
    "avg_over_time(rate(requests_total[5m])[30m:1m])",
    "histogram_quantile(0.9, sum by (le) (rate(latency_bucket[5m])))",
    "sum_over_time(requests_total[1h])",
    "label_replace(requests_total, \"x\", \"$1\", \"instance\", \"(.*)\")",
];

fn storage(series: usize) -> MemoryStorage {
    let mut storage = MemoryStorage::new();
    let samples = HOURS * 3_600_000 / SCRAPE;
    let modes = ["idle", "user", "system", "iowait", "irq"];
    for place in 0..series {
        let instance = format!("node-{}", place / modes.len());
        let labels = Labels::from_pairs([
            ("__name__", "requests_total"),
            ("instance", &instance),
            ("job", "node"),
            ("mode", modes[place % modes.len()]),
        ]);
        for sample in 0..samples {
            let value = (sample as f64) * (1.0 + place as f64 / 100.0);
            storage.append_float(&labels, sample * SCRAPE, value);
        }
        if place % modes.len() == 0 {
            let labels =
                Labels::from_pairs([("__name__", "machine"), ("instance", &instance), ("zone", "a")]);
            (0..samples).for_each(|sample| storage.append_float(&labels, sample * SCRAPE, 1.0));
        }
        let bound = ["0.1", "0.5", "1", "5", "+Inf"][place % 5];
        let labels =
            Labels::from_pairs([("__name__", "latency_bucket"), ("instance", &instance), ("le", bound)]);
        for sample in 0..samples {
            storage.append_float(&labels, sample * SCRAPE, (sample * (1 + place as i64 % 5)) as f64);
        }
    }
    storage
}

fn main() {
    let series = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(1000);
    let storage = storage(series);
    let engine = Engine::new(EngineOptions::default());
    let end = HOURS * 3_600_000;
    for query in QUERIES {
        let mut times: Vec<f64> = Vec::new();
        let mut found = 0;
        for _ in 0..5 {
            let begin = Instant::now();
            let outcome = engine.range(&storage, query, (0, end, 60_000), &Cancellation::default());
            times.push(begin.elapsed().as_secs_f64() * 1000.0);
            match outcome {
                Ok(outcome) => {
                    if let Value::Matrix(matrix) = outcome.value {
                        found = matrix.len();
                    }
                }
                Err(error) => println!("{query}: {error}"),
            }
        }
        times.sort_by(f64::total_cmp);
        println!("{:9.2} ms {found:6} series  {query}", times[times.len() / 2]);
    }
}

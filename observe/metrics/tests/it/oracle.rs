//! Expositions read here and by Prometheus' own parsers: the same entries, and the same words about what is wrong.

use serde_json::{Value as Json, json};
use xebec_metrics::exposition::{Entry, Format, LabelPairs, Parser, ParserOptions};
use xebec_tsdb::{HistogramOf, Number, Span, Value};

fn labels(pairs: LabelPairs<'_>) -> Json {
    let mut pairs: Vec<(String, String)> =
        pairs.into_iter().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
    pairs.sort();
    json!(pairs)
}

fn bits(value: f64) -> String {
    format!("{:016x}", value.to_bits())
}

fn spans(spans: &[Span]) -> Json {
    json!(spans.iter().map(|span| (span.offset, span.length)).collect::<Vec<_>>())
}

fn histogram<N: Number>(one: &HistogramOf<N>) -> Json {
    // Whole numbers are written without a fraction there.
    let number = |count: N| match count.to_f64() {
        whole if whole.fract() == 0.0 => json!(whole as i64),
        other => json!(other),
    };
    let counts = |all: &[N]| -> Json { all.iter().map(|count| number(*count)).collect() };
    json!([
        number(one.count),
        bits(one.sum),
        one.layout.schema,
        bits(one.layout.zero_threshold),
        number(one.zero_count),
        spans(&one.layout.positive_spans),
        counts(&one.positive),
        spans(&one.layout.negative_spans),
        counts(&one.negative),
        one.counter_reset == xebec_tsdb::CounterReset::Gauge,
    ])
}

/// What upstream's program tells of the same body.
fn read(mut body: Vec<u8>, format: Format, options: ParserOptions) -> (Vec<Json>, Json) {
    let mut parser = Parser::new(&mut body, format, options);
    let mut entries = Vec::new();
    loop {
        let entry = match parser.next() {
            Ok(None) => return (entries, Json::Null),
            Err(error) => return (entries, json!(error.0)),
            Ok(Some(entry)) => entry,
        };
        entries.push(match entry {
            Entry::Comment => continue,
            Entry::Help { family, text } => json!(["help", family, text]),
            Entry::Type { family, kind } => json!(["type", family, kind.name()]),
            Entry::Unit { family, unit } => json!(["unit", family, unit]),
            Entry::Sample { time, value } => {
                let exemplars = parser.exemplars().into_iter();
                let exemplars: Vec<Json> =
                    exemplars.map(|one| json!([labels(one.labels), bits(one.value), one.time])).collect();
                let pairs = match parser.labels() {
                    Ok(pairs) => labels(pairs),
                    Err(error) => return (entries, json!(error.0)),
                };
                let value = match value {
                    Value::Float(value) => json!(bits(value)),
                    Value::Histogram(one) => histogram(&one),
                    Value::FloatHistogram(one) => histogram(&one),
                };
                json!(["sample", pairs, value, time, exemplars])
            }
        });
    }
}

#[test]
#[ignore = "needs what Prometheus' parsers say: conformance/metrics/run"]
fn expositions_are_read_as_upstream_reads_them() {
    let path = std::env::var("METRICS_EXPOSITIONS").expect("METRICS_EXPOSITIONS names a file");
    let text = std::fs::read_to_string(path).expect("the file is there");
    let (mut passed, mut of, mut shown) = (0, 0, 0);
    for line in text.lines() {
        let case: Json = serde_json::from_str(line).expect("a case is JSON");
        let hex = case["body"].as_str().expect("a body").as_bytes();
        let digit = |byte: u8| char::from(byte).to_digit(16).expect("a digit") as u8;
        let body: Vec<u8> = hex.chunks(2).map(|two| digit(two[0]) << 4 | digit(two[1])).collect();
        let format = match case["format"].as_str() {
            Some("text") => Format::Text,
            Some("openmetrics") => Format::OpenMetrics,
            _ => Format::Protobuf,
        };
        let native = case["native"] == true;
        let options = ParserOptions { native_histograms: native, classic_too: native };
        let (entries, error) = read(body.clone(), format, options);
        of += 1;
        // Of broken protobuf only the fact is compared: the words are those of a library.
        let same_error = match format {
            Format::Protobuf => error.is_null() == case["error"].is_null(),
            _ => error == case["error"],
        };
        let told = case["entries"].as_array().cloned().unwrap_or_default();
        let same = if format == Format::Protobuf && !error.is_null() { true } else { entries == told };
        if same && same_error {
            passed += 1;
        } else if shown < 20 {
            shown += 1;
            let body = String::from_utf8_lossy(&body);
            println!(
                "{format:?} {body:?}\n  theirs {told:?} {}\n  ours   {entries:?} {error}",
                case["error"]
            );
        }
    }
    println!("metrics-expositions: {passed} of {of} passed");
    let least: usize = std::env::var("METRICS_LEAST").ok().and_then(|text| text.parse().ok()).unwrap_or(of);
    assert!(passed >= least, "{passed} of {of} passed, {least} did before");
}

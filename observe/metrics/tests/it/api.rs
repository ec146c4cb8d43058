//! The HTTP API, asked by hand and by Debian's promtool, which says so and passes where it is not on the path.

use std::io::Read as _;
use std::process::Command;

use flate2::read::GzDecoder;
use serde_json::{Value, json};

use crate::server::Bench;

/// Two series of an hour, one sample each 15 seconds, from 1,700,000,000 s on.
async fn bench() -> Bench {
    let bench = Bench::start("").await;
    for (job, step) in [("a", 1.0), ("b", 2.0)] {
        let samples = (0..240).map(|at| (1_700_000_000_000 + at * 15_000, step * at as f64));
        bench.write(&[("__name__", "requests_total"), ("job", job), ("instance", "h:1")], samples);
    }
    bench
}

const END: &str = "1700003585";

#[tokio::test(flavor = "multi_thread")]
async fn queries_are_answered_in_upstreams_shape() {
    let bench = bench().await;
    let (status, answer) = bench.get(&format!("query?query=requests_total&time={END}")).await;
    assert_eq!(status, 200);
    assert_eq!(
        answer,
        json!({"status": "success", "data": {"resultType": "vector", "result": [
            {"metric": {"__name__": "requests_total", "instance": "h:1", "job": "a"}, "value": [1700003585, "239"]},
            {"metric": {"__name__": "requests_total", "instance": "h:1", "job": "b"}, "value": [1700003585, "478"]},
        ]}})
    );
    let (_, answer) = bench.get(&format!("query?query=1.5&time={END}.25")).await;
    assert_eq!(answer["data"], json!({"resultType": "scalar", "result": [1700003585.25, "1.5"]}));
    let (_, answer) = bench.get(&format!("query?query=%22a%22&time={END}")).await;
    assert_eq!(answer["data"], json!({"resultType": "string", "result": [1700003585, "a"]}));
    let range = "query_range?query=sum(requests_total)&start=1700000100&end=1700000160&step=30";
    let (_, answer) = bench.get(range).await;
    assert_eq!(
        answer["data"],
        json!({"resultType": "matrix", "result": [{"metric": {}, "values": [
            [1700000100, "18"], [1700000130, "24"], [1700000160, "30"]]}]})
    );
    let limited = format!("query?query=requests_total&time={END}&limit=1&stats=true");
    let (_, answer) = bench.get(&limited).await;
    assert_eq!(answer["data"]["result"].as_array().map(Vec::len), Some(1));
    assert_eq!(answer["warnings"], json!(["results truncated due to limit"]));
    assert!(answer["data"]["stats"]["samples"]["totalQueryableSamples"].as_u64() > Some(0), "{answer}");
    // Without a rate of counters a hint is given.
    let (_, answer) = bench.get(&format!("query?query=rate(requests[5m])&time={END}")).await;
    assert_eq!(answer["data"]["result"], json!([]));
    let late = "query?query=requests_total&time=1700003900";
    assert_eq!(bench.get(late).await.1["data"]["result"], json!([]));
    let back = format!("{late}&lookback_delta=10m");
    assert_eq!(bench.get(&back).await.1["data"]["result"].as_array().map(Vec::len), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_answered_is_told_with_upstreams_types_and_codes() {
    let bench = bench().await;
    for (path, status, kind, words) in [
        ("query?query=", 400, "bad_data", "invalid parameter \"query\": unknown position: parse error"),
        ("query?query=sum(", 400, "bad_data", "invalid parameter \"query\": 1:5: parse error"),
        (
            "query?query=1&time=x",
            400,
            "bad_data",
            "invalid parameter \"time\": invalid time value for 'time'",
        ),
        ("query?query=1&limit=-1", 400, "bad_data", "limit must be non-negative"),
        ("query?query=1&timeout=x", 400, "bad_data", "invalid parameter \"timeout\""),
        (
            "query_range?query=1&start=2&end=1&step=1",
            400,
            "bad_data",
            "end timestamp must not be before start time",
        ),
        ("query_range?query=1&start=1&end=2&step=0", 400, "bad_data", "zero or negative query resolution"),
        ("query_range?query=1&start=1&end=20000&step=1", 400, "bad_data", "11,000 points"),
        ("query_range?query=x[1m]&start=1&end=2&step=1", 400, "bad_data", "invalid expression type"),
        (
            "query?query=label_replace(requests_total,%22a%22,%22b%22,%22c%22,%22(%22)&time=1700003585",
            422,
            "execution",
            "invalid regular expression",
        ),
        ("series", 400, "bad_data", "no match[] parameter provided"),
        ("series?match[]={a=%22%22}", 400, "bad_data", "non-empty matcher"),
        ("labels?match[]=!", 400, "bad_data", "parse error"),
        ("status/tsdb?limit=0", 400, "bad_data", "positive number"),
        ("rules?type=x", 400, "bad_data", "not supported value"),
    ] {
        let (code, answer) = bench.get(path).await;
        assert_eq!(
            (code, &answer["status"], &answer["errorType"]),
            (status, &json!("error"), &json!(kind)),
            "{path}: {answer}"
        );
        let told = answer["error"].as_str().unwrap_or_default();
        assert!(told.contains(words.split(": unknown").next().unwrap()), "{path}: {told}");
    }
    for health in ["healthy", "ready"] {
        let request = format!("GET /-/{health} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        assert_eq!(bench.raw(&request).await.0, 200);
    }
    assert_eq!(bench.get("nothing").await.0, 404);
    let (status, head, _) =
        bench.raw("DELETE /api/v1/query HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(status == 405 && head.to_lowercase().contains("allow: get"), "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_and_packed_answers_are_understood() {
    let bench = bench().await;
    let form = format!("query=count(requests_total)&time={END}");
    let request = format!(
        "POST /api/v1/query?time=1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
        form.len()
    );
    let (_, _, body) = bench.raw(&request).await;
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(answer["data"]["result"][0]["value"][1], "2");
    let request = "GET /api/v1/query?query=requests_total[1h]&time=1700003585 HTTP/1.1\r\nhost: x\r\n\
                   connection: close\r\naccept-encoding: gzip, deflate\r\n\r\n";
    let (_, head, body) = bench.raw(request).await;
    assert!(head.to_lowercase().contains("content-encoding: gzip"), "{head}");
    let mut text = String::new();
    GzDecoder::new(&body[..]).read_to_string(&mut text).unwrap();
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer["data"]["result"][0]["values"].as_array().map(Vec::len), Some(240));
    let request =
        "POST /api/v1/status/flags HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(bench.raw(request).await.0, 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn series_labels_and_trees_are_told() {
    let bench = bench().await;
    let (_, answer) = bench.get("series?match[]=requests_total{job=%22a%22}").await;
    assert_eq!(answer["data"], json!([{"__name__": "requests_total", "instance": "h:1", "job": "a"}]));
    let (_, answer) = bench.get("series?match[]=requests_total&match[]={job=%22a%22}&limit=1").await;
    assert_eq!((answer["data"].as_array().map(Vec::len), answer["warnings"].is_array()), (Some(1), true));
    assert_eq!(bench.get("labels").await.1["data"], json!(["__name__", "instance", "job"]));
    assert_eq!(bench.get("label/job/values").await.1["data"], json!(["a", "b"]));
    assert_eq!(
        bench.get("label/job/values?match[]=requests_total{job!=%22a%22}").await.1["data"],
        json!(["b"])
    );
    assert_eq!(bench.get("label/job/values?start=1800000000").await.1["data"], json!([]));
    let (_, answer) = bench.get("parse_query?query=sum%20by%20(a)%20(rate(x{b=~%22c%22}[5m]))").await;
    let tree = &answer["data"];
    assert_eq!(
        (&tree["type"], &tree["op"], &tree["grouping"]),
        (&json!("aggregation"), &json!("sum"), &json!(["a"]))
    );
    let selector = &tree["expr"]["args"][0];
    assert_eq!((&selector["type"], &selector["range"]), (&json!("matrixSelector"), &json!(300_000)));
    assert_eq!(selector["matchers"][0], json!({"name": "b", "type": "=~", "value": "c"}));
    let (_, answer) = bench.get("format_query?query=a/b").await;
    assert_eq!(answer["data"], "a / b");
    for (path, key) in [
        ("status/buildinfo", "version"),
        ("status/runtimeinfo", "startTime"),
        ("status/flags", "a.b"),
        ("status/config", "yaml"),
        ("status/tsdb", "headStats"),
        ("targets", "activeTargets"),
        ("rules", "groups"),
        ("alerts", "alerts"),
        ("alertmanagers", "activeAlertmanagers"),
        ("scrape_pools", "scrapePools"),
    ] {
        let (status, answer) = bench.get(path).await;
        assert!(status == 200 && !answer["data"][key].is_null(), "{path}: {answer}");
    }
    let (_, answer) = bench.get("status/tsdb").await;
    assert_eq!(answer["data"]["headStats"]["numSeries"], 2);
    assert_eq!(answer["data"]["seriesCountByMetricName"][0], json!({"name": "requests_total", "value": 2}));
}

fn promtool(arguments: &[&str]) -> Option<String> {
    let output = match Command::new("promtool").args(arguments).output() {
        Ok(output) => output,
        Err(error) => {
            eprintln!("skipped, promtool does not run: {error}");
            return None;
        }
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{arguments:?}: {text}\n{}", String::from_utf8_lossy(&output.stderr));
    Some(text)
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_is_served() {
    let bench = bench().await;
    let url = format!("http://{}", bench.address);
    let asked = tokio::task::spawn_blocking(move || {
        let instant = promtool(&["query", "instant", "--time", END, &url, "requests_total"])?;
        assert!(
            instant.contains(r#"requests_total{instance="h:1", job="a"} => 239 @[1700003585]"#),
            "{instant}"
        );
        let range = promtool(&[
            "query",
            "range",
            "--start",
            "1700000000",
            "--end",
            END,
            "--step",
            "60s",
            &url,
            "sum(requests_total)",
        ])?;
        assert_eq!(range.lines().count(), 61, "{range}");
        let series =
            promtool(&["query", "series", "--match", "requests_total", "--start", "0", "--end", END, &url])?;
        assert_eq!(series.lines().count(), 2, "{series}");
        let labels = promtool(&["query", "labels", "--start", "0", "--end", END, &url, "job"])?;
        assert_eq!(labels.split_whitespace().collect::<Vec<_>>(), ["a", "b"]);
        Some(())
    });
    asked.await.unwrap();
}

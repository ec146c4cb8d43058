//! `xebec query EXPR`: asks the metrics of a running instance, and prints what it answers as a table.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::data_dir::endpoints_of;
use crate::output::{OutputArgs, table, tell};

/// The largest answer; a longer one breaks off.
const ANSWER: u64 = 256 << 20;
/// How long an instance may take to answer: longer than a query may take.
const PATIENCE: Duration = Duration::from_secs(150);
/// The most that a range is divided into if no step is given.
const STEPS: f64 = 250.0;

/// What `query` takes.
#[derive(Debug, Args)]
pub(crate) struct QueryArgs {
    /// A query in Prometheus' language, such as `sum by (job) (rate(apiserver_request_total[5m]))`.
    #[arg(value_name = "EXPR")]
    expr: String,
    /// When: RFC 3339 or seconds since 1970 [default: now]
    #[arg(long, value_name = "TIME", conflicts_with_all = ["start", "end", "step"])]
    time: Option<String>,
    /// From when on, for the values over a range of times.
    #[arg(long, value_name = "TIME", requires = "end")]
    start: Option<String>,
    /// Until when.
    #[arg(long, value_name = "TIME", requires = "start")]
    end: Option<String>,
    /// From one value to the next, such as 30s [default: a 250th of the range]
    #[arg(long, value_name = "DURATION", requires = "start")]
    step: Option<String>,
    /// The data directory of the instance.
    #[arg(long, value_name = "DIR", default_value = ".xebec")]
    data: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
}

/// Asks and prints.
pub(crate) async fn run(args: &QueryArgs) -> Result<()> {
    let endpoints = endpoints_of(&args.data)?;
    let address = endpoints.get("prometheus").ok_or_else(|| {
        anyhow!("the instance of {} runs without its metrics: leave them in", args.data.display())
    })?;
    let mut params = vec![("query", args.expr.clone())];
    let path = match (&args.start, &args.end) {
        (Some(start), Some(end)) => {
            let step = match &args.step {
                Some(step) => step.clone(),
                None => usual_step(start, end)?,
            };
            params.extend([("start", start.clone()), ("end", end.clone()), ("step", step)]);
            "query_range"
        }
        _ => {
            params.extend(args.time.clone().map(|time| ("time", time)));
            "query"
        }
    };
    let answer = timeout(PATIENCE, ask(*address, path, &params)).await;
    let answer = answer.map_err(io::Error::from).map_err(anyhow::Error::from).flatten();
    let answer = answer.with_context(|| format!("the instance at {address} did not answer"))?;
    if answer["status"] != "success" {
        bail!("{}", answer["error"].as_str().unwrap_or("the answer is no answer"));
    }
    for note in
        ["warnings", "infos"].into_iter().flat_map(|kind| answer[kind].as_array().into_iter().flatten())
    {
        tell(note.as_str().unwrap_or_default());
    }
    let data = &answer["data"];
    args.output.print(data, || shown(data))
}

fn seconds(text: &str) -> Result<f64> {
    if let Ok(seconds) = text.parse() {
        return Ok(seconds);
    }
    let time: jiff::Timestamp =
        text.parse().with_context(|| format!("{text:?} is neither RFC 3339 nor seconds since 1970"))?;
    Ok(time.as_millisecond() as f64 / 1000.0)
}

fn usual_step(start: &str, end: &str) -> Result<String> {
    let range = seconds(end)? - seconds(start)?;
    Ok((range / STEPS).ceil().max(1.0).to_string())
}

async fn ask(address: SocketAddr, path: &str, params: &[(&str, String)]) -> Result<Value> {
    let encode = |text: &str| {
        text.bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
                byte => format!("%{byte:02X}"),
            })
            .collect::<String>()
    };
    let pairs: Vec<String> = params.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
    let body = pairs.join("&");
    let request = format!(
        "POST /api/v1/{path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.take(ANSWER).read_to_string(&mut answer).await?;
    let (_, body) = answer.split_once("\r\n\r\n").ok_or_else(|| anyhow!("its answer breaks off"))?;
    serde_json::from_str(body).with_context(|| format!("its answer is not JSON: {}", body.trim()))
}

/// A series as it is written in queries.
fn metric(labels: &Value) -> String {
    let labels = labels.as_object();
    let name = labels.and_then(|labels| labels.get("__name__")?.as_str()).unwrap_or_default();
    let others = labels.into_iter().flatten().filter(|(name, _)| *name != "__name__");
    let others: Vec<String> = others.map(|(name, value)| format!("{name}={value}")).collect();
    if others.is_empty() && !name.is_empty() {
        return name.to_owned();
    }
    format!("{name}{{{}}}", others.join(", "))
}

fn value(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        histogram => {
            format!(
                "count {}, sum {}",
                histogram["count"].as_str().unwrap_or("?"),
                histogram["sum"].as_str().unwrap_or("?")
            )
        }
    }
}

fn time(point: &Value) -> String {
    let millis = (point.as_f64().unwrap_or_default() * 1000.0).round() as i64;
    jiff::Timestamp::from_millisecond(millis).map_or_else(|_| point.to_string(), |time| time.to_string())
}

/// An answer for people.
fn shown(data: &Value) -> String {
    let result = &data["result"];
    let each = || result.as_array().into_iter().flatten();
    match data["resultType"].as_str() {
        Some("vector") => {
            let row = |sample: &Value| {
                let point = sample.get("value").or_else(|| sample.get("histogram"));
                [metric(&sample["metric"]), point.map(|point| value(&point[1])).unwrap_or_default()]
            };
            table(["SERIES", "VALUE"], &each().map(row).collect::<Vec<_>>())
        }
        Some("matrix") => {
            let rows = each().flat_map(|series| {
                let points = ["values", "histograms"].into_iter().filter_map(|kind| series[kind].as_array());
                let name = metric(&series["metric"]);
                points.flatten().map(move |point| [name.clone(), time(&point[0]), value(&point[1])])
            });
            table(["SERIES", "TIME", "VALUE"], &rows.collect::<Vec<_>>())
        }
        _ => value(&result[1]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_become_tables() {
        let vector = json!({"resultType": "vector", "result": [
            {"metric": {"__name__": "up", "job": "a"}, "value": [1, "1"]},
            {"metric": {}, "histogram": [1, {"count": "3", "sum": "4"}]},
        ]});
        assert_eq!(shown(&vector), "SERIES        VALUE\nup{job=\"a\"}   1\n{}            count 3, sum 4\n");
        let matrix = json!({"resultType": "matrix", "result": [
            {"metric": {"__name__": "up"}, "values": [[1.5, "1"]]},
        ]});
        assert!(shown(&matrix).contains("up       1970-01-01T00:00:01.5Z   1\n"), "{}", shown(&matrix));
        assert_eq!(shown(&json!({"resultType": "scalar", "result": [1, "2"]})), "2");
    }

    #[test]
    fn a_range_without_a_step_is_divided() {
        assert_eq!(usual_step("0", "3600").unwrap(), "15");
        assert_eq!(usual_step("1970-01-01T00:00:00Z", "10").unwrap(), "1");
    }
}

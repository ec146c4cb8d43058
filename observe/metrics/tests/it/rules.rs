//! Rules that run: their files followed, their series written, told over HTTP.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::server::{Bench, serve};

const CONFIG: &str =
    "global:\n  evaluation_interval: 200ms\n  external_labels: {zone: z}\nrule_files: ['rules*.yml']\n";
const RULES: &str = "
groups:
- name: g
  labels: {team: t}
  rules:
  - record: doubled
    expr: vector(21) * 2
    labels: {a: b}
  - alert: Great
    expr: doubled > 40
    labels: {severity: '{{ $value | humanize }}'}
    annotations: {told: '{{ $labels.a }} in {{ $externalLabels.zone }} at {{ $externalURL }}'}
  - alert: Small
    expr: doubled < 40
    for: 1h
- name: broken
  limit: 1
  rules:
  - record: two
    expr: label_replace(vector(1), \"x\", \"1\", \"\", \"\") or vector(2)
";

struct Ruling {
    bench: Bench,
    stop: CancellationToken,
}

impl Ruling {
    async fn start() -> Self {
        Self::with(CONFIG).await
    }

    async fn with(config: &str) -> Self {
        let bench = Bench::start(config).await;
        let ruling = Self { bench, stop: CancellationToken::new() };
        ruling.write("rules.yml", RULES);
        ruling.bench.ruler.reload().unwrap();
        let (ruler, stop) = (ruling.bench.ruler.clone(), ruling.stop.clone());
        tokio::spawn(async move { ruler.run(stop).await });
        ruling
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.bench.directory.path().join(name), text).unwrap();
    }

    /// Asks until it holds of the answer's data.
    async fn until(&self, path: &str, holds: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..200 {
            let (status, answer) = self.bench.get(path).await;
            if status == 200 && holds(&answer["data"]) {
                return answer["data"].clone();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{path}: {:?}", self.bench.get(path).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_evaluated_and_told() {
    let ruling = Ruling::start().await;
    let alerts = ruling.until("alerts", |data| data["alerts"][0]["state"] == "firing").await;
    let alert = &alerts["alerts"][0];
    assert_eq!(
        alert["labels"],
        serde_json::json!({"alertname": "Great", "a": "b", "severity": "42", "team": "t"})
    );
    assert_eq!(alert["annotations"]["told"], "b in z at http://rules");
    assert_eq!(alert["value"], "4.2e+01");
    let evaluated = |data: &Value| data["groups"][1]["rules"][2]["health"] == "ok";
    let rules = ruling
        .until("rules", |data| evaluated(data) && data["groups"][0]["rules"][0]["health"] == "err")
        .await;
    let (broken, good) = (&rules["groups"][0], &rules["groups"][1]);
    assert_eq!(broken["rules"][0]["lastError"], "exceeded limit of 1 with 2 series");
    assert_eq!((&good["name"], &good["interval"], &good["limit"]), (&"g".into(), &0.2.into(), &0.into()));
    let rule = &good["rules"][1];
    assert_eq!(
        (&rule["type"], &rule["state"], &rule["duration"]),
        (&"alerting".into(), &"firing".into(), &0.0.into())
    );
    assert_eq!(good["rules"][2]["state"], "inactive");
    let found = ruling.until("query?query=ALERTS", |data| data["result"][0]["value"][1] == "1").await;
    assert_eq!(found["result"][0]["metric"]["alertstate"], "firing");
    let text = ruling.bench.ruler.figures();
    assert!(text.contains("prometheus_rule_group_rules{rule_group=") && text.contains(";g\"} 3"), "{text}");
    assert!(text.lines().all(|line| line.starts_with('#') || line.starts_with("prometheus_rule_")), "{text}");
    ruling.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_chosen_and_paged() {
    let ruling = Ruling::start().await;
    let names = |data: &Value| -> Vec<String> {
        let groups = data["groups"].as_array().unwrap().iter();
        let rules = groups.flat_map(|group| group["rules"].as_array().unwrap());
        rules.map(|rule| rule["name"].as_str().unwrap().to_owned()).collect()
    };
    let file = ruling.bench.directory.path().join("rules.yml").display().to_string();
    let of_file = format!("rules?file[]={file}&rule_group[]=broken");
    for (path, expected) in [
        ("rules?type=alert", &["Great", "Small"][..]),
        ("rules?type=record", &["two", "doubled"]),
        ("rules?rule_name[]=Small&rule_name[]=two", &["two", "Small"]),
        ("rules?rule_group[]=broken", &["two"]),
        (of_file.as_str(), &["two"]),
        ("rules?file[]=none", &[]),
        ("rules?match[]={a=%22b%22}", &["doubled"]),
        ("rules?group_limit=1", &["two"]),
    ] {
        let (status, answer) = ruling.bench.get(path).await;
        assert_eq!(
            (status, names(&answer["data"])),
            (200, expected.iter().map(|&name| name.to_owned()).collect()),
            "{path}"
        );
    }
    let (_, first) = ruling.bench.get("rules?group_limit=1").await;
    let token = first["data"]["groupNextToken"].as_str().unwrap();
    let (_, second) = ruling.bench.get(&format!("rules?group_limit=1&group_next_token={token}")).await;
    assert_eq!(names(&second["data"]), ["doubled", "Great", "Small"]);
    assert!(second["data"]["groupNextToken"].is_null());
    let (_, bare) = ruling.bench.get("rules?type=alert&exclude_alerts=true").await;
    assert!(bare["data"]["groups"][0]["rules"][0]["alerts"].is_null());
    for (path, why) in [
        ("rules?type=x", "invalid parameter \"type\": not supported value \"x\""),
        ("rules?group_limit=0", "invalid parameter \"group_limit\": group_limit needs to be greater than 0"),
        (
            "rules?group_next_token=x",
            "invalid parameter \"group_next_token\": group_limit needs to be present in order to paginate over the groups",
        ),
        (
            "rules?group_limit=1&group_next_token=x",
            "invalid parameter \"group_next_token\": invalid group_next_token 'x'. were rule groups changed?",
        ),
        (
            "rules?exclude_alerts=maybe",
            "invalid parameter \"exclude_alerts\": error converting exclude_alerts: strconv.ParseBool: parsing \"maybe\": \
             invalid syntax",
        ),
    ] {
        let (status, answer) = ruling.bench.get(path).await;
        assert_eq!((status, answer["error"].as_str()), (400, Some(why)), "{path}");
    }
    ruling.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_what_runs() {
    let ruling = Ruling::start().await;
    ruling.until("query?query=doubled", |data| data["result"][0]["value"][1] == "42").await;
    ruling.write("rules2.yml", "groups:\n- name: new\n  rules:\n  - record: fresh\n    expr: sum(\n");
    let reload = "POST /-/reload HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let (status, _, body) = ruling.bench.raw(reload).await;
    let told = String::from_utf8(body).unwrap();
    assert!(status == 500 && told.contains("rules2.yml: 5:11: group \"new\", rule 1, \"fresh\""), "{told}");
    ruling.write("rules2.yml", "groups:\n- name: new\n  rules:\n  - record: fresh\n    expr: doubled + 1\n");
    ruling.write("rules.yml", "groups:\n- name: g\n  rules:\n  - record: doubled\n    expr: vector(7)\n    labels: {a: b, team: t}\n");
    assert_eq!(ruling.bench.raw(reload).await.0, 200);
    ruling.until("query?query=fresh", |data| data["result"][0]["value"][1] == "8").await;
    // Alerts of rules that are gone are no longer there, nor are their series.
    ruling.until("alerts", |data| data["alerts"] == serde_json::json!([])).await;
    ruling.until("query?query=ALERTS", |data| data["result"] == serde_json::json!([])).await;
    ruling.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_reach_an_alertmanager() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let own = Arc::clone(&heard);
    let manager = serve(move |request: Request<Incoming>| {
        let heard = Arc::clone(&own);
        async move {
            let path = request.uri().path().to_owned();
            let body = request.into_body().collect().await.unwrap().to_bytes();
            heard.lock().unwrap().push((path, serde_json::from_slice::<Value>(&body).unwrap()));
            Response::new(Full::default())
        }
    })
    .await;
    let config = format!(
        "{CONFIG}alerting:\n  alert_relabel_configs: [{{regex: severity, action: labeldrop}}]\n  alertmanagers:\n  - path_prefix: \
         /am\n    static_configs: [{{targets: ['{manager}']}}]\n    alert_relabel_configs: [{{source_labels: [alertname], \
         regex: Small, action: drop}}]\n"
    );
    let ruling = Ruling::with(&config).await;
    let url = format!("http://{manager}/am/api/v2/alerts");
    ruling.until("alertmanagers", |data| data["activeAlertmanagers"][0]["url"] == url).await;
    ruling.until("alerts", |data| data["alerts"][0]["state"] == "firing").await;
    for _ in 0..100 {
        if !heard.lock().unwrap().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (path, body) = heard.lock().unwrap()[0].clone();
    assert_eq!(path, "/am/api/v2/alerts");
    let alert = &body[0];
    assert_eq!(
        alert["labels"],
        serde_json::json!({"alertname": "Great", "a": "b", "team": "t", "zone": "z"})
    );
    assert_eq!(alert["generatorURL"], "http://rules/graph?g0.expr=doubled+%3E+40&g0.tab=1");
    assert!(alert["startsAt"].as_str() < alert["endsAt"].as_str(), "{alert}");
    let sent = format!("prometheus_notifications_sent_total{{alertmanager=\"{url}\"}} 1");
    for _ in 0..100 {
        if ruling.bench.ruler.figures().contains(&sent) {
            return ruling.stop.cancel();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{}", ruling.bench.ruler.figures());
}

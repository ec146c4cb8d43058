use super::*;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text.to_owned(), Path::new("/etc/prometheus"))
}

const WHOLE: &str = r#"
global:
  scrape_interval: 15s
  evaluation_interval: 15s
  external_labels: { cluster: a, zone: 1 }
  sample_limit: 1000
rule_files: ["rules/*.yml"]
alerting:
  alertmanagers: [{ static_configs: [{ targets: ["localhost:9093"] }] }]
scrape_configs:
  - job_name: prometheus
    static_configs:
      - targets: ["localhost:9090", "localhost:9091"]
        labels: { env: prod, shard: 1 }
  - job_name: node
    scrape_interval: 5s
    scrape_timeout: 2s
    honor_labels: true
    honor_timestamps: false
    metrics_path: /m
    scheme: https
    params: { module: [http_2xx] }
    body_size_limit: 10MB
    sample_limit: 5
    label_limit: 30
    basic_auth: { username: a, password: b }
    tls_config: { ca_file: ca.pem, insecure_skip_verify: true, server_name: x }
    file_sd_configs: [{ files: ["targets/*.json"] }]
    kubernetes_sd_configs: [{ role: pod }]
    relabel_configs:
      - source_labels: [__address__]
        regex: "(.*):.*"
        target_label: host
    metric_relabel_configs:
      - action: labeldrop
        regex: tmp_.*
"#;

#[test]
fn a_whole_file_is_read() {
    let config = parse(WHOLE).unwrap();
    let [first, second] = config.jobs.as_slice() else { panic!("two jobs") };
    assert_eq!((first.interval.millis(), first.timeout.millis()), (15_000, 10_000));
    assert_eq!((first.limits.samples, first.groups[0].targets.len()), (1000, 2));
    assert_eq!(first.groups[0].labels.to_string(), r#"{env="prod", shard="1"}"#);
    assert_eq!((second.interval.millis(), second.timeout.millis()), (5000, 2000));
    assert_eq!((second.limits.body, second.limits.samples, second.limits.labels), (10 << 20, 5, 30));
    assert_eq!(second.authorization, Some(Credentials::Header("Basic YTpi".to_owned())));
    assert_eq!(second.tls.authorities, Some(Pem::File("/etc/prometheus/ca.pem".into())));
    assert!(second.tls.insecure && second.honor_labels && !second.honor_timestamps);
    assert_eq!(second.files[0].files, [PathBuf::from("/etc/prometheus/targets/*.json")]);
    assert_eq!((second.relabel.len(), second.metric_relabel.len()), (1, 1));
    assert_eq!(config.rules.files, [PathBuf::from("/etc/prometheus/rules/*.yml")]);
    assert_eq!((config.rules.interval.millis(), config.alerting.managers.len()), (15_000, 1));
    let warnings = &config.warnings;
    assert!(warnings.iter().any(|warning| warning.contains("kubernetes_sd_configs")), "{warnings:?}");
    assert!(parse("").unwrap().jobs.is_empty());
}

#[test]
fn what_is_wrong_is_told_with_its_field() {
    let job = |text: &str| format!("scrape_configs:\n  - job_name: x\n    {text}\n");
    for (text, words) in [
        ("globl: {}".to_owned(), &["globl"] as &[&str]),
        (job("scrape_intervall: 5s"), &["scrape_intervall"]),
        (job("scrape_interval: 5x"), &["scrape_configs[0]", "scrape_interval", "5x"]),
        (job("scrape_interval: 0s"), &["scrape_interval", "above zero"]),
        (job("scrape_timeout: 2m"), &["scrape_timeout", "greater"]),
        (job("scheme: ftp"), &["scheme", "ftp"]),
        (job("body_size_limit: many"), &["body_size_limit", "many"]),
        (job("sample_limit: many"), &["many"]),
        (job("relabel_configs: [{ action: explode }]"), &["relabel_configs[0]", "explode"]),
        (
            job("metric_relabel_configs: [{ regex: a, action: drop }, { regex: '(', target_label: a }]"),
            &["metric_relabel_configs[1]", "regex"],
        ),
        (job("static_configs: [{ targets: ['http://a/'] }]"), &["static_configs[0]", "http://a/"]),
        (job("file_sd_configs: [{ files: ['a.txt'] }]"), &["file_sd_configs[0]", "a.txt"]),
        (job("basic_auth: {}\n    bearer_token: a"), &["basic_auth", "bearer_token"]),
        (job("tls_config: { cert_file: a }"), &["tls_config", "key"]),
        ("scrape_configs: [{ job_name: a }, { job_name: a }]".to_owned(), &["scrape_configs[1]", "multiple"]),
        ("scrape_configs: [{ scheme: http }]".to_owned(), &["job_name"]),
    ] {
        let error = parse(&text).unwrap_err();
        assert!(words.iter().all(|word| error.contains(word)), "{text}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn files_of_targets_are_read_as_yaml_and_json() {
    let json = r#"[{"targets": ["a:1", "b:2"], "labels": {"env": "x"}}]"#;
    let yaml = "- targets: [a:1, b:2]\n  labels: { env: x }\n";
    let (one, two) = (read_groups(json).unwrap(), read_groups(yaml).unwrap());
    assert_eq!(one, two);
    assert_eq!(one[0].targets[1].get("__address__"), "b:2");
    assert!(read_groups("- target: [a]").unwrap_err().contains("target"));
    assert!(read_groups("").unwrap().is_empty());
}

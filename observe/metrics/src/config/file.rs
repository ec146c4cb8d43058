//! `prometheus.yml` field by field, as it is written.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::relabel::RuleConfig;

/// A text that may be written as a number or a truth value.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Text(pub(crate) String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(Self)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) global: Option<Global>,
    pub(super) scrape_configs: Option<Vec<Job>>,
    runtime: Option<Value>,
    pub(super) alerting: Option<Alerting>,
    pub(super) rule_files: Option<Vec<String>>,
    scrape_config_files: Option<Vec<Value>>,
    storage: Option<Value>,
    tracing: Option<Value>,
    remote_write: Option<Vec<Value>>,
    remote_read: Option<Vec<Value>>,
    otlp: Option<Value>,
}

impl File {
    /// What is asked for and not done.
    pub(super) fn not_served(&self) -> Vec<String> {
        let is_said = |list: &Option<Vec<Value>>| list.as_ref().is_some_and(|list| !list.is_empty());
        let asked = [
            ("scrape_config_files", is_said(&self.scrape_config_files)),
            ("storage", self.storage.is_some()),
            ("tracing", self.tracing.is_some()),
            ("remote_write", is_said(&self.remote_write)),
            ("remote_read", is_said(&self.remote_read)),
            ("otlp", self.otlp.is_some()),
            ("runtime", self.runtime.is_some()),
        ];
        told(asked.into_iter())
    }
}

fn told<'a>(asked: impl Iterator<Item = (&'a str, bool)>) -> Vec<String> {
    let asked = asked.filter(|(_, is_asked)| *is_asked);
    asked.map(|(name, _)| format!("{name} is known to Prometheus but not served here yet")).collect()
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Global {
    pub(super) scrape_interval: Option<String>,
    pub(super) scrape_timeout: Option<String>,
    scrape_protocols: Option<Vec<String>>,
    pub(super) evaluation_interval: Option<String>,
    pub(super) rule_query_offset: Option<String>,
    pub(super) external_labels: Option<BTreeMap<String, Text>>,
    query_log_file: Option<String>,
    scrape_failure_log_file: Option<String>,
    pub(super) body_size_limit: Option<Text>,
    pub(super) sample_limit: Option<usize>,
    pub(super) label_limit: Option<usize>,
    pub(super) label_name_length_limit: Option<usize>,
    pub(super) label_value_length_limit: Option<usize>,
    pub(super) target_limit: Option<usize>,
    keep_dropped_targets: Option<usize>,
    metric_name_validation_scheme: Option<String>,
    metric_name_escaping_scheme: Option<String>,
    pub(super) scrape_native_histograms: Option<bool>,
    pub(super) always_scrape_classic_histograms: Option<bool>,
    convert_classic_histograms_to_nhcb: Option<bool>,
    extra_scrape_metrics: Option<bool>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Job {
    pub(super) job_name: String,
    pub(super) honor_labels: Option<bool>,
    pub(super) honor_timestamps: Option<bool>,
    pub(super) track_timestamps_staleness: Option<bool>,
    pub(super) params: Option<BTreeMap<String, Vec<String>>>,
    pub(super) scrape_interval: Option<String>,
    pub(super) scrape_timeout: Option<String>,
    scrape_protocols: Option<Vec<String>>,
    pub(super) scrape_fallback_protocol: Option<String>,
    pub(super) scrape_native_histograms: Option<bool>,
    pub(super) always_scrape_classic_histograms: Option<bool>,
    convert_classic_histograms_to_nhcb: Option<bool>,
    scrape_failure_log_file: Option<String>,
    extra_scrape_metrics: Option<bool>,
    pub(super) metrics_path: Option<String>,
    pub(super) scheme: Option<String>,
    pub(super) enable_compression: Option<bool>,
    pub(super) body_size_limit: Option<Text>,
    pub(super) sample_limit: Option<usize>,
    pub(super) target_limit: Option<usize>,
    pub(super) label_limit: Option<usize>,
    pub(super) label_name_length_limit: Option<usize>,
    pub(super) label_value_length_limit: Option<usize>,
    pub(super) native_histogram_bucket_limit: Option<usize>,
    native_histogram_min_bucket_factor: Option<f64>,
    keep_dropped_targets: Option<usize>,
    metric_name_validation_scheme: Option<String>,
    metric_name_escaping_scheme: Option<String>,
    pub(super) basic_auth: Option<BasicAuth>,
    pub(super) authorization: Option<Authorization>,
    oauth2: Option<Value>,
    pub(super) bearer_token: Option<String>,
    pub(super) bearer_token_file: Option<String>,
    pub(super) tls_config: Option<Tls>,
    proxy_url: Option<String>,
    no_proxy: Option<String>,
    proxy_from_environment: Option<bool>,
    proxy_connect_header: Option<Value>,
    follow_redirects: Option<bool>,
    enable_http2: Option<bool>,
    http_headers: Option<Value>,
    pub(super) static_configs: Option<Vec<StaticConfig>>,
    pub(super) file_sd_configs: Option<Vec<FileSd>>,
    pub(super) relabel_configs: Option<Vec<RuleConfig>>,
    pub(super) metric_relabel_configs: Option<Vec<RuleConfig>>,
    aws_sd_configs: Option<Vec<Value>>,
    azure_sd_configs: Option<Vec<Value>>,
    consul_sd_configs: Option<Vec<Value>>,
    digitalocean_sd_configs: Option<Vec<Value>>,
    dns_sd_configs: Option<Vec<Value>>,
    docker_sd_configs: Option<Vec<Value>>,
    dockerswarm_sd_configs: Option<Vec<Value>>,
    dynatrace_sd_configs: Option<Vec<Value>>,
    ec2_sd_configs: Option<Vec<Value>>,
    ecs_sd_configs: Option<Vec<Value>>,
    oci_sd_configs: Option<Vec<Value>>,
    elasticache_sd_configs: Option<Vec<Value>>,
    eureka_sd_configs: Option<Vec<Value>>,
    gce_sd_configs: Option<Vec<Value>>,
    hetzner_sd_configs: Option<Vec<Value>>,
    http_sd_configs: Option<Vec<Value>>,
    ionos_sd_configs: Option<Vec<Value>>,
    kubernetes_sd_configs: Option<Vec<Value>>,
    kuma_sd_configs: Option<Vec<Value>>,
    lightsail_sd_configs: Option<Vec<Value>>,
    linode_sd_configs: Option<Vec<Value>>,
    marathon_sd_configs: Option<Vec<Value>>,
    msk_sd_configs: Option<Vec<Value>>,
    nerve_sd_configs: Option<Vec<Value>>,
    nomad_sd_configs: Option<Vec<Value>>,
    openstack_sd_configs: Option<Vec<Value>>,
    outscale_sd_configs: Option<Vec<Value>>,
    ovhcloud_sd_configs: Option<Vec<Value>>,
    puppetdb_sd_configs: Option<Vec<Value>>,
    rds_sd_configs: Option<Vec<Value>>,
    scaleway_sd_configs: Option<Vec<Value>>,
    serverset_sd_configs: Option<Vec<Value>>,
    stackit_sd_configs: Option<Vec<Value>>,
    triton_sd_configs: Option<Vec<Value>>,
    uyuni_sd_configs: Option<Vec<Value>>,
    vultr_sd_configs: Option<Vec<Value>>,
}

impl Job {
    /// What is asked for and not done.
    pub(super) fn not_served(&self) -> Vec<String> {
        let asked = [
            ("oauth2", self.oauth2.is_some()),
            ("proxy_url", self.proxy_url.is_some()),
            ("proxy_from_environment", self.proxy_from_environment == Some(true)),
            ("http_headers", self.http_headers.is_some()),
            ("scrape_protocols", self.scrape_protocols.is_some()),
            ("scrape_failure_log_file", self.scrape_failure_log_file.is_some()),
            ("extra_scrape_metrics", self.extra_scrape_metrics == Some(true)),
            ("convert_classic_histograms_to_nhcb", self.convert_classic_histograms_to_nhcb == Some(true)),
            ("native_histogram_min_bucket_factor", self.native_histogram_min_bucket_factor.is_some()),
            ("metric_name_validation_scheme", self.metric_name_validation_scheme.is_some()),
            ("metric_name_escaping_scheme", self.metric_name_escaping_scheme.is_some()),
            ("aws_sd_configs", self.aws_sd_configs.is_some()),
            ("azure_sd_configs", self.azure_sd_configs.is_some()),
            ("consul_sd_configs", self.consul_sd_configs.is_some()),
            ("digitalocean_sd_configs", self.digitalocean_sd_configs.is_some()),
            ("dns_sd_configs", self.dns_sd_configs.is_some()),
            ("docker_sd_configs", self.docker_sd_configs.is_some()),
            ("dockerswarm_sd_configs", self.dockerswarm_sd_configs.is_some()),
            ("dynatrace_sd_configs", self.dynatrace_sd_configs.is_some()),
            ("ecs_sd_configs", self.ecs_sd_configs.is_some()),
            ("oci_sd_configs", self.oci_sd_configs.is_some()),
            ("ec2_sd_configs", self.ec2_sd_configs.is_some()),
            ("elasticache_sd_configs", self.elasticache_sd_configs.is_some()),
            ("eureka_sd_configs", self.eureka_sd_configs.is_some()),
            ("gce_sd_configs", self.gce_sd_configs.is_some()),
            ("hetzner_sd_configs", self.hetzner_sd_configs.is_some()),
            ("http_sd_configs", self.http_sd_configs.is_some()),
            ("ionos_sd_configs", self.ionos_sd_configs.is_some()),
            ("kubernetes_sd_configs", self.kubernetes_sd_configs.is_some()),
            ("kuma_sd_configs", self.kuma_sd_configs.is_some()),
            ("lightsail_sd_configs", self.lightsail_sd_configs.is_some()),
            ("linode_sd_configs", self.linode_sd_configs.is_some()),
            ("marathon_sd_configs", self.marathon_sd_configs.is_some()),
            ("msk_sd_configs", self.msk_sd_configs.is_some()),
            ("nerve_sd_configs", self.nerve_sd_configs.is_some()),
            ("nomad_sd_configs", self.nomad_sd_configs.is_some()),
            ("openstack_sd_configs", self.openstack_sd_configs.is_some()),
            ("outscale_sd_configs", self.outscale_sd_configs.is_some()),
            ("ovhcloud_sd_configs", self.ovhcloud_sd_configs.is_some()),
            ("puppetdb_sd_configs", self.puppetdb_sd_configs.is_some()),
            ("rds_sd_configs", self.rds_sd_configs.is_some()),
            ("scaleway_sd_configs", self.scaleway_sd_configs.is_some()),
            ("serverset_sd_configs", self.serverset_sd_configs.is_some()),
            ("stackit_sd_configs", self.stackit_sd_configs.is_some()),
            ("triton_sd_configs", self.triton_sd_configs.is_some()),
            ("uyuni_sd_configs", self.uyuni_sd_configs.is_some()),
            ("vultr_sd_configs", self.vultr_sd_configs.is_some()),
        ];
        told(asked.into_iter())
    }
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BasicAuth {
    pub(super) username: Option<String>,
    pub(super) username_file: Option<String>,
    pub(super) password: Option<String>,
    pub(super) password_file: Option<String>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Authorization {
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) credentials: Option<String>,
    pub(super) credentials_file: Option<String>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    pub(super) ca: Option<String>,
    pub(super) cert: Option<String>,
    pub(super) key: Option<String>,
    pub(super) ca_file: Option<String>,
    pub(super) cert_file: Option<String>,
    pub(super) key_file: Option<String>,
    pub(super) server_name: Option<String>,
    pub(super) insecure_skip_verify: Option<bool>,
    min_version: Option<String>,
    max_version: Option<String>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StaticConfig {
    #[serde(default)]
    pub(super) targets: Vec<String>,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, Text>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileSd {
    pub(super) files: Vec<String>,
    refresh_interval: Option<String>,
}

/// A number of bytes: `0`, `512`, `10MB`, `1GiB`.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit {
        "" | "B" => 0,
        "KB" | "KiB" => 10,
        "MB" | "MiB" => 20,
        "GB" | "GiB" => 30,
        "TB" | "TiB" => 40,
        _ => return Err(format!("{text:?} is no number of bytes such as 10MB")),
    };
    let number: u64 = number.parse().map_err(|_| format!("{text:?} is no number of bytes such as 10MB"))?;
    number.checked_mul(1 << shift).ok_or_else(|| format!("{text:?} is too large"))
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Alerting {
    pub(super) alert_relabel_configs: Option<Vec<RuleConfig>>,
    pub(super) alertmanagers: Option<Vec<Alertmanager>>,
}

/// Where alerts go. What a job of scraping has in common with it means the same.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Alertmanager {
    pub(super) path_prefix: Option<String>,
    pub(super) timeout: Option<String>,
    pub(super) api_version: Option<String>,
    pub(super) alert_relabel_configs: Option<Vec<RuleConfig>>,
    #[serde(flatten)]
    pub(super) rest: BTreeMap<String, Value>,
}

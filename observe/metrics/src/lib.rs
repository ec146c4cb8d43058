//! Metrics as Prometheus has them: what targets expose is scraped into a time-series database, and answered from there.
//!
//! Comes in: a `prometheus.yml`, jobs and targets that the program itself knows of, and requests of Prometheus' HTTP API.
//! Goes out: samples into [`xebec_tsdb`], results of [`xebec_promql`] as JSON, alerts of [`xebec_rules`] to Alertmanagers. [`exposition`] and [`relabel`] are pure:
//! bytes and values in, values out. The crate knows no Kubernetes and listens nowhere: who finds pods, and whose sockets
//! are served, is the caller's. It follows Prometheus 3.15.

pub mod api;
pub mod config;
pub mod exposition;
pub mod labels;
pub mod notify;
pub mod relabel;
pub mod ruler;
pub mod scrape;
pub mod storage;

/// The version of Prometheus whose API is served.
pub const API_VERSION: &str = "3.15.0";

/// Milliseconds since 1970.
fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as i64)
}

/// A time as RFC 3339 has it.
fn rfc3339(millis: i64) -> String {
    match jiff::Timestamp::from_millisecond(millis) {
        Ok(time) if millis > 0 => time.to_string(),
        // Upstream's zero time.
        _ => "0001-01-01T00:00:00Z".to_owned(),
    }
}

//! `prometheus.yml`: what is read of it, checked, with what stands in its place where nothing is said.
//!
//! What upstream knows and this does not yet do is told as a warning; what nobody knows is an error that names it.

mod file;
mod rules;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use xebec_promql::duration::Duration as Span;

use crate::exposition::{Format, Limits};
use crate::labels::LabelSet;
use crate::relabel::{Rule, RuleConfig};
use file::{File, Job, StaticConfig, Tls};
pub use rules::{AlertingConfig, AlertmanagerConfig, RulesConfig};

/// The largest file.
const MOST_BYTES: u64 = 16 << 20;
/// More jobs than these are refused.
const MOST_JOBS: usize = 10_000;

/// What is wrong with a configuration, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {why}")]
pub struct ConfigError {
    /// The file.
    pub file: String,
    /// The field, and what is wrong with it.
    pub why: String,
}

/// A whole configuration.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// What is scraped.
    pub jobs: Vec<ScrapeConfig>,
    /// What is said of rules.
    pub rules: RulesConfig,
    /// What is said of alerts.
    pub alerting: AlertingConfig,
    /// What the file asks for and is not done.
    pub warnings: Vec<String>,
    /// The file as it is written.
    pub text: String,
}

/// Targets with the labels that they have in common.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group {
    /// Addresses, with labels of their own.
    pub targets: Vec<LabelSet>,
    /// What they have in common.
    pub labels: LabelSet,
}

/// Files that name targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileDiscovery {
    /// Paths, whose last part may have one `*`.
    pub files: Vec<PathBuf>,
}

/// A job.
#[derive(Debug, Clone)]
pub struct ScrapeConfig {
    /// Its name, which is the label `job`.
    pub job_name: String,
    /// From one scrape to the next.
    pub interval: Span,
    /// What a scrape may take.
    pub timeout: Span,
    /// The path, unless a target's label says another.
    pub metrics_path: String,
    /// `http` or `https`, unless a target's label says another.
    pub scheme: String,
    /// Parameters of the URL.
    pub params: BTreeMap<String, Vec<String>>,
    /// Whether the labels that targets expose count before ours.
    pub honor_labels: bool,
    /// Whether the times that targets expose count before ours.
    pub honor_timestamps: bool,
    /// Whether series with times of their own end too when they are no longer exposed.
    pub track_timestamps_staleness: bool,
    /// Whether native histograms are asked for and kept.
    pub native_histograms: bool,
    /// Whether the classic buckets of native histograms are kept too.
    pub classic_too: bool,
    /// Whether packed answers are asked for.
    pub compression: bool,
    /// What is taken for the format where none is said.
    pub fallback: Option<Format>,
    /// What one scrape may bring.
    pub limits: Limits,
    /// How many targets there may be; zero is any number.
    pub target_limit: usize,
    /// What is done with targets' labels.
    pub relabel: Vec<Rule>,
    /// What is done with samples' labels.
    pub metric_relabel: Vec<Rule>,
    /// The header `Authorization`.
    pub authorization: Option<Credentials>,
    /// How TLS is spoken.
    pub tls: TlsConfig,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// Targets that are named here.
    pub groups: Vec<Group>,
    /// Files that name more.
    pub files: Vec<FileDiscovery>,
    /// As it is written, by which a change is seen.
    pub written: String,
}

/// What a target is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// The whole header.
    Header(String),
    /// A user with a password out of a file.
    Basic {
        /// The user.
        user: String,
        /// The file, read at each scrape.
        file: PathBuf,
    },
    /// A type, and what stands behind it, out of a file.
    File {
        /// `Bearer`, mostly.
        kind: String,
        /// The file, read at each scrape.
        file: PathBuf,
    },
}

/// How TLS is spoken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsConfig {
    /// Who vouches for servers; the machine's authorities if nothing is said.
    pub authorities: Option<Pem>,
    /// Our certificate and its key.
    pub identity: Option<(Pem, Pem)>,
    /// The name to ask for.
    pub server_name: Option<String>,
    /// Whether any server is taken for the right one.
    pub insecure: bool,
}

/// Certificates or a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pem {
    /// In a file.
    File(PathBuf),
    /// As text.
    Text(String),
}

impl Default for ScrapeConfig {
    fn default() -> Self {
        Self {
            job_name: String::new(),
            interval: Span::from_millis(60_000),
            timeout: Span::from_millis(10_000),
            metrics_path: "/metrics".to_owned(),
            scheme: "http".to_owned(),
            params: BTreeMap::new(),
            honor_labels: false,
            honor_timestamps: true,
            track_timestamps_staleness: false,
            native_histograms: false,
            classic_too: false,
            compression: true,
            fallback: None,
            limits: Limits::default(),
            target_limit: 0,
            relabel: Vec::new(),
            metric_relabel: Vec::new(),
            authorization: None,
            tls: TlsConfig::default(),
            headers: Vec::new(),
            groups: Vec::new(),
            files: Vec::new(),
            written: String::new(),
        }
    }
}

impl ScrapeConfig {
    /// A job that the program itself knows of, scraped every so often.
    pub fn of_program(job_name: &str, interval: Duration, relabel: &[RuleConfig]) -> Result<Self, String> {
        let interval = Span::from_millis(interval.as_millis() as i64);
        let rules: Result<Vec<Rule>, String> = relabel.iter().map(Rule::new).collect();
        let timeout = interval.min(Span::from_millis(10_000));
        Ok(Self { job_name: job_name.to_owned(), interval, timeout, relabel: rules?, ..Self::default() })
    }

    /// The header `Accept`, the best first.
    pub fn accept(&self) -> &'static str {
        if self.native_histograms {
            return "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,\
                    application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                    text/plain;version=0.0.4;q=0.4,*/*;q=0.1";
        }
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
         application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
         text/plain;version=0.0.4;q=0.3,*/*;q=0.1"
    }
}

impl Config {
    /// Reads a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let failed = |why: String| ConfigError { file: path.display().to_string(), why };
        let size = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?.len();
        if size > MOST_BYTES {
            return Err(failed(format!("{size} bytes are over the limit of {MOST_BYTES}: split the file")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        Self::parse(text, path.parent().unwrap_or(Path::new("."))).map_err(failed)
    }

    /// Reads a configuration whose paths begin at a directory.
    pub fn parse(text: String, directory: &Path) -> Result<Self, String> {
        let read: Option<File> =
            serde_saphyr::from_str(&text).map_err(|error| one_line(&error.to_string()))?;
        let mut file = read.unwrap_or_default();
        let mut config = Self { warnings: file.not_served(), text, ..Self::default() };
        let global = file.global.take().unwrap_or_default();
        let jobs = file.scrape_configs.take().unwrap_or_default();
        config.rules = RulesConfig::of(&file, &global, directory)?;
        config.alerting = AlertingConfig::of(file, directory, &mut config.warnings)?;
        if jobs.len() > MOST_JOBS {
            return Err(format!("scrape_configs: {} are over the limit of {MOST_JOBS}", jobs.len()));
        }
        for (at, job) in jobs.into_iter().enumerate() {
            let place = format!("scrape_configs[{at}] (job_name {:?})", job.job_name);
            config.warnings.extend(job.not_served().into_iter().map(|what| format!("{place}: {what}")));
            let checked = checked(job, &global, directory).map_err(|why| format!("{place}: {why}"))?;
            if config.jobs.iter().any(|known| known.job_name == checked.job_name) {
                return Err(format!("{place}: found multiple scrape configs with that job_name"));
            }
            config.jobs.push(checked);
        }
        Ok(config)
    }
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

fn span(name: &str, text: Option<&str>, usual: Span) -> Result<Span, String> {
    let span = text.map_or(Ok(usual), Span::parse).map_err(|why| format!("{name}: {why}"))?;
    if span.is_zero() { Err(format!("{name} must be above zero")) } else { Ok(span) }
}

fn rules(name: &str, configs: &[RuleConfig]) -> Result<Vec<Rule>, String> {
    let each = configs.iter().enumerate();
    each.map(|(at, config)| Rule::new(config).map_err(|why| format!("{name}[{at}]: {why}"))).collect()
}

/// The groups of `static_configs`, or of a file of targets.
pub(crate) fn groups(configs: &[StaticConfig]) -> Vec<Group> {
    let group = |config: &StaticConfig| Group {
        targets: config
            .targets
            .iter()
            .map(|address| [("__address__", &**address)].into_iter().collect())
            .collect(),
        labels: config.labels.iter().map(|(name, value)| (name.clone(), value.0.clone())).collect(),
    };
    configs.iter().map(group).collect()
}

/// Reads a file of targets, as YAML or JSON.
pub(crate) fn read_groups(text: &str) -> Result<Vec<Group>, String> {
    let configs: Option<Vec<StaticConfig>> =
        serde_saphyr::from_str(text).map_err(|error| one_line(&error.to_string()))?;
    Ok(groups(&configs.unwrap_or_default()))
}

fn checked(job: Job, global: &file::Global, directory: &Path) -> Result<ScrapeConfig, String> {
    let usual = ScrapeConfig::default();
    if job.job_name.is_empty() {
        return Err("job_name is empty".to_owned());
    }
    let written = serde_json::to_string(&(&job, global)).unwrap_or_default();
    let of_all = span("global.scrape_interval", global.scrape_interval.as_deref(), usual.interval)?;
    let interval = span("scrape_interval", job.scrape_interval.as_deref(), of_all)?;
    let of_all = span("global.scrape_timeout", global.scrape_timeout.as_deref(), usual.timeout)?;
    let timeout = match &job.scrape_timeout {
        None => of_all.min(interval),
        text => span("scrape_timeout", text.as_deref(), of_all)?,
    };
    if timeout > interval {
        return Err(format!("scrape_timeout {timeout} is greater than scrape_interval {interval}"));
    }
    let scheme = job.scheme.clone().unwrap_or(usual.scheme);
    if !matches!(scheme.as_str(), "http" | "https") {
        return Err(format!("scheme {scheme:?} is neither http nor https"));
    }
    let body = job.body_size_limit.as_ref().or(global.body_size_limit.as_ref());
    let limits = Limits {
        body: body
            .map_or(Ok(0), |text| file::bytes(&text.0))
            .map_err(|why| format!("body_size_limit: {why}"))?,
        samples: job.sample_limit.or(global.sample_limit).unwrap_or(0),
        labels: job.label_limit.or(global.label_limit).unwrap_or(0),
        label_name: job.label_name_length_limit.or(global.label_name_length_limit).unwrap_or(0),
        label_value: job.label_value_length_limit.or(global.label_value_length_limit).unwrap_or(0),
        buckets: job.native_histogram_bucket_limit.unwrap_or(0),
    };
    let fallback = match job.scrape_fallback_protocol.as_deref() {
        None => None,
        Some("PrometheusText0.0.4" | "PrometheusText1.0.0") => Some(Format::Text),
        Some("OpenMetricsText0.0.1" | "OpenMetricsText1.0.0") => Some(Format::OpenMetrics),
        Some("PrometheusProto") => Some(Format::Protobuf),
        Some(other) => return Err(format!("scrape_fallback_protocol: unknown scrape protocol {other}")),
    };
    let mut groups = Vec::new();
    let named = job.static_configs.as_deref().unwrap_or_default();
    for (at, config) in named.iter().enumerate() {
        if let Some(odd) = config.targets.iter().find(|address| address.contains('/')) {
            return Err(format!("static_configs[{at}].targets: {odd:?} is not a valid hostname"));
        }
    }
    groups.extend(self::groups(named));
    let files = job.file_sd_configs.iter().flatten().enumerate().map(|(at, config)| {
        let each = config.files.iter().map(|name| {
            let is_good = [".json", ".yml", ".yaml"].iter().any(|ending| name.ends_with(ending));
            let why =
                format!("file_sd_configs[{at}].files: path name {name:?} must end in .json, .yml or .yaml");
            if is_good { Ok(directory.join(name)) } else { Err(why) }
        });
        Ok(FileDiscovery { files: each.collect::<Result<_, String>>()? })
    });
    let native = job.scrape_native_histograms.or(global.scrape_native_histograms).unwrap_or(false);
    let classic = job.always_scrape_classic_histograms.or(global.always_scrape_classic_histograms);
    Ok(ScrapeConfig {
        interval,
        timeout,
        metrics_path: job.metrics_path.clone().unwrap_or(usual.metrics_path),
        scheme,
        params: job.params.clone().unwrap_or_default(),
        honor_labels: job.honor_labels.unwrap_or(false),
        honor_timestamps: job.honor_timestamps.unwrap_or(true),
        track_timestamps_staleness: job.track_timestamps_staleness.unwrap_or(false),
        native_histograms: native,
        classic_too: classic.unwrap_or(false),
        compression: job.enable_compression.unwrap_or(true),
        fallback,
        limits,
        target_limit: job.target_limit.or(global.target_limit).unwrap_or(0),
        relabel: rules("relabel_configs", job.relabel_configs.as_deref().unwrap_or_default())?,
        metric_relabel: rules(
            "metric_relabel_configs",
            job.metric_relabel_configs.as_deref().unwrap_or_default(),
        )?,
        authorization: credentials(&job, directory)?,
        tls: tls(job.tls_config.as_ref(), directory)?,
        headers: Vec::new(),
        groups,
        files: files.collect::<Result<_, String>>()?,
        written,
        job_name: job.job_name,
    })
}

fn credentials(job: &Job, directory: &Path) -> Result<Option<Credentials>, String> {
    let ways = [
        job.basic_auth.is_some(),
        job.authorization.is_some(),
        job.bearer_token.is_some(),
        job.bearer_token_file.is_some(),
    ];
    if ways.into_iter().filter(|is_said| *is_said).count() > 1 {
        return Err("at most one of basic_auth, authorization, bearer_token and bearer_token_file must be \
                    configured"
            .to_owned());
    }
    if let Some(basic) = &job.basic_auth {
        let user = match (&basic.username, &basic.username_file) {
            (Some(user), None) => user.clone(),
            (None, Some(file)) => first_line(&directory.join(file))?,
            (None, None) => String::new(),
            (Some(_), Some(_)) => {
                return Err(
                    "basic_auth: at most one of username and username_file must be configured".to_owned()
                );
            }
        };
        return match (&basic.password, &basic.password_file) {
            (Some(_), Some(_)) => {
                Err("basic_auth: at most one of password and password_file must be configured".to_owned())
            }
            (None, Some(file)) => Ok(Some(Credentials::Basic { user, file: directory.join(file) })),
            (password, None) => {
                Ok(Some(Credentials::Header(basic_header(&user, password.as_deref().unwrap_or("")))))
            }
        };
    }
    if let Some(authorization) = &job.authorization {
        let kind = authorization.kind.clone().unwrap_or_else(|| "Bearer".to_owned());
        if kind.eq_ignore_ascii_case("basic") {
            return Err("authorization.type cannot be set to \"basic\", use basic_auth instead".to_owned());
        }
        return match (&authorization.credentials, &authorization.credentials_file) {
            (Some(_), Some(_)) => {
                Err("authorization: at most one of credentials and credentials_file must be configured"
                    .to_owned())
            }
            (None, Some(file)) => Ok(Some(Credentials::File { kind, file: directory.join(file) })),
            (said, None) => Ok(said.as_ref().map(|said| Credentials::Header(format!("{kind} {said}")))),
        };
    }
    if let Some(token) = &job.bearer_token {
        return Ok(Some(Credentials::Header(format!("Bearer {token}"))));
    }
    let file = job.bearer_token_file.as_ref();
    Ok(file.map(|file| Credentials::File { kind: "Bearer".to_owned(), file: directory.join(file) }))
}

fn first_line(path: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(text.trim().to_owned())
}

/// The header of a user with a password.
pub(crate) fn basic_header(user: &str, password: &str) -> String {
    use base64::Engine as _;
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!("Basic {pair}")
}

fn tls(config: Option<&Tls>, directory: &Path) -> Result<TlsConfig, String> {
    let Some(config) = config else { return Ok(TlsConfig::default()) };
    let either = |name: &str, text: &Option<String>, file: &Option<String>| match (text, file) {
        (Some(_), Some(_)) => {
            Err(format!("tls_config: at most one of {name} and {name}_file must be configured"))
        }
        (Some(text), None) => Ok(Some(Pem::Text(text.clone()))),
        (None, Some(file)) => Ok(Some(Pem::File(directory.join(file)))),
        (None, None) => Ok(None),
    };
    let certificate = either("cert", &config.cert, &config.cert_file)?;
    let key = either("key", &config.key, &config.key_file)?;
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => return Err("tls_config: cert and key must be configured together".to_owned()),
    };
    Ok(TlsConfig {
        authorities: either("ca", &config.ca, &config.ca_file)?,
        identity,
        server_name: config.server_name.clone(),
        insecure: config.insecure_skip_verify.unwrap_or(false),
    })
}

#[cfg(test)]
mod tests;

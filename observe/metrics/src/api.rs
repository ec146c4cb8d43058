//! Prometheus' HTTP API, version 1: the paths, parameters, shapes and errors that Grafana and promtool know.
//!
//! Requests come in whole, answers go out whole; who listens is the caller's. Queries run beside those who serve, so many
//! at a time, and end when their client does.

mod json;
mod params;
mod query;
mod rules;
mod series;
mod status;
mod tree;

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::header::{ACCEPT_ENCODING, ALLOW, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, VARY};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use tokio::sync::Semaphore;
use xebec_promql::engine::{Cancellation, EngineOptions, QueryError};
use xebec_promql::parser::ParserOptions;
use xebec_tsdb::Db;

use crate::ruler::Ruler;
use crate::scrape::Scraper;
use json::Json;
use params::Params;

/// Queries that run at a time, as upstream has it; further ones wait.
const QUERIES: usize = 20;
/// The largest form.
const FORM: usize = 2 << 20;
/// How long a form may take to come.
const PATIENCE: Duration = Duration::from_secs(10);
/// Shorter answers are not packed.
const WORTH_PACKING: usize = 1400;

/// Below this path all of it is served, but for health.
pub const PREFIX: &str = "/api/v1/";

/// The API of a database and of who scrapes into it. Clones are the same API.
#[derive(Debug, Clone)]
pub struct Api(Arc<Shared>);

/// What is told of the program that serves.
#[derive(Debug, Clone)]
pub struct About {
    /// Its name, for `buildinfo`.
    pub program: String,
    /// Its own version.
    pub version: String,
    /// How it was started, for `flags`.
    pub flags: Vec<(String, String)>,
    /// How long samples are kept, in words.
    pub retention: String,
}

#[derive(Debug)]
struct Shared {
    db: Db,
    scraper: Scraper,
    ruler: Ruler,
    engine: EngineOptions,
    about: About,
    born: SystemTime,
    queries: Semaphore,
}

/// Why there is no answer. The names are upstream's.
#[derive(Debug)]
enum Fault {
    BadData(String),
    Execution(String),
    Canceled(String),
    Timeout(String),
    Internal(String),
    Unavailable(String),
}

type Answer = Result<Told, Fault>;

/// What is told, as JSON, with what is to be known about it.
#[derive(Debug, Default)]
struct Told {
    data: Json,
    warnings: Vec<String>,
    infos: Vec<String>,
}

impl From<Json> for Told {
    fn from(data: Json) -> Self {
        Self { data, ..Self::default() }
    }
}

impl From<serde_json::Value> for Told {
    fn from(value: serde_json::Value) -> Self {
        Json::of(&value).into()
    }
}

impl Fault {
    /// A parameter that cannot be understood.
    fn parameter(name: &str, why: impl std::fmt::Display) -> Self {
        Self::BadData(format!("invalid parameter {name:?}: {why}"))
    }

    fn parts(self) -> (StatusCode, &'static str, String) {
        let closed = StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST);
        match self {
            Self::BadData(why) => (StatusCode::BAD_REQUEST, "bad_data", why),
            Self::Execution(why) => (StatusCode::UNPROCESSABLE_ENTITY, "execution", why),
            Self::Canceled(why) => (closed, "canceled", why),
            Self::Timeout(why) => (StatusCode::SERVICE_UNAVAILABLE, "timeout", why),
            Self::Internal(why) => (StatusCode::INTERNAL_SERVER_ERROR, "internal", why),
            Self::Unavailable(why) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", why),
        }
    }
}

impl From<QueryError> for Fault {
    fn from(error: QueryError) -> Self {
        let why = error.to_string();
        match error {
            QueryError::Parse(_)
            | QueryError::RangeType(_)
            | QueryError::AtDisabled
            | QueryError::NegativeOffsetDisabled => Self::parameter("query", why),
            QueryError::Range | QueryError::TooManySteps(_) => Self::BadData(why),
            QueryError::Timeout => Self::Timeout(why),
            QueryError::Canceled => Self::Canceled(why),
            QueryError::Storage(_) => Self::Internal(why),
            QueryError::TooManySamples | QueryError::Evaluation(_) => Self::Execution(why),
        }
    }
}

impl From<xebec_tsdb::Error> for Fault {
    fn from(error: xebec_tsdb::Error) -> Self {
        Self::Execution(error.to_string())
    }
}

/// Ends a query whose client is gone.
struct EndWithClient(Cancellation);

impl Drop for EndWithClient {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// What is asked, and how.
struct Asked {
    path: String,
    params: Params,
    cancellation: Cancellation,
}

impl Api {
    /// The API of a database, of who scrapes into it, and of the rules over it.
    pub fn new(db: Db, scraper: Scraper, ruler: Ruler, about: About) -> Self {
        let engine = EngineOptions { parser: ParserOptions::default(), ..EngineOptions::default() };
        let queries = Semaphore::new(QUERIES);
        Self(Arc::new(Shared { db, scraper, ruler, engine, about, born: SystemTime::now(), queries }))
    }

    /// What is told of rules in the text format.
    pub fn figures(&self) -> String {
        self.0.ruler.figures()
    }

    /// Whether a path is of this API.
    pub fn serves(path: &str) -> bool {
        path.starts_with(PREFIX) || matches!(path, "/-/healthy" | "/-/ready" | "/-/reload")
    }

    /// Answers a request.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: http_body::Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        if let Some(health) = path.strip_prefix("/-/") {
            return self.health(health, &head.method).await;
        }
        if head.method == Method::OPTIONS {
            return plain(StatusCode::NO_CONTENT, String::new());
        }
        let Some(endpoint) = path.strip_prefix(PREFIX) else {
            return plain(StatusCode::NOT_FOUND, "404 page not found\n".to_owned());
        };
        if !matches!(head.method, Method::GET | Method::HEAD | Method::POST) {
            return not_allowed();
        }
        let mut params = Params::default();
        let read = params.read(head.uri.query().unwrap_or_default());
        let read = match read {
            Ok(()) if head.method == Method::POST => {
                if !takes_forms(endpoint) {
                    return not_allowed();
                }
                read_form(&head.headers, body, &mut params).await
            }
            read => read,
        };
        let packed = accepts_gzip(&head.headers);
        if let Err(why) = read {
            return finish(Err(Fault::BadData(why)), packed);
        }
        let cancellation = Cancellation::default();
        let asked = Asked { path: endpoint.to_owned(), params, cancellation: cancellation.clone() };
        let _end = EndWithClient(cancellation);
        let Ok(_turn) = self.0.queries.acquire().await else {
            return finish(Err(Fault::Unavailable("the program ends".to_owned())), packed);
        };
        let shared = Arc::clone(&self.0);
        let answered =
            tokio::task::spawn_blocking(move || shared.answer(&asked).map(|answer| finish(answer, packed)));
        match answered.await {
            Ok(Some(response)) => response,
            Ok(None) => plain(StatusCode::NOT_FOUND, "404 page not found\n".to_owned()),
            Err(_) => finish(Err(Fault::Internal("the query failed".to_owned())), packed),
        }
    }

    async fn health(&self, what: &str, method: &Method) -> Response<Full<Bytes>> {
        match (what, method) {
            ("healthy", &Method::GET | &Method::HEAD) => {
                plain(StatusCode::OK, "Prometheus Server is Healthy.\n".to_owned())
            }
            ("ready", &Method::GET | &Method::HEAD) => {
                plain(StatusCode::OK, "Prometheus Server is Ready.\n".to_owned())
            }
            ("reload", &Method::POST | &Method::PUT) => {
                let shared = Arc::clone(&self.0);
                // Files are read beside those who serve.
                let reloaded = tokio::task::spawn_blocking(move || shared.reload()).await;
                match reloaded.unwrap_or_else(|_| Err("reading it failed".to_owned())) {
                    Ok(()) => plain(StatusCode::OK, String::new()),
                    Err(why) => {
                        plain(StatusCode::INTERNAL_SERVER_ERROR, format!("failed to reload config: {why}\n"))
                    }
                }
            }
            _ => not_allowed(),
        }
    }
}

/// Whether an endpoint takes its parameters as a form too.
fn takes_forms(endpoint: &str) -> bool {
    matches!(
        endpoint,
        "query" | "query_range" | "query_exemplars" | "format_query" | "parse_query" | "labels" | "series"
    )
}

impl Shared {
    fn reload(&self) -> Result<(), String> {
        self.scraper.reload().map_err(|error| error.to_string())?;
        self.ruler.reload().map_err(|errors| errors.join("; "))
    }

    /// The answer; none where there is no such path.
    fn answer(&self, asked: &Asked) -> Option<Answer> {
        let params = &asked.params;
        if let Some(rest) = asked.path.strip_prefix("label/") {
            let name = rest.strip_suffix("/values")?;
            return Some(self.label_values(name, params));
        }
        Some(match asked.path.as_str() {
            "query" => self.query(params, &asked.cancellation),
            "query_range" => self.query_range(params, &asked.cancellation),
            "query_exemplars" => self.exemplars(params),
            "format_query" => self.format_query(params),
            "parse_query" => self.parse_query(params),
            "labels" => self.label_names(params),
            "series" => self.series(params, &asked.cancellation),
            "metadata" => self.metadata(params),
            "targets" => self.targets(params),
            "targets/metadata" => self.target_metadata(params),
            "scrape_pools" => self.scrape_pools(),
            "rules" => self.rules(params),
            "alerts" => Ok(self.alerts()),
            "alertmanagers" => Ok(self.alertmanagers()),
            "status/config" => Ok(serde_json::json!({ "yaml": self.scraper.config_text() }).into()),
            "status/runtimeinfo" => Ok(self.runtime_info()),
            "status/buildinfo" => Ok(self.build_info()),
            "status/flags" => Ok(self.flags()),
            "status/tsdb" => self.tsdb_status(params),
            "status/tsdb/blocks" => Ok(self.blocks()),
            "status/walreplay" => Ok(serde_json::json!({ "min": 0, "max": 0, "current": 0 }).into()),
            "notifications" => Ok(serde_json::json!([]).into()),
            "features" => Ok(serde_json::json!({}).into()),
            _ => return None,
        })
    }
}

async fn read_form<B>(headers: &HeaderMap, body: B, params: &mut Params) -> Result<(), String>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.split(';').next().is_none_or(|kind| kind.trim() != "application/x-www-form-urlencoded") {
        return Ok(());
    }
    let reading = tokio::time::timeout(PATIENCE, Limited::new(body, FORM).collect());
    let Ok(Ok(form)) = reading.await else {
        return Err(format!(
            "error parsing form values: the form did not come whole, or has over {FORM} bytes"
        ));
    };
    let form = form.to_bytes();
    let text =
        std::str::from_utf8(&form).map_err(|_| "error parsing form values: it is not text".to_owned())?;
    // What stands in the body counts before what stands in the URL.
    let of_url = std::mem::take(params);
    params.read(text)?;
    params.append(of_url);
    Ok(())
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|one| {
        let (name, weight) = one.split_once(';').unwrap_or((one, ""));
        name.trim().eq_ignore_ascii_case("gzip") && !matches!(weight.trim(), "q=0" | "q=0.0")
    })
}

fn plain(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn not_allowed() -> Response<Full<Bytes>> {
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n".to_owned());
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, OPTIONS, POST"));
    response
}

/// The answer as it goes out.
fn finish(answer: Answer, packed: bool) -> Response<Full<Bytes>> {
    let mut text = Json::default();
    let status = match answer {
        Ok(told) => {
            text.push(r#"{"status":"success","data":"#);
            text.push(told.data.as_str());
            for (name, notes) in [("warnings", told.warnings), ("infos", told.infos)] {
                if !notes.is_empty() {
                    text.push(&format!(r#","{name}":"#));
                    text.strings(notes.iter().map(String::as_str));
                }
            }
            text.push("}");
            StatusCode::OK
        }
        Err(fault) => {
            let (status, kind, why) = fault.parts();
            text.push(r#"{"status":"error","errorType":"#);
            text.string(kind);
            text.push(r#","error":"#);
            text.string(&why);
            text.push("}");
            status
        }
    };
    let mut body = Bytes::from(text.into_string());
    let is_packed = packed && body.len() >= WORTH_PACKING;
    if is_packed {
        let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
        // Writing to memory does not fail.
        if encoder.write_all(&body).is_ok()
            && let Ok(smaller) = encoder.finish()
        {
            body = smaller.into();
        }
    }
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    if is_packed {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

//! What the program tells of itself, in the Prometheus text format and by the names that Kubernetes' own servers use.
//!
//! Labels are bounded: verbs and codes are few, of kinds at most [`MOST_KINDS`] are told, and the gateway's engine bounds
//! its routes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::fs;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::{Method, Request, Response, Uri};
use http_body_util::BodyExt as _;
use xebec_apiserver::api::Api;
use xebec_apiserver::key;
use xebec_apiserver::request::{Target, Verb, parse};
use xebec_apiserver::service::ResponseBody;
use xebec_metrics::api::Api as Queries;
use xebec_proxy::access::AccessLog;
use xebec_proxy::explain::Explainer;
use xebec_proxy::proxy::Proxy;
use xebec_proxy::traffic::{self, Traffic};
use xebec_store::ListRequest;

/// Upper bounds of the latency histogram, in seconds.
const BOUNDS: [f64; 8] = [0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0];
/// Of more kinds than these the number of objects is not told.
const MOST_KINDS: usize = 500;
/// The classes of statuses, as labels.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// All that is counted.
pub(crate) struct Metrics {
    born: SystemTime,
    is_ready: AtomicBool,
    api: OnceLock<Api>,
    watches: AtomicI64,
    requests: Mutex<Requests>,
    gateway: OnceLock<Gateway>,
    queries: OnceLock<Queries>,
}

/// What is asked of the gateway's engine.
struct Gateway {
    traffic: Traffic,
    explainer: Explainer,
    log: Option<AccessLog>,
}

#[derive(Default)]
struct Requests {
    codes: BTreeMap<(&'static str, u16), u64>,
    latencies: BTreeMap<&'static str, Latency>,
}

#[derive(Default)]
struct Latency {
    /// How many were at most as slow as each bound.
    within: [u64; BOUNDS.len()],
    count: u64,
    seconds: f64,
}

impl Latency {
    fn add(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        self.count += 1;
        self.seconds += seconds;
        for (within, _) in self.within.iter_mut().zip(BOUNDS).filter(|(_, bound)| seconds <= *bound) {
            *within += 1;
        }
    }
}

impl Metrics {
    /// Nothing counted yet.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            born: SystemTime::now(),
            is_ready: AtomicBool::new(false),
            api: OnceLock::new(),
            watches: AtomicI64::new(0),
            requests: Mutex::default(),
            gateway: OnceLock::new(),
            queries: OnceLock::new(),
        })
    }

    /// Everything asked for serves.
    pub(crate) fn set_ready(&self) {
        self.is_ready.store(true, Ordering::Relaxed);
    }

    /// Whether everything asked for serves, and the store took what was written last; if not, what is wrong.
    pub(crate) fn ready(&self) -> Result<(), String> {
        if !self.is_ready.load(Ordering::Relaxed) {
            return Err("some parts are still starting".to_owned());
        }
        self.api.get().map_or(Ok(()), |api| api.storage().check().map_err(|error| error.to_string()))
    }

    /// Counts the objects of this API and the requests of `service` before it.
    pub(crate) fn measure<S>(self: &Arc<Self>, api: Api, service: S) -> Measured<S> {
        // There is one API in a process.
        let _first_stays = self.api.set(api);
        Measured { service, metrics: Arc::clone(self) }
    }

    /// Tells of the traffic of this engine, and of the log that it writes.
    pub(crate) fn observe(&self, engine: &Proxy, log: Option<AccessLog>) {
        let (traffic, explainer) = (engine.traffic().clone(), engine.explainer().clone());
        // There is one engine in a process.
        let _first_stays = self.gateway.set(Gateway { traffic, explainer, log });
    }

    /// Answers queries over what was scraped.
    pub(crate) fn serve(&self, queries: Queries) {
        // There is one database in a process.
        let _first_stays = self.queries.set(queries);
    }

    /// Who answers queries, if metrics are kept.
    pub(crate) fn queries(&self) -> Option<&Queries> {
        self.queries.get()
    }

    /// Who says what would become of a request, if there is a gateway.
    pub(crate) fn explainer(&self) -> Option<&Explainer> {
        self.gateway.get().map(|gateway| &gateway.explainer)
    }

    fn count(&self, verb: &'static str, code: u16, took: Duration) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.codes.entry((verb, code)).or_default() += 1;
        requests.latencies.entry(verb).or_default().add(took);
    }

    /// All of it as text. The store is asked, so this may take a while and blocks.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        self.write_process(&mut text);
        self.write_requests(&mut text);
        self.write_traffic(&mut text);
        self.write_objects(&mut text);
        text.push_str(&self.api.get().map(Api::metrics).unwrap_or_default());
        text.push_str(&self.queries.get().map(Queries::figures).unwrap_or_default());
        text
    }

    fn write_process(&self, text: &mut String) {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident: u64 =
            resident.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0);
        let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let cpu = format!("{}.{:09}", cpu.tv_sec, cpu.tv_nsec);
        let files = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        let born = self.born.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let version = env!("CARGO_PKG_VERSION");
        head(text, "xebec_build_info", "gauge", "The program's version.");
        line(text, "xebec_build_info", &[("version", version)], 1);
        head(text, "process_resident_memory_bytes", "gauge", "Memory in use, without what is swapped out.");
        line(text, "process_resident_memory_bytes", &[], resident * 1024);
        head(text, "process_cpu_seconds_total", "counter", "Processor time used.");
        line(text, "process_cpu_seconds_total", &[], cpu);
        head(text, "process_open_fds", "gauge", "Open file descriptors.");
        line(text, "process_open_fds", &[], files);
        head(text, "process_start_time_seconds", "gauge", "When the process started, since the Unix epoch.");
        line(text, "process_start_time_seconds", &[], born);
    }

    fn write_requests(&self, text: &mut String) {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        head(text, "apiserver_request_total", "counter", "Requests to the API, by verb and code.");
        for ((verb, code), count) in &requests.codes {
            line(text, "apiserver_request_total", &[("verb", *verb), ("code", &code.to_string())], count);
        }
        let name = "apiserver_request_duration_seconds";
        head(text, name, "histogram", "Time to the head of the answer, by verb.");
        for (verb, latency) in &requests.latencies {
            for (bound, within) in BOUNDS.iter().zip(latency.within) {
                line(text, &format!("{name}_bucket"), &[("verb", *verb), ("le", &bound.to_string())], within);
            }
            line(text, &format!("{name}_bucket"), &[("verb", *verb), ("le", "+Inf")], latency.count);
            line(text, &format!("{name}_sum"), &[("verb", *verb)], latency.seconds);
            line(text, &format!("{name}_count"), &[("verb", *verb)], latency.count);
        }
        drop(requests);
        head(text, "apiserver_longrunning_requests", "gauge", "Watches that are open.");
        let watches = self.watches.load(Ordering::Relaxed).max(0);
        line(text, "apiserver_longrunning_requests", &[("verb", "WATCH")], watches);
    }

    fn write_traffic(&self, text: &mut String) {
        let Some(Gateway { traffic, log, .. }) = self.gateway.get() else { return };
        let series = traffic.series();
        let name = "xebec_gateway_requests_total";
        head(text, name, "counter", "Requests to gateways, by route, backend and class of the status.");
        for one in &series {
            for (class, count) in CLASSES.into_iter().zip(one.classes).filter(|(_, count)| *count > 0) {
                line(text, name, &[("route", &one.route), ("backend", &one.backend), ("code", class)], count);
            }
        }
        let name = "xebec_gateway_request_duration_seconds";
        head(text, name, "histogram", "Time to the head of the answer, by route and backend.");
        let (bucket, sum, count) = (format!("{name}_bucket"), format!("{name}_sum"), format!("{name}_count"));
        for one in &series {
            let (route, backend) = (("route", &*one.route), ("backend", &*one.backend));
            for (bound, within) in traffic::BOUNDS.iter().zip(one.within) {
                line(text, &bucket, &[route, backend, ("le", &bound.to_string())], within);
            }
            line(text, &bucket, &[route, backend, ("le", "+Inf")], one.count());
            line(text, &sum, &[route, backend], one.took.as_secs_f64());
            line(text, &count, &[route, backend], one.count());
        }
        if let Some(log) = log {
            let name = "xebec_gateway_access_log_missed_total";
            head(text, name, "counter", "Requests that the access log had no room for.");
            line(text, name, &[], log.missed());
        }
    }

    fn write_objects(&self, text: &mut String) {
        head(
            text,
            "apiserver_storage_objects",
            "gauge",
            "Objects in the store, by resource; none of empty ones.",
        );
        let Some(api) = self.api.get() else { return };
        for resource in api.catalog().served().resources().iter().take(MOST_KINDS) {
            let prefix = key::prefix(&resource.group, &resource.plural, None);
            let request = ListRequest { prefix: &prefix, after: None, limit: Some(1), at: None, count: true };
            let Ok(page) = api.storage().list(resource, &request) else { continue };
            let count = page.items.len() as u64 + page.remaining.unwrap_or_default();
            if count > 0 {
                let dot = if resource.group.is_empty() { "" } else { "." };
                let name = format!("{}{dot}{}", resource.plural, resource.group);
                line(text, "apiserver_storage_objects", &[("resource", &name)], count);
            }
        }
    }
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a string does not fail.
    let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
}

/// A sample. What a label says may come from users, such as the name of a route's rule.
fn line(text: &mut String, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
    text.push_str(name);
    for (at, (label, of)) in labels.iter().enumerate() {
        let _ = write!(text, "{}{label}=\"{}\"", if at == 0 { '{' } else { ',' }, escaped(of));
    }
    let _ = writeln!(text, "{} {value}", if labels.is_empty() { "" } else { "}" });
}

/// A label's value as the text format has it.
fn escaped(value: &str) -> Cow<'_, str> {
    if !value.contains(['\\', '"', '\n']) {
        return value.into();
    }
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").into()
}

/// The verb as the label of Kubernetes' own metrics has it; requests for no object are `OTHER`.
fn verb(method: &Method, uri: &Uri) -> &'static str {
    match parse(method, uri) {
        Ok(Target::Resource(request)) => match request.verb {
            Verb::Get => "GET",
            Verb::List => "LIST",
            Verb::Watch => "WATCH",
            Verb::Create => "POST",
            Verb::Update => "PUT",
            Verb::Patch => "PATCH",
            Verb::Delete => "DELETE",
            Verb::DeleteCollection => "DELETECOLLECTION",
            Verb::Unnamed => "OTHER",
        },
        _ => "OTHER",
    }
}

/// A service whose requests are counted.
#[derive(Clone)]
pub(crate) struct Measured<S> {
    service: S,
    metrics: Arc<Metrics>,
}

/// A watch while it is open.
struct Open(Arc<Metrics>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.watches.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<S, B> tower::Service<Request<B>> for Measured<S>
where
    S: tower::Service<Request<B>, Response = Response<ResponseBody>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let verb = verb(request.method(), request.uri());
        let metrics = Arc::clone(&self.metrics);
        let begun = Instant::now();
        let answer = self.service.call(request);
        Box::pin(async move {
            let response = answer.await?;
            metrics.count(verb, response.status().as_u16(), begun.elapsed());
            if verb != "WATCH" || !response.status().is_success() {
                return Ok(response);
            }
            metrics.watches.fetch_add(1, Ordering::Relaxed);
            let open = Open(metrics);
            // The body owns the mark, so that it goes with the last event or with the client.
            Ok(response.map(|body| {
                body.map_frame(move |frame| {
                    let _ = &open;
                    frame
                })
                .boxed_unsync()
            }))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_by_verb_code_and_latency() {
        let metrics = Metrics::new();
        metrics.count("GET", 200, Duration::from_micros(10));
        metrics.count("GET", 404, Duration::from_millis(50));
        metrics.count("GET", 200, Duration::from_secs(60));
        let text = metrics.text();
        for line in [
            r#"apiserver_request_total{verb="GET",code="200"} 2"#,
            r#"apiserver_request_total{verb="GET",code="404"} 1"#,
            r#"apiserver_request_duration_seconds_bucket{verb="GET",le="0.001"} 1"#,
            r#"apiserver_request_duration_seconds_bucket{verb="GET",le="0.1"} 2"#,
            r#"apiserver_request_duration_seconds_bucket{verb="GET",le="30"} 2"#,
            r#"apiserver_request_duration_seconds_bucket{verb="GET",le="+Inf"} 3"#,
            r#"apiserver_request_duration_seconds_count{verb="GET"} 3"#,
        ] {
            assert!(text.lines().any(|own| own == line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn a_name_that_a_user_gave_ends_no_label() {
        let mut text = String::new();
        line(&mut text, "n", &[("route", "a\"} 1\n\\b"), ("code", "2xx")], 3);
        assert_eq!(text, "n{route=\"a\\\"} 1\\n\\\\b\",code=\"2xx\"} 3\n");
    }

    #[test]
    fn verbs_are_those_of_objects() {
        let of = |method: Method, uri: &'static str| verb(&method, &Uri::from_static(uri));
        assert_eq!(of(Method::GET, "/api/v1/pods"), "LIST");
        assert_eq!(of(Method::GET, "/api/v1/pods?watch=true"), "WATCH");
        assert_eq!(of(Method::GET, "/api/v1/namespaces/a/pods/b"), "GET");
        assert_eq!(of(Method::POST, "/api/v1/namespaces/a/pods"), "POST");
        assert_eq!(of(Method::GET, "/version"), "OTHER");
        assert_eq!(of(Method::GET, "/no/such/thing"), "OTHER");
    }
}

//! An explanation as JSON, and that JSON for people. Values that a filter sets are not shown: they may be secrets.

use serde_json::{Value, json};
use xebec_proxy::config::{
    Action, Backend, BackendProtocol, Bearer, Filter, HeaderModifier, PathRewrite, Redirect, Route, Target,
};
use xebec_proxy::explain::{Explanation, Outcome, conditions};

/// An explanation as JSON.
pub(super) fn of(explanation: &Explanation) -> Value {
    let Explanation { address, domain, outcome, misses } = explanation;
    let misses: Vec<_> =
        misses.iter().map(|miss| json!({ "route": &*miss.route, "lacks": miss.lacks })).collect();
    let mut told = json!({ "address": address, "listener": domain.as_deref(), "misses": misses });
    match outcome {
        Outcome::Refused { status, reason } => {
            told["status"] = json!(status.map(|status| status.as_u16()));
            told["reason"] = json!(reason);
        }
        Outcome::Stream(all) => told["backends"] = json!(backends(all)),
        Outcome::Route { route, session } => {
            told["route"] = json!(&*route.id);
            told["matches"] = json!(conditions(&route.matcher));
            told["filters"] = json!(filters(route));
            match &route.action {
                Action::Forward(all) => told["backends"] = json!(backends(all)),
                Action::Redirect(to) => told["redirect"] = json!(redirect(to)),
                Action::Respond(own) => told["status"] = json!(own.status.as_u16()),
            }
            if let Some((backend, endpoint)) = session {
                told["session"] = json!({ "backend": &**backend, "endpoint": endpoint });
            }
        }
    }
    told
}

fn backends(all: &[Backend]) -> Vec<Value> {
    let total: u64 = all.iter().map(|backend| u64::from(backend.weight)).sum();
    let told = all.iter().map(|backend| {
        let protocol = match (backend.protocol, &backend.tls) {
            (BackendProtocol::Http1, None) => "HTTP/1.1",
            (BackendProtocol::Http1, Some(_)) => "HTTP/1.1 over TLS",
            (BackendProtocol::H2c, None) => "HTTP/2",
            (BackendProtocol::H2c, Some(_)) => "HTTP/2 over TLS",
        };
        let trouble = match &backend.target {
            Target::Invalid => Some("the reference is not valid: see ResolvedRefs of the route"),
            Target::Endpoints(endpoints) if endpoints.is_empty() => Some("no endpoint is ready"),
            Target::Endpoints(_) => None,
        };
        json!({
            "name": &*backend.id,
            "percent": (100 * u64::from(backend.weight)).checked_div(total).unwrap_or(0),
            "protocol": protocol,
            "endpoints": backend.endpoints(),
            "filters": backend.filters.iter().map(filter).collect::<Vec<_>>(),
            "trouble": trouble,
        })
    });
    told.collect()
}

/// What happens to a request on its way, in order.
fn filters(route: &Route) -> Vec<String> {
    let mut told = Vec::new();
    if let Some(cors) = &route.cors {
        told.push(format!("CORS: {} origins may ask", cors.origins.len()));
    }
    if let Some(rules) = &route.authorization {
        told.push(format!("authorization: {} is asked", rules.backend.id));
    }
    told.extend(route.filters.iter().map(filter));
    if let Some(session) = &route.session {
        told.push(match &session.bearer {
            Bearer::Cookie { name, .. } => format!("session: by cookie {name}"),
            Bearer::Header(name) => format!("session: by header {name}"),
        });
    }
    if let Some(limit) = route.timeouts.request {
        told.push(format!("timeout: {limit:?} for the request"));
    }
    if let Some(limit) = route.timeouts.backend_request {
        told.push(format!("timeout: {limit:?} for each attempt"));
    }
    if let Some(retry) = &route.retry {
        told.push(format!("retry: up to {} times", retry.attempts));
    }
    told
}

fn filter(filter: &Filter) -> String {
    match filter {
        Filter::RequestHeaders(change) => format!("request headers: {}", headers(change)),
        Filter::ResponseHeaders(change) => format!("response headers: {}", headers(change)),
        Filter::Mirror(mirror) => {
            format!("mirror: {} of {} to {}", mirror.part, mirror.of, mirror.backend.id)
        }
        Filter::UrlRewrite(rewrite) => {
            let host = rewrite.hostname.iter().map(|host| format!("host {host:?}"));
            let path = rewrite.path.iter().map(path);
            format!("rewrite: {}", host.chain(path).collect::<Vec<_>>().join(", "))
        }
    }
}

fn headers(change: &HeaderModifier) -> String {
    let set = change.set.iter().map(|(name, _)| format!("set {name}"));
    let add = change.add.iter().map(|(name, _)| format!("add {name}"));
    let remove = change.remove.iter().map(|name| format!("remove {name}"));
    set.chain(add).chain(remove).collect::<Vec<_>>().join(", ")
}

fn path(rewrite: &PathRewrite) -> String {
    match rewrite {
        PathRewrite::ReplaceFull(path) => format!("path {path:?}"),
        PathRewrite::ReplacePrefix(prefix) => format!("path's prefix {prefix:?}"),
    }
}

fn redirect(to: &Redirect) -> String {
    let status = http::StatusCode::from(to.status).as_u16();
    let scheme = to.scheme.iter().map(|scheme| format!("scheme {scheme:?}").to_ascii_lowercase());
    let host = to.hostname.iter().map(|host| format!("host {host}"));
    let port = to.port.iter().map(|port| format!("port {port}"));
    let changes = scheme.chain(host).chain(port).chain(to.path.iter().map(path));
    format!("{status} {}", changes.collect::<Vec<_>>().join(", ")).trim_end().to_owned()
}

/// What the JSON says, for people.
pub(super) fn shown(told: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| -> Vec<Value> { value.as_array().cloned().unwrap_or_default() };
    let words = |value: &Value, between: &str| list(value).iter().map(text).collect::<Vec<_>>().join(between);
    let listener = told["listener"].as_str().map(|name| format!("   listener {name}")).unwrap_or_default();
    let mut shown = format!("at {}{listener}\n", text(&told["address"]));
    let mut row = |head: &str, what: String| shown.push_str(&format!("  {head:<9}{what}\n"));
    if let Some(route) = told["route"].as_str() {
        row("route", format!("{route}   {}", words(&told["matches"], ", ")));
    }
    list(&told["filters"]).iter().for_each(|filter| row("filter", text(filter)));
    if let Some(redirect) = told["redirect"].as_str() {
        row("redirect", redirect.to_owned());
    }
    for backend in list(&told["backends"]) {
        let ends = backend["trouble"].as_str().map(str::to_owned);
        let ends = ends.unwrap_or_else(|| words(&backend["endpoints"], ", "));
        let (name, protocol) = (text(&backend["name"]), text(&backend["protocol"]));
        row("backend", format!("{name}   {} %   {protocol}   {ends}", backend["percent"]));
        list(&backend["filters"]).iter().for_each(|filter| row("", format!("filter {}", text(filter))));
    }
    if let Some(backend) = told["session"]["backend"].as_str() {
        row("session", format!("keeps it with {} of {backend}", text(&told["session"]["endpoint"])));
    }
    if let Some(status) = told["status"].as_u64() {
        row("answer", format!("{status} {}", text(&told["reason"])).trim_end().to_owned());
    } else if let Some(reason) = told["reason"].as_str() {
        row("answer", format!("none: {reason}"));
    }
    for miss in list(&told["misses"]) {
        let lacks = words(&miss["lacks"], "; ");
        let lacks =
            if lacks.is_empty() { "another goes before it".to_owned() } else { format!("wants {lacks}") };
        row("not", format!("{}   {lacks}", text(&miss["route"])));
    }
    shown
}

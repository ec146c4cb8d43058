//! The rules of a GRPCRoute in the proxy's words: a call is a request for the path `/service/method`.

use std::sync::Arc;

use http::Method;
use xebec_api::gateway::{GRPCRoute, GrpcMatch, GrpcMethodMatch, GrpcRule, MatchType};
use xebec_proxy::config::{Action, Backend, PathMatch, Route, RouteMatch};

use crate::backend::{Asker, Backends};
use crate::condition::Verdict;
use crate::filter::Reader;
use crate::http_rule::{headers, pattern};
use crate::route::Compiled;
use crate::rule;

/// Compiles the rules of a route; the error says what the proxy cannot do.
pub(crate) fn compile<'a>(
    route: &GRPCRoute,
    backends: &Backends<'a>,
    asker: Asker<'_, 'a>,
) -> Result<Compiled, String> {
    rule::each(&route.metadata, &route.spec.rules, name, |rule, id, resolved| {
        let filters = Reader { backends, asker, resolved: &mut *resolved }.grpc(&rule.filters)?;
        let action = Action::Forward(forward(rule, backends, asker, resolved)?);
        let every = [GrpcMatch::default()];
        let matches = if rule.matches.is_empty() { &every[..] } else { &rule.matches[..] };
        let compiled = matches.iter().map(|wanted| {
            let filters = filters.clone();
            Ok(Route { filters, ..Route::new(Arc::clone(&id), matcher(wanted)?, action.clone()) })
        });
        compiled.collect()
    })
}

fn name(rule: &GrpcRule) -> Option<&str> {
    rule.name.as_deref()
}

fn forward<'a>(
    rule: &GrpcRule,
    backends: &Backends<'a>,
    asker: Asker<'_, 'a>,
    resolved: &mut Verdict,
) -> Result<Vec<Backend>, String> {
    let compiled = rule.backend_refs.iter().map(|wanted| {
        let filters = Reader { backends, asker, resolved: &mut *resolved }.grpc(&wanted.filters)?;
        let backend = backends.backend(asker, &wanted.backend, wanted.weight, resolved)?;
        Ok(Backend { filters, ..backend })
    });
    compiled.collect()
}

fn matcher(wanted: &GrpcMatch) -> Result<RouteMatch, String> {
    let path = match &wanted.method {
        None => PathMatch::Prefix("/".to_owned()),
        Some(GrpcMethodMatch { type_: MatchType::Exact, service, method }) => {
            match (service.as_deref(), method.as_deref()) {
                (Some(service), Some(method)) => PathMatch::Exact(format!("/{service}/{method}")),
                (Some(service), None) => PathMatch::Prefix(format!("/{service}")),
                (None, Some(method)) => PathMatch::Regex(pattern(&format!("/[^/]+/{}", literal(method)))?),
                (None, None) => PathMatch::Prefix("/".to_owned()),
            }
        }
        Some(GrpcMethodMatch { type_: MatchType::RegularExpression, service, method }) => {
            let part = |part: &Option<String>| part.clone().unwrap_or_else(|| "[^/]+".to_owned());
            PathMatch::Regex(pattern(&format!("/(?:{})/(?:{})", part(service), part(method)))?)
        }
    };
    let headers = headers(&wanted.headers)?;
    Ok(RouteMatch { path, method: Some(Method::POST), headers, query: Vec::new() })
}

/// An expression for a word; what is no letter, digit or underscore is escaped.
fn literal(word: &str) -> String {
    let mut expression = String::with_capacity(word.len());
    for letter in word.chars() {
        if !letter.is_ascii_alphanumeric() && letter != '_' {
            expression.push('\\');
        }
        expression.push(letter);
    }
    expression
}

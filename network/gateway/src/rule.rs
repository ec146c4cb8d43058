//! The rules of an HTTPRoute in the proxy's words.

use std::sync::Arc;
use std::time::Duration;

use xebec_api::gateway as api;
use xebec_api::gateway::{HTTPRoute, HttpMatch, HttpRule, MatchType, PathMatchType};
use xebec_proxy::config::{
    Action, Backend, PathMatch, Pattern, Route, RouteMatch, Target, Timeouts, ValueMatch,
};

use crate::backend::Backends;
use crate::condition::Verdict;
use crate::filter::{filters, name};

/// The rules of a route, and the first reference in them that is wrong.
pub(crate) struct Compiled {
    pub(crate) routes: Vec<Route>,
    pub(crate) resolved: Verdict,
}

/// Compiles the rules of a route; the error says what the proxy cannot do.
pub(crate) fn compile(route: &HTTPRoute, backends: &Backends<'_>) -> Result<Compiled, String> {
    let namespace = route.metadata.namespace.as_deref().unwrap_or_default();
    let id = format!("{namespace}/{}", route.metadata.name.as_deref().unwrap_or_default());
    let mut compiled = Compiled { routes: Vec::new(), resolved: Verdict::yes("ResolvedRefs") };
    for (index, rule) in route.spec.rules.iter().enumerate() {
        let named = |error| format!("rule {index}: {error}");
        let changes = filters(&rule.filters).map_err(named)?;
        let action = match changes.redirect {
            Some(redirect) => Action::Redirect(redirect),
            None => {
                Action::Forward(forward(namespace, rule, backends, &mut compiled.resolved).map_err(named)?)
            }
        };
        let timeouts = rule.timeouts.as_ref().map(timeouts).transpose().map_err(named)?.unwrap_or_default();
        let every = [HttpMatch::default()];
        let matches = if rule.matches.is_empty() { &every[..] } else { &rule.matches[..] };
        let id: Arc<str> = format!("{id}/{index}").into();
        for wanted in matches {
            compiled.routes.push(Route {
                id: Arc::clone(&id),
                matcher: matcher(wanted).map_err(named)?,
                filters: changes.changes.clone(),
                action: action.clone(),
                timeouts,
            });
        }
    }
    Ok(compiled)
}

fn forward(
    namespace: &str,
    rule: &HttpRule,
    backends: &Backends<'_>,
    resolved: &mut Verdict,
) -> Result<Vec<Backend>, String> {
    let compiled = rule.backend_refs.iter().map(|wanted| {
        let reference = &wanted.backend;
        let weight =
            u32::try_from(wanted.weight).map_err(|_| format!("{} is not a weight", wanted.weight))?;
        let own = filters(&wanted.filters)?;
        if own.redirect.is_some() {
            return Err("a redirect cannot stand at a backend; put it at the rule".to_owned());
        }
        let target_namespace = reference.namespace.as_deref().unwrap_or(namespace);
        let id = format!("{target_namespace}/{}:{}", reference.name, reference.port.unwrap_or_default());
        Ok(match backends.find(namespace, reference) {
            Ok(found) => Backend {
                protocol: found.protocol,
                filters: own.changes,
                target: Target::Endpoints(found.endpoints.into()),
                ..Backend::new(id, weight, Vec::new())
            },
            Err(verdict) => {
                if resolved.holds {
                    *resolved = verdict;
                }
                Backend::invalid(id, weight)
            }
        })
    });
    compiled.collect()
}

fn matcher(wanted: &HttpMatch) -> Result<RouteMatch, String> {
    let path = wanted.path.value.clone();
    let path = match wanted.path.type_ {
        PathMatchType::Exact => PathMatch::Exact(path),
        PathMatchType::PathPrefix => PathMatch::Prefix(path),
        PathMatchType::RegularExpression => PathMatch::Regex(pattern(&path)?),
    };
    let method = wanted.method.as_deref().map(|method| {
        method.parse().map_err(|_| format!("{method:?} is not a method; take one of RFC 9110 section 9"))
    });
    let mut headers: Vec<(http::HeaderName, ValueMatch)> = Vec::new();
    for header in &wanted.headers {
        let key = name(&header.name)?;
        // Of entries whose names differ in case only, the first counts (HTTPHeaderMatch.name).
        if headers.iter().all(|(taken, _)| *taken != key) {
            headers.push((key, value(header.type_, &header.value)?));
        }
    }
    let mut query: Vec<(String, ValueMatch)> = Vec::new();
    for api::QueryParamMatch { type_, name, value: wanted } in &wanted.query_params {
        if query.iter().all(|(taken, _)| taken != name) {
            query.push((name.clone(), value(*type_, wanted)?));
        }
    }
    Ok(RouteMatch { path, method: method.transpose()?, headers, query })
}

fn value(type_: MatchType, wanted: &str) -> Result<ValueMatch, String> {
    Ok(match type_ {
        MatchType::Exact => ValueMatch::Exact(wanted.to_owned()),
        MatchType::RegularExpression => ValueMatch::Regex(pattern(wanted)?),
    })
}

fn pattern(expression: &str) -> Result<Pattern, String> {
    Pattern::new(expression).map_err(|error| error.to_string())
}

fn timeouts(wanted: &api::Timeouts) -> Result<Timeouts, String> {
    let limit = |text: &Option<String>| -> Result<Option<Duration>, String> {
        let Some(text) = text else { return Ok(None) };
        let length = duration(text)
            .ok_or_else(|| format!("{text:?} is not a duration; write one such as 1h30m, 5s or 500ms"))?;
        Ok((!length.is_zero()).then_some(length))
    };
    Ok(Timeouts { request: limit(&wanted.request)?, backend_request: limit(&wanted.backend_request)? })
}

/// Reads a duration of GEP-2257: up to four of a number of up to five digits and a unit.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    for _ in 0..4 {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        if digits == 0 || digits > 5 {
            return None;
        }
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let milliseconds = match unit {
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1000,
            "ms" => 1,
            _ => return None,
        };
        total += Duration::from_millis(number.parse::<u64>().ok()? * milliseconds);
        rest = after;
        if rest.is_empty() {
            return Some(total);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_gep_2257() {
        assert_eq!(duration("1h30m"), Some(Duration::from_secs(5400)));
        assert_eq!(duration("1s500ms"), Some(Duration::from_millis(1500)));
        assert_eq!(duration("0s"), Some(Duration::ZERO));
        for wrong in ["", "1", "s", "1.5s", "-1s", "123456s", "1h1m1s1ms1s", "1d", "1é"] {
            assert_eq!(duration(wrong), None, "{wrong:?}");
        }
    }
}

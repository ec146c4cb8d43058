//! The rules of an HTTPRoute in the proxy's words.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use xebec_api::gateway as api;
use xebec_api::gateway::{
    CookieLifetimeType, HTTPRoute, HttpMatch, HttpRule, MatchType, PathMatchType, SessionPersistence,
    SessionPersistenceType,
};
use xebec_proxy::config::{
    Action, Backend, Bearer, PathMatch, Pattern, Retry, Route, RouteMatch, Session, SessionKey, Timeouts,
    ValueMatch,
};

use crate::backend::{Asker, Backends};
use crate::condition::Verdict;
use crate::filter::{Reader, name};
use crate::route::Compiled;
use crate::rule;

/// How often a request is sent again where the route does not say.
const ATTEMPTS: u32 = 1;
/// The wait before a request is sent again where the route does not say.
const BACKOFF: Duration = Duration::from_millis(25);

/// Compiles the rules of a route; the error says what the proxy cannot do.
pub(crate) fn compile<'a>(
    route: &HTTPRoute,
    backends: &Backends<'a>,
    asker: Asker<'_, 'a>,
) -> Result<Compiled, String> {
    rule::each(&route.metadata, &route.spec.rules, own_name, |rule, id, resolved| {
        let filters = Reader { backends, asker, resolved: &mut *resolved }.http(&rule.filters)?;
        let action = match filters.redirect {
            Some(redirect) => Action::Redirect(redirect),
            None => Action::Forward(forward(rule, backends, asker, resolved)?),
        };
        let timeouts = rule.timeouts.as_ref().map(timeouts).transpose()?.unwrap_or_default();
        let retry = rule.retry.as_ref().map(retry).transpose()?;
        let session = rule.session_persistence.as_ref();
        let session =
            session.map(|wanted| session_of(wanted, backends.session_key)).transpose()?.map(Arc::new);
        let every = [HttpMatch::default()];
        let matches = if rule.matches.is_empty() { &every[..] } else { &rule.matches[..] };
        let compiled = matches.iter().map(|wanted| {
            Ok(Route {
                id: Arc::clone(&id),
                matcher: matcher(wanted)?,
                filters: filters.changes.clone(),
                action: action.clone(),
                timeouts,
                retry: retry.clone(),
                cors: filters.cors.clone(),
                session: session.clone(),
                authorization: filters.authorization.clone(),
            })
        });
        compiled.collect()
    })
}

fn own_name(rule: &HttpRule) -> Option<&str> {
    rule.name.as_deref()
}

fn forward<'a>(
    rule: &HttpRule,
    backends: &Backends<'a>,
    asker: Asker<'_, 'a>,
    resolved: &mut Verdict,
) -> Result<Vec<Backend>, String> {
    let compiled = rule.backend_refs.iter().map(|wanted| {
        let own = Reader { backends, asker, resolved: &mut *resolved }.http(&wanted.filters)?;
        if own.redirect.is_some() || own.cors.is_some() || own.authorization.is_some() {
            return Err("redirects, CORS and authorization cannot stand at a backend; put them at the rule"
                .to_owned());
        }
        let backend = backends.backend(asker, &wanted.backend, wanted.weight, resolved)?;
        Ok(Backend { filters: own.changes, ..backend })
    });
    compiled.collect()
}

fn retry(wanted: &api::Retry) -> Result<Retry, String> {
    let attempts = match wanted.attempts {
        None => ATTEMPTS,
        Some(attempts) => {
            u32::try_from(attempts).map_err(|_| format!("{attempts} is not a number of attempts"))?
        }
    };
    let status = |code: &u16| {
        StatusCode::from_u16(*code).map_err(|_| format!("{code} is not a status; take one of 400 to 599"))
    };
    let statuses = wanted.codes.iter().map(status).collect::<Result<_, _>>()?;
    let backoff = match &wanted.backoff {
        None => BACKOFF,
        Some(text) => duration(text).ok_or_else(|| not_a_duration(text))?,
    };
    Ok(Retry { attempts, statuses, backoff })
}

fn session_of(wanted: &SessionPersistence, key: SessionKey) -> Result<Session, String> {
    let given = wanted.session_name.as_deref().filter(|name| !name.is_empty());
    let permanent = wanted.cookie_config.as_ref().map(|config| config.lifetime_type).unwrap_or_default()
        == CookieLifetimeType::Permanent;
    let lifetime = match &wanted.absolute_timeout {
        None if permanent => return Err("a permanent cookie needs an absoluteTimeout; give one".to_owned()),
        None => None,
        Some(text) => Some(duration(text).ok_or_else(|| not_a_duration(text))?),
    };
    let bearer = match wanted.type_ {
        SessionPersistenceType::Cookie => {
            let given = given.unwrap_or("xebec-session");
            // The names of cookies and headers are made of the same letters (RFC 6265 section 4.1.1).
            name(given)?;
            Bearer::Cookie { name: given.to_owned(), permanent }
        }
        SessionPersistenceType::Header => Bearer::Header(name(given.unwrap_or("x-xebec-session"))?),
    };
    Ok(Session { bearer, lifetime, key })
}

fn not_a_duration(text: &str) -> String {
    format!("{text:?} is not a duration; write one such as 1h30m, 5s or 500ms")
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
    let headers = headers(&wanted.headers)?;
    let mut query: Vec<(String, ValueMatch)> = Vec::new();
    for api::QueryParamMatch { type_, name, value: wanted } in &wanted.query_params {
        if query.iter().all(|(taken, _)| taken != name) {
            query.push((name.clone(), value(*type_, wanted)?));
        }
    }
    Ok(RouteMatch { path, method: method.transpose()?, headers, query })
}

/// Of entries whose names differ in case only, the first counts (HTTPHeaderMatch.name).
pub(crate) fn headers(wanted: &[api::HeaderMatch]) -> Result<Vec<(http::HeaderName, ValueMatch)>, String> {
    let mut headers: Vec<(http::HeaderName, ValueMatch)> = Vec::new();
    for header in wanted {
        let key = name(&header.name)?;
        if headers.iter().all(|(taken, _)| *taken != key) {
            headers.push((key, value(header.type_, &header.value)?));
        }
    }
    Ok(headers)
}

pub(crate) fn value(type_: MatchType, wanted: &str) -> Result<ValueMatch, String> {
    Ok(match type_ {
        MatchType::Exact => ValueMatch::Exact(wanted.to_owned()),
        MatchType::RegularExpression => ValueMatch::Regex(pattern(wanted)?),
    })
}

pub(crate) fn pattern(expression: &str) -> Result<Pattern, String> {
    Pattern::new(expression).map_err(|error| error.to_string())
}

fn timeouts(wanted: &api::Timeouts) -> Result<Timeouts, String> {
    let limit = |text: &Option<String>| -> Result<Option<Duration>, String> {
        let Some(text) = text else { return Ok(None) };
        let length = duration(text).ok_or_else(|| not_a_duration(text))?;
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

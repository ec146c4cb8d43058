//! Sessions at work: the token of a request leads to its endpoint, the answer bears the token of a new session. A token
//! is the endpoint's mark and the second since 1970 in which the session ends, both as hexadecimal digits.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue};

use crate::config::{Backend, Bearer, Session, Target, mark};
use crate::hop::Scheme;

/// Where a request's session is: a backend and the place of its endpoint in it.
pub(crate) fn find<'a>(
    session: &Session,
    backends: &'a [Backend],
    headers: &HeaderMap,
    now: SystemTime,
) -> Option<(&'a Backend, usize)> {
    let (wanted, ends) = token(session, headers)?;
    if ends != 0 && seconds(now) >= ends {
        return None;
    }
    backends.iter().find_map(|backend| {
        let Target::Endpoints(endpoints) = &backend.target else { return None };
        Some((backend, endpoints.iter().position(|endpoint| mark(*endpoint) == wanted)?))
    })
}

fn token(session: &Session, headers: &HeaderMap) -> Option<(u64, u64)> {
    let text = match &session.bearer {
        Bearer::Header(name) => headers.get(name)?.to_str().ok()?,
        Bearer::Cookie { name, .. } => {
            let all = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
            let mut pairs =
                all.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
            pairs.find(|(key, _)| key == name)?.1
        }
    };
    let (mark, ends) = text.split_once('-')?;
    Some((u64::from_str_radix(mark, 16).ok()?, u64::from_str_radix(ends, 16).ok()?))
}

/// Begins a session with an endpoint: the answer bears its token.
pub(crate) fn begin(
    session: &Session,
    endpoint: SocketAddr,
    scheme: Scheme,
    headers: &mut HeaderMap,
    now: SystemTime,
) {
    let ends = session.lifetime.map_or(0, |lifetime| seconds(now + lifetime));
    let token = format!("{:016x}-{ends:x}", mark(endpoint));
    let (name, value) = match &session.bearer {
        Bearer::Header(name) => (name.clone(), token),
        Bearer::Cookie { name, permanent } => {
            let age = session.lifetime.filter(|_| *permanent).map(|lifetime| lifetime.as_secs());
            let age = age.map(|age| format!("; Max-Age={age}")).unwrap_or_default();
            let secure = if scheme == Scheme::Https { "; Secure" } else { "" };
            (SET_COOKIE, format!("{name}={token}; Path=/; HttpOnly; SameSite=Lax{age}{secure}"))
        }
    };
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.append(name, value);
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

#[cfg(test)]
mod tests;

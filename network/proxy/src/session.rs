//! Sessions at work: the token of a request leads to its endpoint, the answer bears the token of a new session.
//!
//! A token is base64url of a random nonce and, sealed by ChaCha20-Poly1305 under the configuration's key, the second
//! since 1970 in which the session ends (8 bytes, 0 for never), the endpoint's port (2) and its address (4 or 16), all
//! in network order. The name of the cookie or header is authenticated with them.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::config::{Backend, Bearer, Session, Target};
use crate::hop::Scheme;

/// The longest token: of an IPv6 endpoint.
const LONGEST: usize = 96;

/// Where a request's session is: a backend that takes requests, and the place of the session's endpoint in it.
pub(crate) fn find<'a>(
    session: &Session,
    backends: &'a [Backend],
    headers: &HeaderMap,
    now: SystemTime,
) -> Option<(&'a Backend, usize)> {
    let (wanted, ends) = open(session, token(session, headers)?)?;
    if ends != 0 && seconds(now) >= ends {
        return None;
    }
    backends.iter().filter(|backend| backend.weight > 0).find_map(|backend| {
        let Target::Endpoints(endpoints) = &backend.target else { return None };
        Some((backend, endpoints.iter().position(|endpoint| *endpoint == wanted)?))
    })
}

fn token<'a>(session: &Session, headers: &'a HeaderMap) -> Option<&'a str> {
    match &session.bearer {
        Bearer::Header(name) => headers.get(name)?.to_str().ok(),
        Bearer::Cookie { name, .. } => {
            let all = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
            let mut pairs =
                all.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
            Some(pairs.find(|(key, _)| key == name)?.1)
        }
    }
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
    // Without randomness there is no session; the answer itself is as good without one.
    let Some(token) = seal(session, endpoint, ends) else { return };
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

fn seal(session: &Session, endpoint: SocketAddr, ends: u64) -> Option<String> {
    let mut nonce = [0; NONCE_LEN];
    SystemRandom::new().fill(&mut nonce).ok()?;
    let mut sealed = ends.to_be_bytes().to_vec();
    sealed.extend(endpoint.port().to_be_bytes());
    match endpoint.ip() {
        IpAddr::V4(address) => sealed.extend(address.octets()),
        IpAddr::V6(address) => sealed.extend(address.octets()),
    }
    let about = Aad::from(session.bearer.name());
    key(session)?.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), about, &mut sealed).ok()?;
    Some(BASE64.encode([&nonce[..], &sealed].concat()))
}

fn open(session: &Session, token: &str) -> Option<(SocketAddr, u64)> {
    if token.len() > LONGEST {
        return None;
    }
    let token = BASE64.decode(token).ok()?;
    let (nonce, sealed) = token.split_at_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut sealed = sealed.to_vec();
    let said = key(session)?.open_in_place(nonce, Aad::from(session.bearer.name()), &mut sealed).ok()?;
    let (ends, rest) = said.split_first_chunk::<8>()?;
    let (port, address) = rest.split_first_chunk::<2>()?;
    let address = match *address {
        [a, b, c, d] => IpAddr::from([a, b, c, d]),
        _ => IpAddr::from(<[u8; 16]>::try_from(address).ok()?),
    };
    Some((SocketAddr::new(address, u16::from_be_bytes(*port)), u64::from_be_bytes(*ends)))
}

fn key(session: &Session) -> Option<LessSafeKey> {
    UnboundKey::new(&CHACHA20_POLY1305, session.key.as_bytes()).ok().map(LessSafeKey::new)
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

#[cfg(test)]
mod tests;

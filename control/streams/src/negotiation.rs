//! Which of the protocols that a client offers is spoken.

use http::header::{CONNECTION, HeaderName, HeaderValue, UPGRADE};
use http::{HeaderMap, Response, StatusCode};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

const KEY: HeaderName = HeaderName::from_static("sec-websocket-key");
const ACCEPT: HeaderName = HeaderName::from_static("sec-websocket-accept");
const VERSION: HeaderName = HeaderName::from_static("sec-websocket-version");
const SUBPROTOCOL: HeaderName = HeaderName::from_static("sec-websocket-protocol");
const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");

/// What a stream is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// `exec` and `attach`.
    Session,
    /// `portforward`.
    Forward,
    /// `log`, where it is read as messages.
    Feed,
}

/// How the two sides talk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// Streams of SPDY/3.1.
    Spdy,
    /// SPDY/3.1 within the binary messages of a WebSocket.
    Tunnel,
    /// Binary messages that begin with a channel's number.
    Channels {
        /// What they may say.
        version: Version,
    },
    /// Binary messages that are nothing but their bytes.
    Messages,
}

/// The versions of channels that differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// How a session ended is told in words, and a success not at all.
    First,
    /// How it ended is told as a `Status`.
    Fourth,
    /// Besides, the client may close a channel.
    Fifth,
}

/// A request that becomes a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    pub(crate) transport: Transport,
}

#[cfg(test)]
impl Accepted {
    pub(crate) fn over(transport: Transport) -> Self {
        Self { transport }
    }
}

/// Why a request cannot become a stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It does not ask for it.
    #[error("Upgrade request required")]
    NoUpgrade,
    /// It asks for something else.
    #[error("unable to upgrade to {0:?}: ask for websocket or SPDY/3.1")]
    Upgrade(String),
    /// It offers no protocol that is spoken here.
    #[error(
        "unable to upgrade: unable to negotiate protocol: client supports [{offered}], server accepts [{accepted}]"
    )]
    Protocol {
        /// What the client offers.
        offered: String,
        /// What is spoken here.
        accepted: String,
    },
    /// The WebSocket handshake lacks a part.
    #[error("the WebSocket handshake needs {0}")]
    Handshake(&'static str),
}

const SPDY: &str = "SPDY/3.1";
const CHANNELS: [(&str, Transport); 3] = [
    ("v5.channel.k8s.io", Transport::Channels { version: Version::Fifth }),
    ("v4.channel.k8s.io", Transport::Channels { version: Version::Fourth }),
    ("channel.k8s.io", Transport::Channels { version: Version::First }),
];

fn spoken(purpose: Purpose, websocket: bool) -> &'static [(&'static str, Transport)] {
    match (purpose, websocket) {
        (Purpose::Session, true) => &CHANNELS,
        (Purpose::Session, false) => &[("v4.channel.k8s.io", Transport::Spdy)],
        (Purpose::Forward, true) => &[
            ("SPDY/3.1+portforward.k8s.io", Transport::Tunnel),
            ("v4.channel.k8s.io", Transport::Channels { version: Version::Fourth }),
        ],
        (Purpose::Forward, false) => &[("portforward.k8s.io", Transport::Spdy)],
        (Purpose::Feed, true) => &[("binary.k8s.io", Transport::Messages)],
        (Purpose::Feed, false) => &[],
    }
}

/// Whether a request that may also be answered plainly is to become a WebSocket.
#[must_use]
pub fn asks_for_websocket(headers: &HeaderMap) -> bool {
    let upgrade = headers.get(UPGRADE).is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(b"websocket"));
    upgrade && tokens(headers, &CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"))
}

/// Decides how to speak with a client, and what to answer before the connection changes hands.
///
/// # Errors
///
/// The request does not ask for a stream, or for one that is not spoken here.
pub fn negotiate(headers: &HeaderMap, purpose: Purpose) -> Result<(Accepted, Response<()>), Refusal> {
    let asks = tokens(headers, &CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"));
    let upgrade = headers.get(UPGRADE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !asks || upgrade.is_empty() {
        return Err(Refusal::NoUpgrade);
    }
    let websocket = upgrade.eq_ignore_ascii_case("websocket");
    if !websocket && !upgrade.eq_ignore_ascii_case(SPDY) {
        return Err(Refusal::Upgrade(upgrade.chars().take(40).collect()));
    }
    let offer = if websocket { &SUBPROTOCOL } else { &STREAM_PROTOCOL };
    let offered: Vec<&str> = tokens(headers, offer).collect();
    let spoken = spoken(purpose, websocket);
    // The client lists what it likes best first.
    let found = offered.iter().find_map(|name| spoken.iter().find(|(own, _)| own == name));
    // Who only reads need not name a protocol.
    let unnamed = || spoken.first().filter(|_| purpose == Purpose::Feed && offered.is_empty());
    let Some((protocol, transport)) = found.or_else(unnamed) else {
        let accepted: Vec<&str> = spoken.iter().map(|(name, _)| *name).collect();
        let offered = offered.iter().take(8).copied().collect::<Vec<_>>();
        return Err(Refusal::Protocol { offered: offered.join(" "), accepted: accepted.join(" ") });
    };
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let answer = response.headers_mut();
    answer.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    if !offered.is_empty() {
        answer.insert(offer, HeaderValue::from_static(protocol));
    }
    if websocket {
        if headers.get(VERSION).is_none_or(|version| version != "13") {
            return Err(Refusal::Handshake("Sec-WebSocket-Version: 13"));
        }
        let key = headers.get(KEY).ok_or(Refusal::Handshake("a Sec-WebSocket-Key"))?;
        let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()));
        answer.insert(ACCEPT, accept.map_err(|_| Refusal::Handshake("a proper Sec-WebSocket-Key"))?);
        answer.insert(UPGRADE, HeaderValue::from_static("websocket"));
    } else {
        answer.insert(UPGRADE, HeaderValue::from_static(SPDY));
    }
    Ok((Accepted { transport: *transport }, response))
}

/// The comma-separated words of all headers of a name.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter();
        pairs.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_client_of_spdy_gets_its_protocol() {
        let asked = headers(&[
            ("connection", "Upgrade"),
            ("upgrade", "SPDY/3.1"),
            ("x-stream-protocol-version", "v9.channel.k8s.io"),
        ]);
        let refusal = negotiate(&asked, Purpose::Session).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "unable to upgrade: unable to negotiate protocol: client supports [v9.channel.k8s.io], server accepts [v4.channel.k8s.io]"
        );
        let mut asked = asked;
        asked.append("x-stream-protocol-version", HeaderValue::from_static("v4.channel.k8s.io"));
        let (accepted, response) = negotiate(&asked, Purpose::Session).unwrap();
        assert_eq!(accepted.transport, Transport::Spdy);
        assert_eq!(response.status(), 101);
        assert_eq!(response.headers()["x-stream-protocol-version"], "v4.channel.k8s.io");
        assert_eq!(response.headers()["upgrade"], "SPDY/3.1");
    }

    #[test]
    fn a_websocket_client_gets_the_first_it_offers_and_the_key_of_rfc_6455() {
        let asked = headers(&[
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-protocol", "v5.channel.k8s.io, v4.channel.k8s.io"),
        ]);
        let (accepted, response) = negotiate(&asked, Purpose::Session).unwrap();
        assert_eq!(accepted.transport, Transport::Channels { version: Version::Fifth });
        assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(response.headers()["sec-websocket-protocol"], "v5.channel.k8s.io");
        let (forward, _) = negotiate(&asked, Purpose::Forward).unwrap();
        assert_eq!(forward.transport, Transport::Channels { version: Version::Fourth });
    }

    #[test]
    fn what_asks_for_no_stream_is_told_so() {
        assert_eq!(negotiate(&HeaderMap::new(), Purpose::Forward).unwrap_err(), Refusal::NoUpgrade);
        let asked = headers(&[("connection", "upgrade"), ("upgrade", "h2c")]);
        assert_eq!(negotiate(&asked, Purpose::Forward).unwrap_err(), Refusal::Upgrade("h2c".into()));
        let asked = headers(&[
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-protocol", "v4.channel.k8s.io"),
        ]);
        assert!(matches!(negotiate(&asked, Purpose::Session), Err(Refusal::Handshake(_))));
    }
}

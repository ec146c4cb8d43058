//! Heads of HTTP/1.1 messages (RFC 9112): found in a read buffer, parsed, and checked for everything that two
//! parsers could understand in two ways.

use std::mem::MaybeUninit;
use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING, UPGRADE};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};

use super::framing::Decoder;
use crate::answer::Refusal;
use crate::limits::Limits;

/// The most headers that fit the parser, whatever the limits say.
const MOST_HEADERS: usize = 256;
/// How many headers a request is given on its way: whom it comes from, and its trace.
const PREPARED: usize = 4;
/// The largest head of a response.
const RESPONSE_HEAD: usize = 64 * 1024;

/// A request's head and what it says of its connection.
#[derive(Debug)]
pub(crate) struct RequestHead {
    pub(crate) request: Request<()>,
    pub(crate) body: Decoder,
    pub(crate) keep_alive: bool,
    /// The client waits for 100 before it sends the body.
    pub(crate) expects: bool,
    /// The client asks for WebSocket.
    pub(crate) upgrade: bool,
}

/// A response's head and what it says of its connection.
#[derive(Debug)]
pub(crate) struct ResponseHead {
    pub(crate) response: Response<()>,
    pub(crate) body: Decoder,
    pub(crate) keep_alive: bool,
}

/// Finds the end of a head, over as many reads as it takes, and looks at each byte once.
#[derive(Debug, Default)]
pub(crate) struct HeadScan {
    scanned: usize,
    lines: usize,
}

impl HeadScan {
    /// The head's length with its empty line, if it is all there. Lines must end in CRLF: a bare LF, which RFC 9112
    /// section 2.2 lets a recipient take, is what another parser may take otherwise.
    fn end(&mut self, buffer: &[u8]) -> Result<Option<usize>, BareLineFeed> {
        while let Some(found) = memchr::memchr(b'\n', &buffer[self.scanned..]) {
            let line_feed = self.scanned + found;
            let Some(b'\r') = line_feed.checked_sub(1).and_then(|before| buffer.get(before)) else {
                return Err(BareLineFeed);
            };
            self.scanned = line_feed + 1;
            self.lines += 1;
            if line_feed >= 3 && buffer[line_feed - 3..line_feed] == *b"\r\n\r" {
                return Ok(Some(line_feed + 1));
            }
        }
        self.scanned = buffer.len();
        Ok(None)
    }
}

#[derive(Debug)]
struct BareLineFeed;

/// Takes a request's head out of the buffer; none means that more must be read.
pub(crate) fn request(
    buffer: &mut BytesMut,
    scan: &mut HeadScan,
    limits: &Limits,
) -> Result<Option<RequestHead>, Refusal> {
    // RFC 9112 section 2.2: an empty line before the request line is ignored.
    while scan.scanned == 0 && buffer.starts_with(b"\r\n") {
        buffer.advance(2);
    }
    let end = scan.end(buffer).map_err(|_| bad("a line of the request's head ends without CR"))?;
    let Some(end) = end else {
        if scan.lines == 0 && buffer.len() > limits.target_bytes + 64 {
            return Err(too_long(limits));
        }
        return if buffer.len() > limits.header_bytes { Err(too_large(limits)) } else { Ok(None) };
    };
    if end > limits.header_bytes {
        return Err(too_large(limits));
    }
    let head = buffer.split_to(end).freeze();
    *scan = HeadScan::default();
    let mut fields = [const { MaybeUninit::uninit() }; MOST_HEADERS];
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(&head, &mut fields[..limits.header_count.min(MOST_HEADERS)]) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(bad("the request's head is malformed")),
        Err(httparse::Error::TooManyHeaders) => return Err(too_large(limits)),
        Err(httparse::Error::Version) => {
            return Err(Refusal::new(
                StatusCode::HTTP_VERSION_NOT_SUPPORTED,
                "only HTTP/1.0, HTTP/1.1 and HTTP/2 are served",
            ));
        }
        Err(_) => return Err(bad("the request's head is malformed")),
    }
    let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(bad("the request's head is malformed"));
    };
    if target.len() > limits.target_bytes {
        return Err(too_long(limits));
    }
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| bad("the method is malformed"))?;
    if method == Method::CONNECT {
        return Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, "CONNECT is not served here"));
    }
    let target = Uri::from_maybe_shared(head.slice(range_in(&head, target.as_bytes())))
        .map_err(|_| bad("the request's target is malformed"))?;
    let (headers, connection) =
        headers(&head, parsed.headers, PREPARED).ok_or_else(|| bad("a header is malformed"))?;
    let body = request_body(&headers, minor)?;
    if let (Decoder::Length(length), Some(limit)) = (&body, limits.body_bytes)
        && *length > limit
    {
        return Err(Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is larger than the {limit} bytes allowed"),
        ));
    }
    check_host(&headers, &target)?;
    let head = RequestHead {
        keep_alive: connection.persists(minor),
        expects: minor == 1
            && !body.is_done()
            && headers
                .get(EXPECT)
                .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue")),
        upgrade: minor == 1
            && connection.upgrade
            && method == Method::GET
            && body.is_done()
            && names_websocket(&headers),
        request: message(Request::new(()), method, target, minor, headers),
        body,
    };
    Ok(Some(head))
}

fn message(
    mut request: Request<()>,
    method: Method,
    target: Uri,
    minor: u8,
    headers: HeaderMap,
) -> Request<()> {
    *request.method_mut() = method;
    *request.uri_mut() = target;
    *request.version_mut() = if minor == 1 { Version::HTTP_11 } else { Version::HTTP_10 };
    *request.headers_mut() = headers;
    request
}

/// Why a response's head is not taken.
pub(crate) type ResponseFault = &'static str;

/// Takes a response's head out of the buffer; none means that more must be read.
pub(crate) fn response(
    buffer: &mut BytesMut,
    scan: &mut HeadScan,
    method: &Method,
) -> Result<Option<ResponseHead>, ResponseFault> {
    let end = scan.end(buffer).map_err(|_| "a line of its head ends without CR")?;
    if end.unwrap_or(buffer.len()) > RESPONSE_HEAD {
        return Err("its head is larger than 64 KiB");
    }
    let Some(end) = end else { return Ok(None) };
    let head = buffer.split_to(end).freeze();
    *scan = HeadScan::default();
    let mut fields = [const { MaybeUninit::uninit() }; MOST_HEADERS];
    let mut parsed = httparse::Response::new(&mut []);
    let parser = httparse::ParserConfig::default();
    match parser.parse_response_with_uninit_headers(&mut parsed, &head, &mut fields) {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err("its head has more than 256 headers"),
        _ => return Err("its head is malformed"),
    }
    let (Some(code), Some(minor)) = (parsed.code, parsed.version) else {
        return Err("its head is malformed");
    };
    let status = StatusCode::from_u16(code).map_err(|_| "its status is none")?;
    let (headers, connection) = headers(&head, parsed.headers, 0).ok_or("one of its headers is malformed")?;
    let body = response_body(&headers, status, method)?;
    let keep_alive = connection.persists(minor) && !matches!(body, Decoder::UntilClose);
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(Some(ResponseHead { response, body, keep_alive }))
}

/// The headers, whose values share the head's bytes, with room for more, and what `Connection` asks for. It is not among
/// the headers itself unless it names some of them.
fn headers(
    head: &Bytes,
    fields: &[httparse::Header<'_>],
    room: usize,
) -> Option<(HeaderMap, ConnectionOptions)> {
    let mut headers = HeaderMap::with_capacity(fields.len() + room);
    let mut connection = ConnectionOptions::default();
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        if name == CONNECTION && !connection.read(field.value) {
            continue;
        }
        let value = if field.value.is_empty() {
            HeaderValue::from_static("")
        } else {
            HeaderValue::from_maybe_shared(head.slice(range_in(head, field.value))).ok()?
        };
        headers.try_append(name, value).ok()?;
    }
    Some((headers, connection))
}

/// Where a parsed piece lies in the head that it was parsed from.
fn range_in(head: &Bytes, piece: &[u8]) -> Range<usize> {
    let start = piece.as_ptr().addr() - head.as_ptr().addr();
    start..start + piece.len()
}

/// RFC 9112 section 6.3 for requests, without its leniencies.
fn request_body(headers: &HeaderMap, minor: u8) -> Result<Decoder, Refusal> {
    let length = content_length(headers).map_err(bad)?;
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(encoding) = encodings.next() else {
        return Ok(Decoder::length(length.unwrap_or(0)));
    };
    if minor == 0 {
        return Err(bad("HTTP/1.0 has no Transfer-Encoding"));
    }
    if length.is_some() {
        return Err(bad("the request has both Content-Length and Transfer-Encoding; send one"));
    }
    if encodings.next().is_none() && encoding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Ok(Decoder::chunked());
    }
    let last = headers.get_all(TRANSFER_ENCODING).iter().next_back().map_or(&b""[..], HeaderValue::as_bytes);
    let last = last.rsplit(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
    if last.eq_ignore_ascii_case(b"chunked") {
        return Err(Refusal::new(
            StatusCode::NOT_IMPLEMENTED,
            "the only transfer coding served is chunked, given once",
        ));
    }
    Err(bad("the body's last transfer coding is not chunked, so its end is unknown"))
}

/// RFC 9112 section 6.3 for responses.
fn response_body(headers: &HeaderMap, status: StatusCode, method: &Method) -> Result<Decoder, ResponseFault> {
    let length = content_length(headers)?;
    if method == Method::HEAD
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
    {
        return Ok(Decoder::Done);
    }
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    match (encodings.next(), length) {
        (None, None) => Ok(Decoder::UntilClose),
        (None, Some(length)) => Ok(Decoder::length(length)),
        (Some(_), Some(_)) => Err("it has both Content-Length and Transfer-Encoding"),
        (Some(encoding), None)
            if encodings.next().is_none() && encoding.as_bytes().eq_ignore_ascii_case(b"chunked") =>
        {
            Ok(Decoder::chunked())
        }
        (Some(_), None) => Err("its transfer coding is not chunked"),
    }
}

/// The length that a message says of itself: one number, once. Two of them, or a list, are how one message is made
/// to look like two.
pub(crate) fn content_length(headers: &HeaderMap) -> Result<Option<u64>, &'static str> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else { return Ok(None) };
    if lengths.next().is_some() {
        return Err("Content-Length stands twice");
    }
    let digits = length.as_bytes();
    if digits.is_empty() || digits.len() > 18 || !digits.iter().all(u8::is_ascii_digit) {
        return Err("Content-Length is not a number");
    }
    Ok(Some(digits.iter().fold(0, |length, digit| length * 10 + u64::from(digit - b'0'))))
}

/// RFC 9112 section 3.2: one host, even if the target names it too.
fn check_host(headers: &HeaderMap, target: &Uri) -> Result<(), Refusal> {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(bad("a request needs exactly one Host header"));
    };
    check_authority(host.as_bytes())?;
    target.authority().map_or(Ok(()), |named| check_authority(named.as_str().as_bytes()))
}

/// RFC 9110 section 4.2.4: a host has no user before it, by which it could be taken for another.
pub(crate) fn check_authority(host: &[u8]) -> Result<(), Refusal> {
    // The parser copies what it takes.
    if is_plain_authority(host) {
        return Ok(());
    }
    let host = Authority::try_from(host).map_err(|_| bad("the request's host is malformed"))?;
    if host.as_str().contains('@') {
        return Err(bad("a host has no user before it"));
    }
    Ok(())
}

/// Whether it is a name or an IPv4 address, with or without a port, as nearly all are.
fn is_plain_authority(host: &[u8]) -> bool {
    let in_name = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    match host.split_at(host.iter().take_while(in_name).count()) {
        ([], _) => false,
        (_, []) => true,
        (_, [b':', port @ ..]) => (1..=5).contains(&port.len()) && port.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// Whether `Upgrade` names WebSocket and nothing else. Other protocols are not switched to: inside h2c, requests would
/// reach the endpoint unseen by the routes.
pub(crate) fn names_websocket(headers: &HeaderMap) -> bool {
    let mut names = headers.get_all(UPGRADE).iter();
    let (Some(name), None) = (names.next(), names.next()) else { return false };
    name.as_bytes().eq_ignore_ascii_case(b"websocket")
}

/// What `Connection` asks for.
#[derive(Default)]
struct ConnectionOptions {
    close: bool,
    keep_alive: bool,
    upgrade: bool,
}

impl ConnectionOptions {
    /// Takes the options of one such header; whether it names headers too.
    fn read(&mut self, value: &[u8]) -> bool {
        let mut names = false;
        for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            let known = [
                (&b"close"[..], &mut self.close),
                (b"keep-alive", &mut self.keep_alive),
                (b"upgrade", &mut self.upgrade),
            ];
            match known.into_iter().find(|(name, _)| option.eq_ignore_ascii_case(name)) {
                Some((_, asked)) => *asked = true,
                None => names = true,
            }
        }
        names
    }

    /// RFC 9112 section 9.3.
    fn persists(&self, minor: u8) -> bool {
        !self.close && (minor == 1 || self.keep_alive)
    }
}

fn bad(reason: &'static str) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, reason)
}

fn too_long(limits: &Limits) -> Refusal {
    let reason = format!("the request's target is longer than the {} bytes allowed", limits.target_bytes);
    Refusal::new(StatusCode::URI_TOO_LONG, reason)
}

fn too_large(limits: &Limits) -> Refusal {
    let reason = format!(
        "the request's head is larger than the {} bytes or {} headers allowed",
        limits.header_bytes, limits.header_count
    );
    Refusal::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, reason)
}

//! URLs as Go's net/url reads them.

use std::fmt;

use crate::value::{Entries, Map, Value};

/// A URL in its parts.
#[derive(Debug, Clone, Default)]
pub struct Url {
    scheme: String,
    opaque: String,
    user: Option<String>,
    host: String,
    /// As written.
    path: String,
    query: Option<String>,
    fragment: Option<String>,
}

/// Whether `text` can stand in a request line.
pub(crate) fn parse_request(text: &str) -> Result<Url, String> {
    parse(text, true).map_err(|reason| format!("parse {text:?}: {reason}"))
}

/// Reads a URL that [`parse_request`] took.
pub(crate) fn parse_whole(text: &str) -> Result<Url, String> {
    let (rest, fragment) =
        text.split_once('#').map_or((text, None), |(rest, fragment)| (rest, Some(fragment)));
    let mut url = parse(rest, false).map_err(|reason| format!("parse {text:?}: {reason}"))?;
    url.fragment = fragment.map(str::to_owned);
    Ok(url)
}

fn parse(text: &str, request: bool) -> Result<Url, String> {
    if text.bytes().any(|b| b < 0x20 || b == 0x7f) {
        return Err("net/url: invalid control character in URL".to_owned());
    }
    if text.is_empty() && request {
        return Err("empty url".to_owned());
    }
    let mut url = Url::default();
    if text == "*" {
        url.path = text.to_owned();
        return Ok(url);
    }
    let mut rest = scheme(text, &mut url.scheme)?;
    if let Some((before, query)) = rest.split_once('?') {
        url.query = Some(query.to_owned());
        rest = before;
    }
    if !rest.starts_with('/') {
        if !url.scheme.is_empty() {
            url.opaque = rest.to_owned();
            return Ok(url);
        }
        if request {
            return Err("invalid URI for request".to_owned());
        }
        if rest.split('/').next().is_some_and(|segment| segment.contains(':')) {
            return Err("first path segment in URL cannot contain colon".to_owned());
        }
    }
    let with_authority = !url.scheme.is_empty() || !request && !rest.starts_with("///");
    if let Some(authority) = rest.strip_prefix("//").filter(|_| with_authority) {
        let end = authority.find('/').unwrap_or(authority.len());
        let (user, host) = authority[..end]
            .rsplit_once('@')
            .map_or((None, &authority[..end]), |(user, host)| (Some(user), host));
        if let Some(user) = user {
            if !user.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&b)) {
                return Err("net/url: invalid userinfo".to_owned());
            }
            check_escapes(user)?;
        }
        url.user = user.map(str::to_owned);
        url.host = checked_host(host)?;
        rest = &authority[end..];
    }
    check_escapes(rest)?;
    rest.clone_into(&mut url.path);
    Ok(url)
}

fn scheme<'t>(text: &'t str, scheme: &mut String) -> Result<&'t str, String> {
    for (at, c) in text.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at == 0 => return Err("missing protocol scheme".to_owned()),
            ':' => {
                *scheme = text[..at].to_ascii_lowercase();
                return Ok(&text[at + 1..]);
            }
            _ => return Ok(text),
        }
    }
    Ok(text)
}

fn check_escapes(text: &str) -> Result<(), String> {
    for (at, _) in text.match_indices('%') {
        let valid =
            text.as_bytes().get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
        if !valid {
            let shown: String = text[at..].chars().take(3).collect();
            return Err(format!("invalid URL escape {shown:?}"));
        }
    }
    Ok(())
}

fn checked_host(host: &str) -> Result<String, String> {
    let port = if host.starts_with('[') {
        let Some(end) = host.rfind(']') else { return Err("missing ']' in host".to_owned()) };
        &host[end + 1..]
    } else {
        host.find(':').map_or("", |at| &host[at..])
    };
    let digits = port.strip_prefix(':').unwrap_or(if port.is_empty() { "" } else { "x" });
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("invalid port {port:?} after host"));
    }
    check_escapes(host)?;
    if let Some(at) = host.find('%') {
        let octet = u8::from_str_radix(&host[at + 1..at + 3], 16).unwrap_or(0);
        if octet < 0x80 && &host[at..at + 3] != "%25" {
            return Err(format!("invalid URL escape {:?}", &host[at..at + 3]));
        }
    }
    match host
        .chars()
        .find(|c| c.is_ascii() && !c.is_ascii_alphanumeric() && !"!$&'()*+,;=:[]<>\"-_.~%".contains(*c))
    {
        Some(c) => Err(format!("invalid character {:?} in host name", c.to_string())),
        None => Ok(String::from_utf8_lossy(&unescape(host, false).unwrap_or_default()).into_owned()),
    }
}

fn unescape(text: &str, plus: bool) -> Option<Vec<u8>> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'%' => {
                let hex = text.get(at + 1..at + 3)?;
                out.push(u8::from_str_radix(hex, 16).ok()?);
                at += 3;
                continue;
            }
            b'+' if plus => out.push(b' '),
            b => out.push(b),
        }
        at += 1;
    }
    Some(out)
}

impl Url {
    pub(crate) fn scheme(&self) -> &str {
        &self.scheme
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The host without port and brackets.
    pub(crate) fn hostname(&self) -> &str {
        let (host, _) = self.split_port();
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    pub(crate) fn port(&self) -> &str {
        self.split_port().1
    }

    fn split_port(&self) -> (&str, &str) {
        match self.host.rfind(':') {
            Some(at) if self.host[at + 1..].bytes().all(|b| b.is_ascii_digit()) => {
                (&self.host[..at], &self.host[at + 1..])
            }
            _ => (&self.host, ""),
        }
    }

    /// The path as it stands in a request.
    pub(crate) fn escaped_path(&self) -> String {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(&b);
        if self.path.bytes().all(|b| plain(b) || b"!'()*[]%".contains(&b)) {
            return self.path.clone();
        }
        let mut escaped = String::with_capacity(self.path.len());
        for b in unescape(&self.path, false).unwrap_or_default() {
            if plain(b) {
                escaped.push(char::from(b));
            } else {
                escaped.push_str(&format!("%{b:02X}"));
            }
        }
        escaped
    }

    /// The parameters of the query, each with all its values.
    pub(crate) fn query<'a>(&self) -> Value<'a> {
        let mut parameters: Vec<(String, Vec<Value<'a>>)> = Vec::new();
        let text = |raw: &str| Some(String::from_utf8_lossy(&unescape(raw, true)?).into_owned());
        for pair in self.query.iter().flat_map(|query| query.split('&')) {
            if pair.is_empty() || pair.contains(';') {
                continue;
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Some(name), Some(value)) = (text(name), text(value)) else { continue };
            match parameters.iter_mut().find(|(known, _)| *known == name) {
                Some((_, values)) => values.push(value.into()),
                None => parameters.push((name, vec![value.into()])),
            }
        }
        let mut entries = Entries::default();
        for (name, values) in parameters {
            entries.set(name.into(), Value::list(values));
        }
        Value::Map(Map::Entries(entries.into()))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.scheme.is_empty() {
            write!(f, "{}:", self.scheme)?;
        }
        if self.opaque.is_empty() {
            if !self.scheme.is_empty() && (!self.host.is_empty() || !self.path.is_empty())
                || !self.host.is_empty()
            {
                f.write_str("//")?;
                if let Some(user) = &self.user {
                    write!(f, "{user}@")?;
                }
                f.write_str(&self.host)?;
            }
            f.write_str(&self.escaped_path())?;
        } else {
            f.write_str(&self.opaque)?;
        }
        if let Some(query) = &self.query {
            write!(f, "?{query}")?;
        }
        match &self.fragment {
            Some(fragment) if !fragment.is_empty() => write!(f, "#{fragment}"),
            _ => Ok(()),
        }
    }
}

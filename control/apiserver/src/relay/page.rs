//! Links in what pods answer: those to the pod itself lead through the API, as the page that they stand on does.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, LOCATION};
use http_body::{Body, Frame};
use http_body_util::{BodyExt as _, StreamBody};
use lol_html::html_content::Element;
use lol_html::send::{HtmlRewriter, Settings};
use lol_html::{MemorySettings, element};

use crate::service::ResponseBody;

/// The memory that one page may take while it is read, in bytes: as much as its longest tag.
const MEMORY: usize = 1 << 20;
/// The attributes that are links, by element (HTML 4.01's index of attributes, and the HTML standard's).
const LINKS: [(&str, &[&str]); 26] = [
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("command", &["icon"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["src", "usemap", "formaction"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("track", &["src"]),
    ("video", &["poster", "src"]),
];

/// Where links of a page lead.
#[derive(Debug, Clone)]
pub(super) struct Links {
    /// What the API puts before the pod's own paths, without a slash at its end.
    pub(super) prefix: String,
    /// The hosts, each with its port, that mean the pod itself.
    pub(super) hosts: Vec<String>,
}

impl Links {
    /// A link through the API; nothing where it is right as it is.
    fn through(&self, link: &str) -> Option<String> {
        let path = match link.split_once("//") {
            Some(("" | "http:" | "https:", rest)) => {
                let (host, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
                self.hosts.iter().any(|own| own == host).then_some(path)?
            }
            _ => link.starts_with('/').then_some(link)?,
        };
        let after = path.strip_prefix(&self.prefix);
        let is_through = after.is_some_and(|after| after.is_empty() || after.starts_with(['/', '?', '#']));
        if is_through {
            return (path != link).then(|| path.to_owned());
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        Some(format!("{}{slash}{path}", self.prefix))
    }

    /// Leads where an answer sends the client, and whether its body is a page whose links are to be led.
    pub(super) fn lead(&self, headers: &mut HeaderMap) -> bool {
        if let Some(location) = headers.get(LOCATION) {
            let led = location.to_str().ok().and_then(|location| self.through(location));
            if let Some(led) = led.and_then(|led| HeaderValue::from_str(&led).ok()) {
                headers.insert(LOCATION, led);
            }
            return false;
        }
        let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        let is_page = kind.eq_ignore_ascii_case("text/html") && !headers.contains_key(CONTENT_ENCODING);
        if is_page {
            headers.remove(CONTENT_LENGTH);
        }
        is_page
    }

    /// A page, piece by piece, with its links led.
    pub(super) fn page<B>(self, body: B) -> ResponseBody
    where
        B: Body<Data = Bytes, Error = io::Error> + Send + 'static,
    {
        let written = Arc::new(Mutex::new(Vec::new()));
        let sink = {
            let written = Arc::clone(&written);
            move |piece: &[u8]| {
                written.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(piece);
            }
        };
        let settings = Settings::new_send()
            .with_strict(false)
            .with_memory_settings(MemorySettings::new().with_max_allowed_memory_usage(MEMORY))
            .append_element_content_handler(element!("*", move |element| {
                self.lead_element(element);
                Ok(())
            }));
        let page = HtmlRewriter::new(settings, sink);
        let body = Box::pin(body.into_data_stream());
        let pieces = stream::unfold(Some((page, body)), move |reading| {
            let written = Arc::clone(&written);
            async move {
                let (mut page, mut body) = reading?;
                let (read, rest) = match body.next().await {
                    Some(Ok(piece)) => (page.write(&piece).map_err(io::Error::other), Some((page, body))),
                    Some(Err(error)) => (Err(error), None),
                    None => (page.end().map_err(io::Error::other), None),
                };
                let piece = std::mem::take(&mut *written.lock().unwrap_or_else(PoisonError::into_inner));
                let rest = rest.filter(|_| read.is_ok());
                Some((read.map(|()| Frame::data(Bytes::from(piece))), rest))
            }
        });
        StreamBody::new(pieces).boxed_unsync()
    }

    fn lead_element(&self, element: &mut Element<'_, '_, lol_html::send::SendHandlerTypes>) {
        let tag = element.tag_name();
        let Some((_, names)) = LINKS.iter().find(|(own, _)| *own == tag) else { return };
        for name in *names {
            let led = element.get_attribute(name).and_then(|link| self.through(&link));
            if let Some(Err(error)) = led.map(|led| element.set_attribute(name, &led)) {
                tracing::debug!(%error, "a link stays as it is");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links() -> Links {
        Links { prefix: "/api/x/proxy".into(), hosts: vec!["10.0.0.7:80".into(), "api:6443".into()] }
    }

    #[test]
    fn links_to_the_pod_lead_through_the_api() {
        for (link, expected) in [
            ("/a", Some("/api/x/proxy/a")),
            ("/a/?b=/c", Some("/api/x/proxy/a/?b=/c")),
            ("/", Some("/api/x/proxy/")),
            ("http://10.0.0.7:80/a", Some("/api/x/proxy/a")),
            ("https://api:6443", Some("/api/x/proxy/")),
            ("//api:6443/api/x/proxy/a", Some("/api/x/proxy/a")),
            ("/api/x/proxy/a", None),
            ("/api/x/proxying", Some("/api/x/proxy/api/x/proxying")),
            ("a/b", None),
            ("#a", None),
            ("?a=//api:6443/", None),
            ("//elsewhere/a", None),
            ("https://elsewhere/a", None),
            ("mailto:a@b", None),
            ("", None),
        ] {
            assert_eq!(links().through(link).as_deref(), expected, "{link}");
        }
    }

    #[tokio::test]
    async fn a_page_that_comes_in_pieces_has_its_links_led_and_nothing_else_changed() {
        let text = "<!doctype html><p class=x>a &amp; b<A  HREF='/one' title=\"/t\">1</a><img src=/two><p><i cite=/no>";
        let pieces: Vec<_> = text
            .as_bytes()
            .chunks(3)
            .map(|piece| Ok::<_, io::Error>(Frame::data(Bytes::copy_from_slice(piece))))
            .collect();
        let page = links().page(StreamBody::new(stream::iter(pieces)));
        let page = page.collect().await.unwrap().to_bytes();
        let expected = "<!doctype html><p class=x>a &amp; b<A HREF=\"/api/x/proxy/one\" title=\"/t\">1</a>\
                        <img src=\"/api/x/proxy/two\"><p><i cite=/no>";
        assert_eq!(String::from_utf8_lossy(&page), expected);
    }

    #[tokio::test]
    async fn a_tag_without_an_end_is_refused_before_it_fills_the_memory() {
        let tag = Bytes::from("<a href=".to_owned() + &"x".repeat(64 << 10));
        let endless = stream::iter((0..64).map(move |_| Ok::<_, io::Error>(Frame::data(tag.clone()))));
        assert!(links().page(StreamBody::new(endless)).collect().await.is_err());
    }
}

//! Requests that are passed on to the server that has a version of a group, with the name of whoever asks on them.

use std::error::Error as StdError;
use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderName, HeaderValue, LOCATION, UPGRADE};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt as _;

use super::Extension;
use crate::api::Api;
use crate::audit::Peer;
use crate::relay::strip;
use crate::reply::{text, whole};
use crate::service::ResponseBody;
use crate::upgrades::Permit;
use crate::user::User;

/// How long a server may take to begin its answer, as upstream has it.
const PATIENCE: Duration = Duration::from_secs(60);
const FORWARDED: HeaderName = HeaderName::from_static("x-forwarded-for");
const REMOTE: &str = "x-remote-";

impl Api {
    /// Passes a request of a user on, and gives back the answer.
    pub(crate) async fn pass_on<B>(
        &self,
        extension: &Extension,
        user: &User,
        request: Request<B>,
        permit: Option<Permit>,
    ) -> Response<ResponseBody>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        if !extension.is_available {
            return refusal(StatusCode::SERVICE_UNAVAILABLE, "service unavailable");
        }
        let address = match self.address_of(extension) {
            Ok(address) => address,
            Err(why) => {
                tracing::debug!(api_service = %extension.name, why, "an extension server has no address");
                return refusal(StatusCode::SERVICE_UNAVAILABLE, "service unavailable");
            }
        };
        let passed = self.pass_to(extension, &address, user, request, permit).await;
        passed.unwrap_or_else(|why| {
            let why = format!("error trying to reach service: {why}");
            refusal(StatusCode::SERVICE_UNAVAILABLE, &why)
        })
    }

    /// Where the server of an extension is reached now.
    pub(super) fn address_of(&self, extension: &Extension) -> Result<String, String> {
        let backend = &extension.backend;
        let served = self.catalog().served();
        let service = served
            .find("", "services")
            .map(|services| self.storage().find(services, Some(&backend.namespace), &backend.name));
        if let Some(Ok(Some(service))) = service
            && service.object["spec"]["type"] == "ExternalName"
        {
            let name = service.object["spec"]["externalName"].as_str().unwrap_or_default();
            return Ok(format!("{name}:{}", backend.port));
        }
        self.endpoint_of(&backend.namespace, &backend.name, backend.port).map_err(|status| status.message)
    }

    async fn pass_to<B>(
        &self,
        extension: &Extension,
        address: &str,
        user: &User,
        mut request: Request<B>,
        permit: Option<Permit>,
    ) -> Result<Response<ResponseBody>, String>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let upgrade = request.headers().get(UPGRADE).cloned();
        let upgraded = hyper::upgrade::on(&mut request);
        let (mut head, body) = request.into_parts();
        strip(&mut head.headers);
        name_user(&mut head.headers, user)?;
        if let Some(Peer(peer)) = head.extensions.get::<Peer>() {
            let before = head.headers.get(FORWARDED).and_then(|value| value.to_str().ok());
            let way = before.map_or_else(String::new, |before| format!("{before}, "));
            head.headers.insert(FORWARDED, value_of(&format!("{way}{}", peer.ip()))?);
        }
        if let Some(protocol) = &upgrade {
            head.headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            head.headers.insert(UPGRADE, protocol.clone());
        }
        // What the connection to the client has noted is not for the server.
        head.extensions.clear();
        let body = body.map_err(Into::into).boxed_unsync();
        let request = Request::from_parts(head, body);
        let sent = extension.channel.send(self, address, request, upgrade.is_some());
        let timeout = tokio::time::timeout(PATIENCE, sent).await;
        let mut response =
            timeout.unwrap_or_else(|_| Err("net/http: timeout awaiting response headers".to_owned()))?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let answered = hyper::upgrade::on(&mut response);
            self.carry(upgraded, answered, permit);
            return Ok(response.map(|_| whole(Bytes::new())));
        }
        // Whoever follows it would show this server's clients' credentials to somebody else.
        if response.status().is_redirection() && response.headers().contains_key(LOCATION) {
            let why = "the backend attempted to redirect this request, which is not permitted";
            return Ok(refusal(StatusCode::BAD_GATEWAY, why));
        }
        strip(response.headers_mut());
        Ok(response.map(|body| body.map_err(io::Error::other).boxed_unsync()))
    }
}

/// Says who asks, and takes away what the client said of that.
pub(super) fn name_user(headers: &mut HeaderMap, user: &User) -> Result<(), String> {
    let claimed: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with(REMOTE)).cloned().collect();
    for name in claimed {
        headers.remove(name);
    }
    headers.insert(HeaderName::from_static("x-remote-user"), value_of(&user.name)?);
    if !user.uid.is_empty() {
        headers.insert(HeaderName::from_static("x-remote-uid"), value_of(&user.uid)?);
    }
    for group in &user.groups {
        headers.append(HeaderName::from_static("x-remote-group"), value_of(group)?);
    }
    for (key, values) in &user.extra {
        let name = format!("{REMOTE}extra-{}", escaped(key));
        let name: HeaderName =
            name.parse().map_err(|_| format!("the key {key:?} of the user is no header"))?;
        for value in values {
            headers.append(name.clone(), value_of(value)?);
        }
    }
    Ok(())
}

fn value_of(text: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_bytes(text.as_bytes()).map_err(|_| format!("{text:?} cannot be said in a header"))
}

/// A key with what no header's name may have, and `%`, in its percent-encoded form.
fn escaped(key: &str) -> String {
    let mut name = String::with_capacity(key.len());
    for byte in key.bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~".contains(&byte);
        // Writing to a string does not fail.
        let _ = if plain { write!(name, "{}", char::from(byte)) } else { write!(name, "%{byte:02X}") };
    }
    name
}

/// An answer in upstream's form, which is plain text here.
fn refusal(code: StatusCode, why: &str) -> Response<ResponseBody> {
    text(code, format!("{why}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_is_named_and_nobody_names_themselves() {
        let mut headers = HeaderMap::new();
        for name in ["x-remote-user", "x-remote-group", "x-remote-extra-scopes", "x-remote-uid"] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("root"));
        }
        headers.insert("x-other", HeaderValue::from_static("stays"));
        let mut user = User::new("jané", ["a", "b"]);
        user.extra.insert("example.org/scope 1%".to_owned(), vec!["x".to_owned(), "y".to_owned()]);
        name_user(&mut headers, &user).unwrap();
        assert_eq!(headers["x-remote-user"].as_bytes(), "jané".as_bytes());
        let all =
            |name: &str| -> Vec<&[u8]> { headers.get_all(name).iter().map(HeaderValue::as_bytes).collect() };
        assert_eq!(all("x-remote-group"), [b"a", b"b"]);
        assert_eq!(all("x-remote-extra-example.org%2fscope%201%25"), [b"x", b"y"]);
        assert!(!headers.contains_key("x-remote-uid") && !headers.contains_key("x-remote-extra-scopes"));
        assert_eq!(headers["x-other"], "stays");
        assert!(name_user(&mut headers, &User::new("two\nlines", [])).is_err());
    }
}

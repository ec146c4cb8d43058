//! `pods/proxy` and `services/proxy`: requests that are passed on to a port of a pod.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONNECTION, HOST, HeaderName, HeaderValue, LOCATION, UPGRADE};
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use http_body::Body;
use http_body_util::BodyExt as _;
use hyper::client::conn::http1;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use xebec_machinery::status::{Reason, Status};

use crate::api::Api;
use crate::call::Call;
use crate::object::at_path;
use crate::options::Options;
use crate::reply::whole;
use crate::service::ResponseBody;
use crate::upgrades::{self, Permit};

mod page;

use page::Links;

/// How long a pod may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// Headers that are between two neighbours alone (RFC 9110, section 7.6.1), and those that are for the API.
const NOT_PASSED_ON: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
    "authorization",
];

/// What is named before `/proxy`: `[SCHEME:]NAME[:PORT]`.
#[derive(Debug, PartialEq, Eq)]
struct Named<'a> {
    scheme: &'a str,
    name: &'a str,
    port: &'a str,
}

impl<'a> Named<'a> {
    fn parse(text: &'a str) -> Result<Self, Status> {
        let parts: Vec<&str> = text.split(':').collect();
        let named = match parts[..] {
            [name] => Self { scheme: "", name, port: "" },
            [name, port] => Self { scheme: "", name, port },
            [scheme, name, port] => Self { scheme, name, port },
            _ => {
                return Err(Status::bad_request(format!(
                    "invalid proxy request {text:?}: say [SCHEME:]NAME[:PORT]"
                )));
            }
        };
        match named.scheme {
            "" | "http" | "https" => Ok(named),
            scheme => {
                Err(Status::bad_request(format!("the scheme {scheme:?} is not passed on; use http or https")))
            }
        }
    }
}

/// The way of a request that is passed on.
struct Way {
    address: SocketAddr,
    /// Whether it goes over TLS.
    secured: bool,
    /// What of the request's own path is the API's.
    prefix: String,
    /// The rest of it, with the query.
    path: String,
}

impl Api {
    /// Passes a request on to the pod, or to a pod of the service, that its URL names, and gives back the answer.
    pub(crate) async fn relay<B>(
        &self,
        call: &Call,
        request: Request<B>,
    ) -> Result<Response<ResponseBody>, Status>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let permit = upgrades::permit(&request, &call.user)?;
        let target = Named::parse(call.name())?;
        let mut named = call.clone();
        named.request.name = Some(target.name.to_owned());
        named.request.options = Options::default();
        let found = self.read(&named).await?;
        let address = if &*call.resource.plural == "pods" {
            pod_address(&found, target.port)
        } else {
            self.service_address(&named, &found, target.port, |endpoint| self.pod_behind(&named, endpoint))?
        };
        let address = address.ok_or_else(|| no_endpoint(target.name))?;
        if !is_a_pods(address.ip()) {
            return Err(Status::bad_request("address not allowed"));
        }
        let uri = request.uri();
        let path = rest_of(uri.path());
        if path.is_empty() && request.method() == http::Method::GET {
            return Ok(with_slash(uri));
        }
        let prefix = uri.path().strip_suffix(path).unwrap_or_default().to_owned();
        let path = if path.is_empty() { "/" } else { path };
        let path = uri.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
        let way = Way { address, secured: target.scheme == "https", prefix, path };
        let passed = self.forward(way, request, permit).await;
        passed.map_err(|why| unreachable_pod(&format!("{} at {address}", target.name), why.as_ref()))
    }

    /// Where a port of a service is reached, be it a pod or something else that its slices name.
    pub(crate) fn endpoint_of(&self, namespace: &str, name: &str, port: u16) -> Result<String, Status> {
        let mut call = self.own_call("", "v1", "services", Some(namespace))?;
        call.request.name = Some(name.to_owned());
        let service = self.storage().get(&call.resource, Some(namespace), name)?.object;
        let address = self.service_address(&call, &service, &port.to_string(), |endpoint| {
            Ok(endpoint["addresses"][0].as_str().and_then(|address| address.parse().ok()))
        })?;
        address.map(|address| address.to_string()).ok_or_else(|| no_endpoint(name))
    }

    /// An address that `address_of` finds in a ready endpoint of a service, another one each time.
    fn service_address(
        &self,
        call: &Call,
        service: &Value,
        port: &str,
        address_of: impl Fn(&Value) -> Result<Option<IpAddr>, Status>,
    ) -> Result<Option<SocketAddr>, Status> {
        let ports = service["spec"]["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
        let wanted = |own: &&Value| {
            let name = own["name"].as_str().unwrap_or_default();
            let by_number = port.parse::<u64>().is_ok_and(|port| own["port"].as_u64() == Some(port));
            name == port || by_number || port.is_empty() && ports.len() == 1
        };
        let Some(own) = ports.iter().find(wanted) else { return Ok(None) };
        let name = own["name"].as_str().unwrap_or_default();
        let slices = self.slices_of(call.namespace().unwrap_or_default(), call.name())?;
        let ready = slices.iter().flat_map(|slice| {
            let ports = slice["ports"].as_array().into_iter().flatten();
            let number = ports
                .filter(|port| port["name"].as_str().unwrap_or_default() == name)
                .find_map(|port| port["port"].as_u64()?.try_into().ok());
            let endpoints = number.and_then(|_: u16| slice["endpoints"].as_array()).into_iter().flatten();
            let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] != false);
            ready.filter_map(move |endpoint| Some((endpoint, number?)))
        });
        let ready: Vec<(&Value, u16)> = ready.collect();
        let first = self.slices().turn(ready.len());
        for (endpoint, number) in ready.iter().cycle().skip(first).take(ready.len()) {
            if let Some(address) = address_of(endpoint)? {
                return Ok(Some(SocketAddr::new(address, *number)));
            }
        }
        Ok(None)
    }

    /// Passes a request on, and serves what becomes of its connection.
    async fn forward<B>(
        &self,
        way: Way,
        mut request: Request<B>,
        permit: Option<Permit>,
    ) -> Result<Response<ResponseBody>, Box<dyn std::error::Error + Send + Sync>>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let connect = tokio::time::timeout(CONNECT, TcpStream::connect(way.address));
        let stream = connect.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        stream.set_nodelay(true)?;
        let mut sender = if way.secured {
            // Whose certificate it is, nobody can tell: the API speaks to the address that it knows.
            let host = way.address.ip().to_string();
            let secure = tokio::time::timeout(CONNECT, xebec_tls::secure(stream, &host));
            self.speak(secure.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??).await?
        } else {
            self.speak(stream).await?
        };
        let upgrade = request.headers().get(UPGRADE).cloned();
        let upgraded = hyper::upgrade::on(&mut request);
        let (mut head, body) = request.into_parts();
        let asked_of = host_of(&head);
        strip(&mut head.headers);
        let wants_page =
            |accepted: &HeaderValue| accepted.to_str().is_ok_and(|own| own.contains("text/html"));
        if head.headers.get_all(ACCEPT).iter().any(wants_page) {
            // A page is read on its way.
            head.headers.remove(ACCEPT_ENCODING);
        }
        head.headers.insert("x-forwarded-uri", HeaderValue::from_str(head.uri.path())?);
        head.uri = way.path.parse()?;
        head.version = http::Version::HTTP_11;
        let authority = way.address.to_string();
        head.headers.insert(HOST, HeaderValue::from_str(&authority)?);
        if let Some(protocol) = upgrade {
            head.headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            head.headers.insert(UPGRADE, protocol);
        }
        let mut response = sender.send_request(Request::from_parts(head, body.boxed_unsync())).await?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let answered = hyper::upgrade::on(&mut response);
            self.carry(upgraded, answered, permit);
            return Ok(response.map(|_| whole(Bytes::new())));
        }
        strip(response.headers_mut());
        let links = Links { prefix: way.prefix, hosts: asked_of.into_iter().chain([authority]).collect() };
        let is_page = links.lead(response.headers_mut());
        let response = response.map(|body| body.map_err(io::Error::other));
        Ok(response.map(|body| if is_page { links.page(body) } else { body.boxed_unsync() }))
    }

    /// Carries what both sides say once they have changed the protocol, for as long as both are there.
    pub(crate) fn carry(&self, client: OnUpgrade, server: OnUpgrade, permit: Option<Permit>) {
        self.serve_stream(async move {
            let _held = permit;
            let (Ok(client), Ok(server)) = tokio::join!(client, server) else { return };
            let (mut client, mut server) = (TokioIo::new(client), TokioIo::new(server));
            if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut server).await {
                tracing::debug!(%error, "a connection that was passed on broke");
            }
        });
    }

    /// Speaks HTTP over a connection to a pod.
    async fn speak<S, B>(&self, stream: S) -> Result<http1::SendRequest<B>, hyper::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        self.serve_stream(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "a connection to a pod broke");
            }
        });
        Ok(sender)
    }

    /// The address of an endpoint, if it is that of a pod of the namespace: whoever may write slices of endpoints is not
    /// to have the API connect to just anything.
    fn pod_behind(&self, call: &Call, endpoint: &Value) -> Result<Option<IpAddr>, Status> {
        let target = &endpoint["targetRef"];
        let text = |field: &str| target[field].as_str().unwrap_or_default();
        let address = endpoint["addresses"][0].as_str().and_then(|address| address.parse::<IpAddr>().ok());
        let (Some(address), "Pod", namespace) = (address, text("kind"), text("namespace")) else {
            return Ok(None);
        };
        if Some(namespace) != call.namespace() {
            return Ok(None);
        }
        let served = self.catalog().served();
        let Some(pods) = served.find("", "pods") else { return Ok(None) };
        let found = self.storage().find(pods, call.namespace(), text("name"))?;
        let own = found.is_some_and(|pod| addresses_of(&pod.object).any(|own| own == address));
        Ok(own.then_some(address))
    }
}

/// Where pods without a network of their own listen: a part of the loopback network that nothing else uses.
const POD_LOOPBACK: (Ipv4Addr, u32) = (Ipv4Addr::new(127, 128, 0, 0), 10);

/// Whether an address can be a pod's. The machine's own services and its neighbours on the link are none of them.
fn is_a_pods(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) if address.is_loopback() => {
            let (network, bits) = POD_LOOPBACK;
            (u32::from(address) ^ u32::from(network)) >> (32 - bits) == 0
        }
        IpAddr::V4(address) => {
            !(address.is_unspecified()
                || address.is_link_local()
                || address.is_multicast()
                || address.is_broadcast())
        }
        IpAddr::V6(address) => {
            !(address.is_unspecified()
                || address.is_loopback()
                || address.is_unicast_link_local()
                || address.is_multicast())
        }
    }
}

/// All addresses of a pod.
fn addresses_of(pod: &Value) -> impl Iterator<Item = IpAddr> {
    let more = pod["status"]["podIPs"].as_array().into_iter().flatten();
    let all = std::iter::once(&pod["status"]["podIP"]).chain(more.map(|one| &one["ip"]));
    all.filter_map(|address| address.as_str()?.parse().ok())
}

fn pod_address(pod: &Value, port: &str) -> Option<SocketAddr> {
    let address = at_path(pod, ".status.podIP")?.as_str()?.parse().ok()?;
    if !port.is_empty() {
        return port.parse::<u16>().ok().map(|port| SocketAddr::new(address, port));
    }
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    let mut ports = containers.flat_map(|container| container["ports"].as_array().into_iter().flatten());
    let first = ports.find_map(|port| port["containerPort"].as_u64()).unwrap_or(80);
    Some(SocketAddr::new(address, first.try_into().ok()?))
}

/// What follows `/proxy` in a path, as it was sent.
pub(crate) fn rest_of(path: &str) -> &str {
    // `/api/v1/namespaces/NAMESPACE/PLURAL/NAME/proxy`
    let start = path.match_indices('/').nth(7).map_or(path.len(), |(at, _)| at);
    &path[start..]
}

/// The host that a client asked, with its port where it named one.
fn host_of(head: &http::request::Parts) -> Option<String> {
    let named = head.headers.get(HOST).and_then(|host| host.to_str().ok());
    named.or(head.uri.authority().map(http::uri::Authority::as_str)).map(str::to_owned)
}

/// Relative links of a page are right only when its own path ends with a slash.
fn with_slash(uri: &Uri) -> Response<ResponseBody> {
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut response = Response::new(whole(Bytes::new()));
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if let Ok(location) = HeaderValue::from_str(&format!("{}/{query}", uri.path())) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

fn no_endpoint(name: &str) -> Status {
    Status::unavailable(format!("no endpoints available for {name:?}: nothing is ready at that port"))
}

fn unreachable_pod(target: &str, why: &(dyn std::error::Error + 'static)) -> Status {
    Status::new(Reason::ServiceUnavailable, format!("error trying to reach {target}: {why}"))
}

/// Takes out what is for the neighbour alone, and what it says is.
pub(crate) fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in NOT_PASSED_ON {
        headers.remove(name);
    }
    // As whom the API acts is for the API alone.
    let impersonation: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("impersonate-")).cloned().collect();
    for name in impersonation {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_named_may_have_a_scheme_and_a_port() {
        let named = |scheme, name, port| Named { scheme, name, port };
        assert_eq!(Named::parse("web").unwrap(), named("", "web", ""));
        assert_eq!(Named::parse("web:8080").unwrap(), named("", "web", "8080"));
        assert_eq!(Named::parse("http:web:metrics").unwrap(), named("http", "web", "metrics"));
        assert_eq!(Named::parse("https:web:1").unwrap(), named("https", "web", "1"));
        assert!(Named::parse("ftp:web:1").is_err());
        assert!(Named::parse("a:b:c:d").is_err());
    }

    #[test]
    fn the_rest_of_a_path_is_passed_on_as_it_came() {
        let path = "/api/v1/namespaces/default/pods/web/proxy";
        assert_eq!(rest_of(path), "");
        assert_eq!(rest_of(&format!("{path}/")), "/");
        assert_eq!(rest_of(&format!("{path}/a%2Fb//c/")), "/a%2Fb//c/");
    }

    #[test]
    fn a_pods_port_is_the_one_asked_for_or_its_first() {
        let pod = json!({
            "spec": {"containers": [{"name": "a"}, {"ports": [{"containerPort": 8080}]}]},
            "status": {"podIP": "10.0.0.7"},
        });
        let at = |text: &str| Some(text.parse::<SocketAddr>().unwrap());
        assert_eq!(pod_address(&pod, ""), at("10.0.0.7:8080"));
        assert_eq!(pod_address(&pod, "9"), at("10.0.0.7:9"));
        assert_eq!(pod_address(&pod, "http"), None);
        assert_eq!(pod_address(&json!({"status": {"podIP": ""}}), "9"), None);
        assert_eq!(pod_address(&json!({"status": {"podIP": "metadata.internal"}}), "9"), None);
    }

    #[test]
    fn nothing_but_pods_is_reached() {
        for address in ["10.0.0.7", "127.128.0.2", "127.191.255.1", "fd00::1", "192.168.1.1"] {
            assert!(is_a_pods(address.parse().unwrap()), "{address}");
        }
        for address in [
            "127.0.0.1",
            "127.64.0.1",
            "127.192.0.1",
            "169.254.169.254",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
        ] {
            assert!(!is_a_pods(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn headers_for_the_neighbour_are_not_passed_on() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "x-mine, close"),
            ("x-mine", "1"),
            ("x-other", "2"),
            ("te", "trailers"),
            ("impersonate-user", "jane"),
            ("impersonate-extra-a", "b"),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        strip(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-other"]);
    }
}

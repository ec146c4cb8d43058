//! `pods/proxy` and `services/proxy`: requests that are passed on to a port of a pod.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, HeaderName, HeaderValue, LOCATION, UPGRADE};
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use http_body::Body;
use http_body_util::BodyExt as _;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use xebec_machinery::status::{Reason, Status};
use xebec_store::ListRequest;

use crate::api::Api;
use crate::call::Call;
use crate::object::at_path;
use crate::options::Options;
use crate::service::{ResponseBody, whole};
use crate::{key, storage};

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
            "" | "http" => Ok(named),
            scheme => Err(Status::bad_request(format!("the scheme {scheme:?} is not passed on; use http"))),
        }
    }
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
        let target = Named::parse(call.name())?;
        let mut named = call.clone();
        named.request.name = Some(target.name.to_owned());
        named.request.options = Options::default();
        let found = self.read(&named).await?;
        let address = if &*call.resource.plural == "pods" {
            pod_address(&found, target.port)
        } else {
            self.service_address(named.namespace(), target.name, &found, target.port)?
        };
        let address = address.ok_or_else(|| no_endpoint(target.name))?;
        let uri = request.uri();
        let path = rest_of(uri.path());
        if path.is_empty() && request.method() == http::Method::GET {
            return Ok(with_slash(uri));
        }
        let path = if path.is_empty() { "/" } else { path };
        let path = uri.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
        let passed = pass(&address, &path, request).await;
        passed.map_err(|why| unreachable_pod(&format!("{} at {address}", target.name), why.as_ref()))
    }

    /// The address of a ready pod of a service, for what calls it by its name and port.
    pub(crate) fn endpoint_of(&self, namespace: &str, name: &str, port: u16) -> Result<String, Status> {
        let served = self.catalog().served();
        let services = served.find("", "services").ok_or_else(Status::no_such_resource)?;
        let service = self.storage().get(services, Some(namespace), name)?.object;
        let address = self.service_address(Some(namespace), name, &service, &port.to_string())?;
        address.ok_or_else(|| no_endpoint(name))
    }

    /// The address of a ready pod of a service.
    fn service_address(
        &self,
        namespace: Option<&str>,
        own_name: &str,
        service: &Value,
        port: &str,
    ) -> Result<Option<String>, Status> {
        let ports = service["spec"]["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
        let wanted = |own: &&Value| {
            let name = own["name"].as_str().unwrap_or_default();
            let by_number = port.parse::<u64>().is_ok_and(|port| own["port"].as_u64() == Some(port));
            name == port || by_number || port.is_empty() && ports.len() == 1
        };
        let Some(own) = ports.iter().find(wanted) else { return Ok(None) };
        let name = own["name"].as_str().unwrap_or_default();
        let served = self.catalog().served();
        let Some(slices) = served.find("discovery.k8s.io", "endpointslices") else { return Ok(None) };
        let prefix = key::prefix("discovery.k8s.io", "endpointslices", namespace);
        let page = self.storage().list(slices, &ListRequest { prefix: &prefix, ..ListRequest::default() })?;
        for entry in &page.items {
            let slice = storage::decode(entry)?.object;
            if slice["metadata"]["labels"]["kubernetes.io/service-name"] != own_name {
                continue;
            }
            let ports = slice["ports"].as_array().into_iter().flatten();
            let number = ports
                .filter(|port| port["name"].as_str().unwrap_or_default() == name)
                .find_map(|port| port["port"].as_u64());
            let endpoints = slice["endpoints"].as_array().into_iter().flatten();
            let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] != false);
            let address = ready.filter_map(|endpoint| endpoint["addresses"][0].as_str()).next();
            if let (Some(address), Some(number)) = (address, number) {
                return Ok(Some(join(address, &number.to_string())));
            }
        }
        Ok(None)
    }
}

fn pod_address(pod: &Value, port: &str) -> Option<String> {
    let address = at_path(pod, ".status.podIP")?.as_str().filter(|address| !address.is_empty())?;
    if !port.is_empty() {
        return port.parse::<u16>().ok().map(|port| join(address, &port.to_string()));
    }
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    let mut ports = containers.flat_map(|container| container["ports"].as_array().into_iter().flatten());
    let first = ports.find_map(|port| port["containerPort"].as_u64()).unwrap_or(80);
    Some(join(address, &first.to_string()))
}

fn join(address: &str, port: &str) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

/// What follows `/proxy` in a path, as it was sent.
fn rest_of(path: &str) -> &str {
    // `/api/v1/namespaces/NAMESPACE/PLURAL/NAME/proxy`
    let start = path.match_indices('/').nth(7).map_or(path.len(), |(at, _)| at);
    &path[start..]
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

async fn pass<B>(
    address: &str,
    path: &str,
    mut request: Request<B>,
) -> Result<Response<ResponseBody>, Box<dyn std::error::Error + Send + Sync>>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let connect = tokio::time::timeout(CONNECT, TcpStream::connect(address));
    let stream = connect.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a connection to a pod broke");
        }
    });
    let upgrade = request.headers().get(UPGRADE).cloned();
    let upgraded = hyper::upgrade::on(&mut request);
    let (mut head, body) = request.into_parts();
    strip(&mut head.headers);
    head.uri = path.parse()?;
    head.version = http::Version::HTTP_11;
    head.headers.insert(HOST, HeaderValue::from_str(address)?);
    if let Some(protocol) = upgrade {
        head.headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        head.headers.insert(UPGRADE, protocol);
    }
    let mut response = sender.send_request(Request::from_parts(head, body.boxed_unsync())).await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let answered = hyper::upgrade::on(&mut response);
        tokio::spawn(async move {
            let (Ok(client), Ok(pod)) = tokio::join!(upgraded, answered) else { return };
            let (mut client, mut pod) = (TokioIo::new(client), TokioIo::new(pod));
            if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut pod).await {
                tracing::debug!(%error, "a proxied connection broke");
            }
        });
        return Ok(response.map(|_| whole(Bytes::new())));
    }
    strip(response.headers_mut());
    Ok(response.map(|body| body.map_err(io::Error::other).boxed_unsync()))
}

/// Takes out what is for the neighbour alone, and what it says is.
fn strip(headers: &mut HeaderMap) {
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
        assert!(Named::parse("https:web:1").is_err());
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
        assert_eq!(pod_address(&pod, "").as_deref(), Some("10.0.0.7:8080"));
        assert_eq!(pod_address(&pod, "9").as_deref(), Some("10.0.0.7:9"));
        assert_eq!(pod_address(&pod, "http"), None);
        assert_eq!(pod_address(&json!({"status": {"podIP": ""}}), "9"), None);
        assert_eq!(join("::1", "80"), "[::1]:80");
    }

    #[test]
    fn headers_for_the_neighbour_are_not_passed_on() {
        let mut headers = HeaderMap::new();
        for (name, value) in
            [("connection", "x-mine, close"), ("x-mine", "1"), ("x-other", "2"), ("te", "trailers")]
        {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        strip(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-other"]);
    }
}

//! `pods/exec`, `pods/attach`, `pods/portforward`, and `pods/log` over a WebSocket: requests that become streams.

use std::io;
use std::sync::Arc;

use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use serde_json::Value;
use xebec_machinery::status::Status;
use xebec_streams::{Accepted, Purpose, Wants, feed, forward, negotiate, session};

use crate::api::Api;
use crate::pods::{Pods, SessionRequest};
use crate::reply::whole;
use crate::service::ResponseBody;
use crate::upgrades::Permit;

/// A subresource that is a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Exec,
    Attach,
    Forward,
}

impl Stream {
    /// The stream that a subresource of a pod is, if it is one.
    pub(crate) fn of(subresource: &str) -> Option<Self> {
        match subresource {
            "exec" => Some(Self::Exec),
            "attach" => Some(Self::Attach),
            "portforward" => Some(Self::Forward),
            _ => None,
        }
    }
}

/// Answers the head of a request, and serves the stream that it becomes in a task of the API's.
pub(crate) async fn begin<B>(
    api: &Api,
    stream: Stream,
    pod: Value,
    pods: Arc<dyn Pods>,
    (request, permit): (Request<B>, Option<Permit>),
) -> Result<Response<ResponseBody>, Status> {
    let query = Query::parse(request.uri().query().unwrap_or_default())?;
    let purpose = if stream == Stream::Forward { Purpose::Forward } else { Purpose::Session };
    let name = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    if pod["spec"]["nodeName"].as_str().is_none_or(str::is_empty) {
        return Err(Status::bad_request(format!("pod {name} does not have a host assigned")));
    }
    let negotiated = negotiate(request.headers(), purpose);
    let (accepted, response) = negotiated.map_err(|refusal| Status::bad_request(refusal.to_string()))?;
    if stream == Stream::Forward {
        let ports = query.ports;
        let uid = pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        upgraded(api, (request, permit), move |io| async move {
            let dial = |port| {
                // In the words of upstream's kubelet, which clients show as they are.
                let subject = format!("error forwarding port {port} to pod {name}, uid {uid}");
                let dialed = pods.dial(&pod, port);
                async move { dialed.await.map_err(|why| io::Error::new(why.kind(), format!("{subject}: {why}"))) }
            };
            if let Err(error) = forward::serve(io, accepted, &ports, dial).await {
                tracing::debug!(%error, pod = name, "a port forward ended");
            }
        });
    } else {
        let wants = query.wants;
        if !(wants.stdin || wants.stdout || wants.stderr) {
            return Err(Status::bad_request("you must specify at least 1 of stdin, stdout, stderr"));
        }
        let command = match stream {
            Stream::Exec if query.command.is_empty() => {
                return Err(Status::bad_request("you must specify at least one command argument"));
            }
            Stream::Exec => Some(query.command),
            _ => None,
        };
        let asked = SessionRequest { container: query.container, command, wants };
        let run = pods.session(&pod, asked).await?;
        upgraded(api, (request, permit), move |io| converse(io, accepted, wants, run));
    }
    Ok(response.map(|()| whole("")))
}

/// Answers the head of a request for a log that is read from a WebSocket, and sends the log there.
pub(crate) async fn log<B>(
    api: &Api,
    pod: &Value,
    pods: &dyn Pods,
    (request, permit): (Request<B>, Option<Permit>),
) -> Result<Response<ResponseBody>, Status> {
    let negotiated = negotiate(request.headers(), Purpose::Feed);
    let (accepted, response) = negotiated.map_err(|refusal| Status::bad_request(refusal.to_string()))?;
    let log = pods.logs(pod, request.uri().query().unwrap_or_default()).await?;
    upgraded(api, (request, permit), move |io| async move {
        if let Err(error) = feed(io, accepted, log.into_body().into_data_stream()).await {
            tracing::debug!(%error, "a log was not read to its end");
        }
    });
    Ok(response.map(|()| whole("")))
}

async fn converse(io: impl xebec_streams::Io, accepted: Accepted, wants: Wants, run: crate::pods::Run) {
    match session(io, accepted, wants).await {
        Ok(session) => run(session).await,
        Err(error) => tracing::debug!(%error, "a session did not begin"),
    }
}

/// Has the connection served once the answer to its request is out. It keeps its permit until then, and for as long.
fn upgraded<B, F>(
    api: &Api,
    (request, permit): (Request<B>, Option<Permit>),
    serve: impl FnOnce(TokioIo<hyper::upgrade::Upgraded>) -> F + Send + 'static,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let upgrade = hyper::upgrade::on(request);
    api.serve_stream(async move {
        let _held = permit;
        match upgrade.await {
            Ok(connection) => serve(TokioIo::new(connection)).await,
            Err(error) => tracing::debug!(%error, "a connection was not upgraded"),
        }
    });
}

/// What the URL says of a stream (`PodExecOptions`, `PodAttachOptions`, `PodPortForwardOptions`).
#[derive(Debug, Default, PartialEq, Eq)]
struct Query {
    container: Option<String>,
    command: Vec<String>,
    wants: Wants,
    ports: Vec<u16>,
}

impl Query {
    fn parse(query: &str) -> Result<Self, Status> {
        let mut parsed = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, raw) = pair.split_once('=').unwrap_or((pair, ""));
            let spaced = raw.replace('+', " ");
            let value = percent_decode_str(&spaced).decode_utf8();
            let value =
                value.map_err(|_| Status::bad_request(format!("the parameter {name:?} is not UTF-8")))?;
            let flag = || match &*value {
                "" | "1" | "true" => Ok(true),
                "0" | "false" => Ok(false),
                _ => Err(Status::bad_request(format!("{name} is {value:?}; use true or false"))),
            };
            match name {
                "container" => parsed.container = Some(value.into_owned()).filter(|name| !name.is_empty()),
                "command" => parsed.command.push(value.into_owned()),
                "stdin" => parsed.wants.stdin = flag()?,
                "stdout" => parsed.wants.stdout = flag()?,
                "stderr" => parsed.wants.stderr = flag()?,
                "tty" => parsed.wants.tty = flag()?,
                "ports" => {
                    for port in value.split(',') {
                        let port = port.parse::<u16>().ok().filter(|port| *port > 0);
                        parsed.ports.push(port.ok_or_else(|| {
                            Status::bad_request(format!("ports is {value:?}; name ports from 1 to 65535"))
                        })?);
                    }
                }
                _ => {}
            }
        }
        Ok(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_of_an_exec_is_read() {
        let query =
            "command=sh&command=-c&command=echo+%22a+b%22&container=web&stdin=true&stdout=1&tty=false";
        let query = Query::parse(query).unwrap();
        assert_eq!(query.command, ["sh", "-c", "echo \"a b\""]);
        assert_eq!(query.container.as_deref(), Some("web"));
        assert_eq!(query.wants, Wants { stdin: true, stdout: true, stderr: false, tty: false });
        assert_eq!(Query::parse("ports=80,8080&ports=1").unwrap().ports, [80, 8080, 1]);
    }

    #[test]
    fn a_wrong_value_names_its_parameter() {
        for (query, words) in
            [("ports=0", "ports is \"0\""), ("tty=maybe", "tty is \"maybe\""), ("command=%ff", "command")]
        {
            let status = Query::parse(query).unwrap_err();
            assert!(status.message.contains(words), "{}", status.message);
        }
    }
}

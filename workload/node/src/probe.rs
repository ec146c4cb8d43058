//! Probes: does a container live, and is it ready?

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::net::TcpStream;

/// When a probe runs and how often it must come out one way to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timing {
    pub(crate) delay: Duration,
    pub(crate) period: Duration,
    pub(crate) timeout: Duration,
    pub(crate) successes: u32,
    pub(crate) failures: u32,
}

impl Timing {
    /// The numbers of a probe, with the API's defaults.
    pub(crate) fn of(probe: &Probe) -> Self {
        let seconds = |value: Option<i32>, default: u64| {
            Duration::from_secs(
                value.and_then(|own| u64::try_from(own).ok()).filter(|own| *own > 0).unwrap_or(default),
            )
        };
        let count = |value: Option<i32>, default: u32| {
            value.and_then(|own| u32::try_from(own).ok()).filter(|own| *own > 0).unwrap_or(default)
        };
        Self {
            delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10),
            timeout: seconds(probe.timeout_seconds, 1),
            successes: count(probe.success_threshold, 1),
            failures: count(probe.failure_threshold, 3),
        }
    }
}

/// Counts outcomes until they count.
#[derive(Debug)]
pub(crate) struct Tally {
    timing: Timing,
    good: u32,
    bad: u32,
}

impl Tally {
    pub(crate) fn new(timing: Timing) -> Self {
        Self { timing, good: 0, bad: 0 }
    }

    /// Takes an outcome; tells the verdict where there is one.
    pub(crate) fn note(&mut self, success: bool) -> Option<bool> {
        if success {
            self.good = self.good.saturating_add(1);
            self.bad = 0;
            (self.good >= self.timing.successes).then_some(true)
        } else {
            self.bad = self.bad.saturating_add(1);
            self.good = 0;
            (self.bad >= self.timing.failures).then_some(false)
        }
    }
}

/// Whether a probe can be carried out over the network.
pub(crate) fn is_network(probe: &Probe) -> bool {
    probe.http_get.is_some() || probe.tcp_socket.is_some()
}

/// Runs a network probe once.
pub(crate) async fn once(
    probe: &Probe,
    container: &Container,
    address: &str,
    timeout: Duration,
) -> Result<(), String> {
    let attempt = async {
        if let Some(get) = &probe.http_get {
            return http(get, container, address).await;
        }
        let socket = probe.tcp_socket.as_ref().ok_or("the probe has no handler that is known here")?;
        let port = port_of(&socket.port, container)?;
        let host = socket.host.as_deref().unwrap_or(address);
        TcpStream::connect((host, port)).await.map(drop).map_err(|error| error.to_string())
    };
    tokio::time::timeout(timeout, attempt)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {timeout:?}")))
}

fn port_of(port: &IntOrString, container: &Container) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let mut ports = container.ports.iter().flatten();
            ports.find(|own| own.name.as_ref() == Some(name)).map(|own| own.container_port)
        }
    };
    number.and_then(|number| u16::try_from(number).ok()).ok_or_else(|| format!("port {port:?} is not one"))
}

async fn http(get: &HTTPGetAction, container: &Container, address: &str) -> Result<(), String> {
    let port = port_of(&get.port, container)?;
    let host = get.host.as_deref().unwrap_or(address);
    let stream = TcpStream::connect((host, port)).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let mut request = Request::builder()
        .uri(get.path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/"))
        .header(http::header::USER_AGENT, "kube-probe/1.36");
    let own_host = get.http_headers.iter().flatten().any(|header| header.name.eq_ignore_ascii_case("host"));
    if !own_host {
        request = request.header(http::header::HOST, format!("{host}:{port}"));
    }
    for header in get.http_headers.iter().flatten() {
        request = request.header(&header.name, &header.value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
    // The connection is driven here and dropped with the probe.
    let response = tokio::select! {
        response = sender.send_request(request) => response.map_err(|error| error.to_string())?,
        ended = connection => return Err(format!("the connection ended before the answer: {ended:?}")),
    };
    let code = response.status().as_u16();
    if (200..400).contains(&code) {
        Ok(())
    } else {
        Err(format!("HTTP probe failed with statuscode: {code}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_takes_as_many_outcomes_in_a_row_as_the_probe_asks() {
        let timing = Timing { successes: 2, failures: 3, ..Timing::of(&Probe::default()) };
        let mut tally = Tally::new(timing);
        let outcomes = [true, true, false, false, true, false, false, false];
        let verdicts: Vec<_> = outcomes.into_iter().map(|outcome| tally.note(outcome)).collect();
        assert_eq!(verdicts, [None, Some(true), None, None, None, None, None, Some(false)]);
    }

    #[test]
    fn the_defaults_are_those_of_the_api() {
        let timing = Timing::of(&Probe::default());
        assert_eq!((timing.period, timing.timeout), (Duration::from_secs(10), Duration::from_secs(1)));
        assert_eq!((timing.successes, timing.failures), (1, 3));
    }
}

//! The requests that guests send themselves: where they may go, and how they get there.

use std::{
    future::Future,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use http::{HeaderValue, Request, header::HOST, uri::Scheme};
use http_body_util::BodyExt as _;
use tokio::{net::lookup_host, time::timeout};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

/// So many pieces of a body, of so many bytes at most, wait between a guest and the network. The interface lets a guest
/// write 4 KiB at once: so an answer of up to 64 KiB is there as a whole when the guest ends, and goes out as one.
const WAITING_PIECES: usize = 16;
const PIECE: usize = 64 << 10;
/// How long a name may take to be looked up where the guest does not say.
const LOOK_UP: Duration = Duration::from_secs(30);

/// A network of loopback addresses: its first address, and how many bits of it count.
pub type LoopbackNetwork = (Ipv4Addr, u8);

/// Where a host and a port lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Where the machine finds them.
    Unknown,
    /// To these, the first of which is asked.
    At(Vec<SocketAddr>),
    /// Nowhere: nobody answers there.
    Closed,
    /// To where the machine finds this name.
    Alias(String),
}

/// Whoever knows more names and addresses than the machine does. A request over TLS is not asked about: whoever is found has to
/// prove the name, for which the machine looks it up itself.
pub trait Names: Send + Sync {
    /// Where a host, by name or by address, and a port lead.
    fn find(&self, host: &str, port: u16) -> Found;
}

/// The guest's own requests: sent, or refused as `http-request-denied` or `destination-ip-prohibited`.
pub(crate) struct Outbound {
    pub(crate) allowed: bool,
    pub(crate) loopback: Arc<[LoopbackNetwork]>,
    pub(crate) names: Option<Arc<dyn Names>>,
}

type Sent = Result<(http::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>;

impl WasiHttpHooks for Outbound {
    fn p2_outgoing_body_buffer_chunks(&mut self) -> usize {
        WAITING_PIECES
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        PIECE
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        if !self.allowed {
            return Box::new(std::future::ready(Err(Error::HttpRequestDenied)));
        }
        let (loopback, names) = (self.loopback.clone(), self.names.clone());
        Box::new(async move {
            let request = aimed(request, options.as_ref(), &loopback, names.as_deref()).await?;
            let (response, connection) = wasmtime_wasi_http::default_send_request(request, options).await?;
            let response = response.map(http_body_util::BodyExt::boxed_unsync);
            Ok((response, Box::new(connection) as Box<dyn Future<Output = Result<(), Error>> + Send>))
        })
    }
}

/// The request with a destination that is allowed.
///
/// A plain one goes to the very address that was looked at: its name may mean another one by the time it is sent. One over
/// TLS keeps its name, which whoever is found there has to prove.
async fn aimed(
    mut request: Request<WasiBody>,
    options: Option<&RequestOptions>,
    loopback: &[LoopbackNetwork],
    names: Option<&dyn Names>,
) -> Result<Request<WasiBody>, Error> {
    let authority = request.uri().authority().ok_or(Error::HttpRequestUriInvalid)?.clone();
    let is_plain = request.uri().scheme() != Some(&Scheme::HTTPS);
    let port = authority.port_u16().unwrap_or(if is_plain { 80 } else { 443 });
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let limit = options.and_then(|options| options.connect_timeout).unwrap_or(LOOK_UP);
    let told = names.filter(|_| is_plain).map_or(Found::Unknown, |names| names.find(&host, port));
    let look_up = async |host: String| -> Result<Vec<SocketAddr>, Error> {
        let found = timeout(limit, lookup_host((host, port))).await.map_err(|_| Error::ConnectionTimeout)?;
        Ok(found.map_err(Error::Connect)?.collect())
    };
    let found = match told {
        Found::At(addresses) => addresses,
        Found::Closed => return Err(Error::Connect(io::ErrorKind::ConnectionRefused.into())),
        Found::Alias(name) => look_up(name).await?,
        Found::Unknown => look_up(host).await?,
    };
    // One forbidden address among others is a trap, not a choice.
    if !found.iter().all(|address| may_reach(address.ip(), loopback)) {
        return Err(Error::DestinationIpProhibited);
    }
    let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
    if let (true, Some(address)) = (is_plain, first) {
        if !request.headers().contains_key(HOST) {
            let name = HeaderValue::from_str(authority.as_str()).map_err(|_| Error::HttpRequestUriInvalid)?;
            request.headers_mut().insert(HOST, name);
        }
        let mut parts = request.uri().clone().into_parts();
        parts.authority = Some(address.to_string().parse().map_err(|_| Error::HttpRequestUriInvalid)?);
        *request.uri_mut() = http::Uri::from_parts(parts).map_err(|_| Error::HttpRequestUriInvalid)?;
    }
    Ok(request.map(|body| body.boxed_unsync()))
}

/// Whether a guest may ask what is at an address: not the machine's own services, nor what only the network's owner should
/// ask, such as a cloud's metadata.
fn may_reach(address: IpAddr, loopback: &[LoopbackNetwork]) -> bool {
    let address = match address {
        IpAddr::V4(address) => address,
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(mapped) => mapped,
            None => {
                return !address.is_loopback()
                    && !address.is_unspecified()
                    && !address.is_unicast_link_local()
                    && !address.is_multicast();
            }
        },
    };
    if address.is_loopback() {
        return loopback.iter().any(|(network, length)| {
            let mask = u32::MAX.checked_shl(32 - u32::from(*length)).unwrap_or(0);
            (u32::from(address) ^ u32::from(*network)) & mask == 0
        });
    }
    // All of 0.0.0.0/8 means this machine (RFC 1122, 3.2.1.3).
    address.octets()[0] != 0 && !address.is_link_local() && !address.is_multicast() && !address.is_broadcast()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_own_services_are_out_of_reach() {
        let pods = [(Ipv4Addr::new(127, 128, 0, 0), 18)];
        for (address, expected) in [
            ("127.128.0.7", true),
            ("127.128.64.7", false),
            ("127.0.0.1", false),
            ("0.0.0.0", false),
            ("0.1.2.3", false),
            ("169.254.169.254", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("10.96.0.1", true),
            ("192.0.2.1", true),
            ("::1", false),
            ("::", false),
            ("::ffff:127.0.0.1", false),
            ("::ffff:169.254.169.254", false),
            ("::ffff:127.128.0.7", true),
            ("fe80::1", false),
            ("ff02::1", false),
            ("2001:db8::1", true),
        ] {
            assert_eq!(may_reach(address.parse().unwrap(), &pods), expected, "{address}");
        }
        assert!(may_reach("127.0.0.1".parse().unwrap(), &[(Ipv4Addr::UNSPECIFIED, 0)]));
    }
}

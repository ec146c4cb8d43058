//! Listeners of Gateways and ListenerSets: what each speaks, whether it can be served, and which are in each other's way.

use std::net::SocketAddr;

use xebec_api::gateway::{GROUP, Listener, RouteGroupKind, TlsMode};
use xebec_proxy::config::{HostMatch, Route, ServerNameRoute, Tls};

use crate::condition::Verdict;
use crate::snapshot::Place;
use crate::{Options, hostname};

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    Http,
    Https,
    TlsTerminate,
    TlsPassthrough,
    Tcp,
    Udp,
}

impl Speaks {
    fn of(entry: &Listener) -> Option<Self> {
        let passthrough = entry.tls.as_ref().is_some_and(|tls| tls.mode == TlsMode::Passthrough);
        Some(match entry.protocol.as_str() {
            "HTTP" => Self::Http,
            "HTTPS" => Self::Https,
            "TLS" if passthrough => Self::TlsPassthrough,
            "TLS" => Self::TlsTerminate,
            "TCP" => Self::Tcp,
            "UDP" => Self::Udp,
            _ => return None,
        })
    }

    /// Whether TLS ends at the listener.
    pub(crate) fn ends_tls(self) -> bool {
        matches!(self, Self::Https | Self::TlsTerminate)
    }

    /// Whether the two can share a port, by hostname.
    fn shares_with(self, other: Self) -> bool {
        let under_tls = |speaks| matches!(speaks, Self::Https | Self::TlsTerminate | Self::TlsPassthrough);
        self == other || under_tls(self) && under_tls(other)
    }

    fn kinds(self) -> &'static [&'static str] {
        match self {
            Self::Http | Self::Https => &["HTTPRoute", "GRPCRoute"],
            Self::TlsTerminate | Self::TlsPassthrough => &["TLSRoute"],
            Self::Tcp => &["TCPRoute"],
            Self::Udp => &["UDPRoute"],
        }
    }
}

/// Whose a listener is: the Gateway's own, or of the ListenerSet with this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Gateway,
    Set(usize),
}

/// A listener with what can be said of it, and what is served there.
pub(crate) struct ListenerPlan<'a> {
    /// As it is asked for, in whichever kind of object.
    pub(crate) entry: &'a Listener,
    pub(crate) owner: Owner,
    /// The namespace of the object that it stands in.
    pub(crate) namespace: &'a str,
    pub(crate) speaks: Option<Speaks>,
    pub(crate) kinds: Vec<RouteGroupKind>,
    pub(crate) accepted: Verdict,
    pub(crate) resolved: Verdict,
    pub(crate) conflicted: Verdict,
    pub(crate) tls: Tls,
    pub(crate) places: Vec<Place>,
    pub(crate) attached: i32,
    /// Routes of requests, by host.
    pub(crate) hosts: Vec<(HostMatch, Vec<Route>)>,
    /// Routes of connections and datagrams, by server name.
    pub(crate) streams: Vec<ServerNameRoute>,
}

impl<'a> ListenerPlan<'a> {
    pub(crate) fn new(entry: &'a Listener, owner: Owner, namespace: &'a str) -> Self {
        let speaks = Speaks::of(entry);
        let (kinds, resolved) = kinds(entry, speaks);
        let accepted = match speaks {
            Some(_) => Verdict::yes("Accepted"),
            None => {
                let message = format!(
                    "protocol {} is not supported; take HTTP, HTTPS, TLS, TCP or UDP",
                    entry.protocol
                );
                Verdict::no("UnsupportedProtocol", message)
            }
        };
        Self {
            entry,
            owner,
            namespace,
            speaks,
            kinds,
            accepted,
            resolved,
            conflicted: Verdict::no("NoConflicts", ""),
            tls: Tls::default(),
            places: Vec::new(),
            attached: 0,
            hosts: Vec::new(),
            streams: Vec::new(),
        }
    }

    /// Whether the listener is in the proxy's configuration.
    pub(crate) fn is_served(&self) -> bool {
        let ends_tls = self.speaks.is_some_and(Speaks::ends_tls);
        let has_certificates = !ends_tls || !self.tls.certificates.is_empty();
        self.accepted.holds && has_certificates && !self.kinds.is_empty() && !self.places.is_empty()
    }

    /// The hosts that it is for.
    pub(crate) fn host(&self) -> HostMatch {
        hostname::meeting(self.entry.hostname.as_deref(), &[]).pop().unwrap_or(HostMatch::Any)
    }

    /// Notes where the listener is served.
    pub(crate) fn place(&mut self, addresses: &[std::net::IpAddr], options: &Options) {
        let Ok(port) = u16::try_from(self.entry.port) else { return };
        let udp = self.speaks == Some(Speaks::Udp);
        let port = options.served(port);
        self.places = addresses.iter().map(|ip| Place { address: SocketAddr::new(*ip, port), udp }).collect();
    }

    /// Says that another listener has the port.
    pub(crate) fn refuse_for(&mut self, reason: &'static str, other: &str) {
        let message = format!("{other} asks for the same port; change the port or hostname of one of them");
        self.conflicted = Verdict { holds: true, reason, message: message.clone() };
        self.accepted = Verdict::no(reason, message);
    }

    /// What stands between two listeners, if anything does. Served ports are compared: 80 moved to 8080 is in the way
    /// of a listener on 8080.
    fn conflict_with(&self, other: &Self, options: &Options) -> Option<&'static str> {
        let (own, others) = (self.speaks?, other.speaks?);
        let port = |plan: &Self| u16::try_from(plan.entry.port).ok().map(|port| options.served(port));
        if port(self) != port(other) || (own == Speaks::Udp) != (others == Speaks::Udp) {
            return None;
        }
        if !own.shares_with(others) {
            return Some("ProtocolConflict");
        }
        (self.host() == other.host()).then_some("HostnameConflict")
    }
}

/// Refuses listeners that are in each other's way: first those of an object that are in the way of an earlier object's,
/// then all that are in each other's way within it.
pub(crate) fn settle_conflicts(listeners: &mut [ListenerPlan<'_>], options: &Options) {
    let mut begin = 0;
    while let Some(owner) = listeners.get(begin).map(|plan| plan.owner) {
        let length = listeners[begin..].iter().take_while(|plan| plan.owner == owner).count();
        let (earlier, rest) = listeners.split_at_mut(begin);
        let own = &mut rest[..length];
        for plan in own.iter_mut() {
            let mut standing = earlier.iter().filter(|other| !other.conflicted.holds);
            let found =
                standing.find_map(|other| Some((plan.conflict_with(other, options)?, describe(other))));
            if let Some((reason, other)) = found {
                plan.refuse_for(reason, &other);
            }
        }
        let within: Vec<_> = (0..length).map(|index| conflict_within(own, index, options)).collect();
        for (plan, found) in own.iter_mut().zip(within) {
            if let Some((reason, other)) = found {
                plan.refuse_for(reason, &other);
            }
        }
        begin += length;
    }
}

/// What stands between a listener and another of its object, neither of which is refused yet.
fn conflict_within(
    own: &[ListenerPlan<'_>],
    index: usize,
    options: &Options,
) -> Option<(&'static str, String)> {
    let plan = own.get(index).filter(|plan| !plan.conflicted.holds)?;
    let others = own.iter().enumerate().filter(|(at, other)| *at != index && !other.conflicted.holds);
    let mut found =
        others.filter_map(|(_, other)| Some((plan.conflict_with(other, options)?, describe(other))));
    found.next()
}

fn describe(plan: &ListenerPlan<'_>) -> String {
    match plan.owner {
        Owner::Gateway => format!("listener {:?}", plan.entry.name),
        Owner::Set(_) => format!("listener {:?} of a ListenerSet in {}", plan.entry.name, plan.namespace),
    }
}

fn kinds(entry: &Listener, speaks: Option<Speaks>) -> (Vec<RouteGroupKind>, Verdict) {
    let Some(speaks) = speaks else { return (Vec::new(), Verdict::yes("ResolvedRefs")) };
    let kind = |kind: &&str| RouteGroupKind { group: GROUP.to_owned(), kind: (*kind).to_owned() };
    let mut served: Vec<_> = speaks.kinds().iter().map(kind).collect();
    let wanted = &entry.allowed_routes.kinds;
    if wanted.is_empty() {
        return (served, Verdict::yes("ResolvedRefs"));
    }
    let resolved = match wanted.iter().find(|kind| !served.contains(kind)) {
        None => Verdict::yes("ResolvedRefs"),
        Some(RouteGroupKind { group, kind }) => {
            let able = speaks.kinds().join(" or ");
            Verdict::no("InvalidRouteKinds", format!("{kind}.{group} cannot be routed here; take {able}"))
        }
    };
    served.retain(|kind| wanted.contains(kind));
    (served, resolved)
}

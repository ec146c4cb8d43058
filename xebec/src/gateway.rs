//! Gateways as a part of `up`.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use futures::future::ready;
use futures::{Stream, StreamExt as _, stream};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{ListParams, Patch, PatchParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use xebec_api::gateway::{BUNDLE_VERSION, Gateway, GatewayClass, definitions};
use xebec_gateway::{CONTROLLER, Options, Pool, served_port};
use xebec_proxy::access::AccessLog;
use xebec_proxy::config::{SessionKey, TrustRoots};
use xebec_proxy::proxy::{Limits, Proxy};

const MANAGER: &str = "xebec";
/// The annotation by which Gateway API's definitions say their release.
const BUNDLE: &str = "gateway.networking.k8s.io/bundle-version";
/// The annotation by which a definition that was written here is known again.
const DIGEST: &str = "xebec.dev/definition-digest";

/// Where distributions keep the list of the authorities that a machine believes.
const AUTHORITIES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// How long Gateways of an earlier start may take to be served again.
const COMING_UP: Duration = Duration::from_secs(3);
/// How long one that is served may take to accept a connection.
const ANSWER: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(20);
/// How many of them are looked at together.
const AT_ONCE: usize = 256;

/// The right to open ports below 1024.
const NET_BIND_SERVICE: u32 = 10;

/// Where a listener of the demo's Gateway with this port is served.
pub(crate) fn served(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port_served(port))
}

/// Where the Gateways that were there before this start are served, once they answer: by the names of their parts, the
/// first of them simply `gateway`.
pub(crate) async fn entrances(client: &Client) -> Result<Vec<(String, SocketAddr)>> {
    let begun = std::time::Instant::now();
    loop {
        let told = told(client).await?;
        let answering = told.iter().map(async |(name, address)| {
            let connected = timeout(ANSWER, TcpStream::connect(address)).await;
            connected.is_ok_and(|made| made.is_ok()).then(|| (name.clone(), *address))
        });
        // Those that do not answer take as long together as one of them.
        let answering: Vec<_> = stream::iter(answering).buffered(AT_ONCE).filter_map(ready).collect().await;
        // What an earlier start has written may no longer be so.
        if answering.len() == told.len() || begun.elapsed() > COMING_UP {
            return Ok(answering);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The same as their statuses tell it, whether they answer or not.
pub(crate) async fn told(client: &Client) -> Result<Vec<(String, SocketAddr)>> {
    let (gateways, classes): (Api<Gateway>, Api<GatewayClass>) =
        (Api::all(client.clone()), Api::all(client.clone()));
    let classes = classes.list(&ListParams::default()).await?.items;
    let gateways = gateways.list(&ListParams::default()).await?.items;
    Ok(entrances_of(&gateways, &classes, opens_low_ports()))
}

/// A word for each time that the Gateways may be served elsewhere than before.
pub(crate) fn changes(client: &Client) -> impl Stream<Item = ()> + use<> {
    let gateways: Api<Gateway> = Api::all(client.clone());
    let events = watcher(gateways, watcher::Config::default()).default_backoff();
    events.filter_map(|event| {
        let changed = matches!(event, Ok(Event::Apply(_) | Event::Delete(_) | Event::InitDone));
        ready(changed.then_some(()))
    })
}

fn entrances_of(
    gateways: &[Gateway],
    classes: &[GatewayClass],
    privileged: bool,
) -> Vec<(String, SocketAddr)> {
    let ours: Vec<_> = classes
        .iter()
        .filter(|class| class.spec.controller_name == CONTROLLER)
        .map(ResourceExt::name_any)
        .collect();
    let mut found = Vec::new();
    for gateway in gateways.iter().filter(|gateway| ours.contains(&gateway.spec.gateway_class_name)) {
        let Some(status) = &gateway.status else { continue };
        let is_programmed = |one: &Condition| one.type_ == "Programmed" && one.status == "True";
        let Some(address) = status.addresses.iter().find_map(|one| one.value.parse::<IpAddr>().ok()) else {
            continue;
        };
        if !status.conditions.iter().any(is_programmed) {
            continue;
        }
        let (namespace, name) = (gateway.namespace().unwrap_or_default(), gateway.name_any());
        for listener in gateway.spec.listeners.iter().filter(|listener| listener.protocol != "UDP") {
            let Ok(port) = u16::try_from(listener.port) else { continue };
            let address = SocketAddr::new(address, served_port(port, privileged));
            // Several listeners may share one port.
            if found.iter().all(|(_, other)| *other != address) {
                found.push((format!("gateway/{namespace}/{name}/{}", listener.name), address));
            }
        }
    }
    if let Some((name, _)) = found.first_mut() {
        *name = "gateway".to_owned();
    }
    found
}

/// Makes the Gateway API's kinds known as this program serves them, where a user has not brought their own definitions.
pub(crate) async fn define(client: &Client) -> Result<()> {
    let known: Api<CustomResourceDefinition> = Api::all(client.clone());
    for mut definition in definitions() {
        let name = definition.name_any();
        let digest = digest(&definition)?;
        if known.get_opt(&name).await?.is_some_and(|before| stays(&before, &digest)) {
            continue;
        }
        definition.annotations_mut().insert(DIGEST.to_owned(), digest);
        let parameters = PatchParams::apply(MANAGER);
        known
            .patch(&name, &parameters, &Patch::Apply(&definition))
            .await
            .with_context(|| format!("cannot define {name}"))?;
    }
    // A definition is served as soon as its status says so, which takes a moment.
    for _ in 0..200 {
        let list = known.list(&kube::api::ListParams::default()).await?;
        let served = |definition: &CustomResourceDefinition| {
            let conditions = definition.status.iter().flat_map(|status| status.conditions.iter().flatten());
            conditions.into_iter().any(|own| own.type_ == "Established" && own.status == "True")
        };
        if list.items.iter().all(served) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    Ok(())
}

/// Whether a definition that is there is left as it is: it is what we would write, somebody else has had a hand in it, or
/// a later release of this program wrote it.
fn stays(before: &CustomResourceDefinition, digest: &str) -> bool {
    let of_others = before
        .managed_fields()
        .iter()
        .filter(|entry| entry.subresource.as_deref().unwrap_or_default().is_empty())
        .any(|entry| entry.manager.as_deref() != Some(MANAGER));
    let is_later = match before.annotations().get(BUNDLE) {
        None => false,
        Some(version) => release(version).is_none_or(|before| Some(before) > release(BUNDLE_VERSION)),
    };
    of_others || is_later || before.annotations().get(DIGEST).is_some_and(|written| written == digest)
}

/// Tells definitions apart. Where the standard library hashes otherwise, they are written once more, that is all.
fn digest(definition: &CustomResourceDefinition) -> Result<String> {
    let mut hash = DefaultHasher::new();
    serde_json::to_vec(definition)?.hash(&mut hash);
    Ok(format!("{:016x}", hash.finish()))
}

/// The numbers of a release such as `v1.6.1`; of a candidate, those of what it is to become.
fn release(version: &str) -> Option<[u32; 3]> {
    let numbers = version.strip_prefix('v')?.split(['-', '+']).next()?;
    let mut numbers = numbers.split('.').map(str::parse);
    let mut next = || numbers.next()?.ok();
    Some([next()?, next()?, next()?])
}

/// Where and how gateways are served, with a key of sessions that the data directory keeps.
pub(crate) fn options(pool: Ipv4Addr, data: &Path) -> Result<Options> {
    // 2^14 addresses.
    let pool = Pool::new(pool, 18);
    Ok(Options { pool, privileged: opens_low_ports(), session_key: session_key(data)? })
}

/// The engine, which tells each request to the log.
pub(crate) fn engine(log: Option<AccessLog>) -> Proxy {
    match log {
        None => Proxy::new(Limits::default()),
        Some(log) => Proxy::with_access_log(Limits::default(), log),
    }
}

/// Serves gateways until the platform stops.
pub(crate) async fn run(client: Client, engine: Proxy, options: Options, stop: CancellationToken) {
    xebec_gateway::run(client, engine, options, system_roots(), stop).await;
}

/// The port at which a listener's port is served.
pub(crate) fn port_served(port: u16) -> u16 {
    served_port(port, opens_low_ports())
}

/// The key of the directory, made where there is none. Whoever reads it can choose the endpoint of any session.
fn session_key(data: &Path) -> Result<SessionKey> {
    let path = data.join("session.key");
    let unusable = || format!("cannot keep the key of sessions in {}", path.display());
    match fs::read(&path) {
        Ok(bytes) => {
            let bytes = <[u8; SessionKey::LENGTH]>::try_from(bytes.as_slice()).map_err(|_| {
                anyhow!(
                    "{} is not a key of {} bytes: delete it, and sessions begin anew",
                    path.display(),
                    SessionKey::LENGTH
                )
            })?;
            return Ok(SessionKey::new(bytes));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(unusable),
    }
    let key = SessionKey::random()?;
    let mut draft =
        tempfile::Builder::new().prefix("session.key").tempfile_in(data).with_context(unusable)?;
    draft.write_all(key.as_bytes()).with_context(unusable)?;
    draft.as_file().sync_all().with_context(unusable)?;
    // Readable by nobody else, as every such file.
    draft.persist(&path).with_context(unusable)?;
    Ok(key)
}

fn system_roots() -> Option<TrustRoots> {
    let named = std::env::var_os("SSL_CERT_FILE").map(std::path::PathBuf::from);
    let usual = AUTHORITIES.iter().map(std::path::PathBuf::from);
    named.into_iter().chain(usual).find_map(|file| TrustRoots::from_pem(&std::fs::read(file).ok()?).ok())
}

/// Whether ports below 1024 may be opened: by capability, or because the kernel reserves none.
fn opens_low_ports() -> bool {
    let reserved = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    let unreserved = reserved.ok().and_then(|first| first.trim().parse::<u16>().ok()) == Some(0);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or_default();
    unreserved || effective >> NET_BIND_SERVICE & 1 == 1
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use serde_json::json;

    use super::*;

    /// A definition that these managers have written.
    fn written(managers: &[(&str, &str)], annotations: serde_json::Value) -> CustomResourceDefinition {
        let mut definition = definitions().remove(0);
        let entries: Vec<_> = managers
            .iter()
            .map(|(manager, part)| json!({"manager": manager, "operation": "Apply", "subresource": part}))
            .collect();
        definition.metadata.managed_fields = Some(serde_json::from_value(json!(entries)).unwrap());
        definition.metadata.annotations = Some(serde_json::from_value(annotations).unwrap());
        definition
    }

    #[test]
    fn definitions_of_an_older_release_are_brought_up_to_date_and_those_of_others_are_left() {
        let (own, theirs) = (&[(MANAGER, ""), ("apiserver", "status")], &[(MANAGER, ""), ("kubectl", "")]);
        let of = |version: &str| json!({BUNDLE: version, DIGEST: "0"});
        for (before, stays_as_it_is) in [
            (written(own, json!({})), false),
            (written(own, of("v1.5.0")), false),
            (written(own, of(BUNDLE_VERSION)), false),
            (written(own, json!({BUNDLE: BUNDLE_VERSION, DIGEST: "1"})), true),
            (written(own, of("v1.10.0")), true),
            (written(own, of("v2.0.0-rc.1")), true),
            (written(own, of("main")), true),
            (written(theirs, of("v1.5.0")), true),
        ] {
            assert_eq!(stays(&before, "1"), stays_as_it_is, "{:?}", before.metadata);
        }
    }

    #[test]
    fn gateways_that_are_served_are_told_with_their_ports() {
        let class = |name: &str, controller: &str| -> GatewayClass {
            serde_json::from_value(
                json!({"metadata": {"name": name}, "spec": {"controllerName": controller}}),
            )
            .unwrap()
        };
        let gateway = |name: &str, class: &str, programmed: &str| -> Gateway {
            serde_json::from_value(json!({
                "metadata": {"name": name, "namespace": "shop"},
                "spec": {"gatewayClassName": class, "listeners": [
                    {"name": "web", "port": 80, "protocol": "HTTP"},
                    {"name": "same", "port": 80, "protocol": "HTTP"},
                    {"name": "high", "port": 8443, "protocol": "HTTPS"},
                    {"name": "names", "port": 53, "protocol": "UDP"},
                ]},
                "status": {"addresses": [{"value": "127.0.0.9"}], "conditions": [{
                    "type": "Programmed", "status": programmed, "reason": "R", "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }]},
            }))
            .unwrap()
        };
        let classes = [class("xebec", CONTROLLER), class("other", "example.com/other")];
        let gateways = [
            gateway("unknown", "other", "True"),
            gateway("waiting", "xebec", "Unknown"),
            gateway("front", "xebec", "True"),
        ];
        let found = entrances_of(&gateways, &classes, false);
        let told: Vec<_> = found.iter().map(|(name, address)| format!("{name} {address}")).collect();
        assert_eq!(told, ["gateway 127.0.0.9:8080", "gateway/shop/front/high 127.0.0.9:8443"]);
    }

    #[test]
    fn the_key_of_sessions_is_made_once_and_is_nobody_elses_to_read() {
        let (data, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let key = session_key(data.path()).unwrap();
        assert!(session_key(data.path()).unwrap() == key);
        assert!(session_key(other.path()).unwrap() != key);
        let file = data.path().join("session.key");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&file, "short").unwrap();
        assert!(session_key(data.path()).unwrap_err().to_string().contains("delete it"));
    }
}

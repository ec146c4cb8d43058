//! Gateways as a part of `up`.

use std::fs;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use tokio_util::sync::CancellationToken;
use xebec_api::gateway::definitions;
use xebec_gateway::{Options, Pool, served_port};
use xebec_proxy::config::{SessionKey, TrustRoots};
use xebec_proxy::proxy::{Limits, Proxy};

const MANAGER: &str = "xebec";

/// Where distributions keep the list of the authorities that a machine believes.
const AUTHORITIES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// The right to open ports below 1024.
const NET_BIND_SERVICE: u32 = 10;

/// Where a listener of the demo's Gateway with this port is served.
pub(crate) fn served(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), served_port(port, opens_low_ports()))
}

/// Makes the Gateway API's kinds known, where a user has not brought their own definitions.
pub(crate) async fn define(client: &Client) -> Result<()> {
    let known: Api<CustomResourceDefinition> = Api::all(client.clone());
    for definition in definitions() {
        let name = definition.name_any();
        if known.get_opt(&name).await?.is_some() {
            continue;
        }
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

/// Where and how gateways are served, with a key of sessions that the data directory keeps.
pub(crate) fn options(pool: Ipv4Addr, data: &Path) -> Result<Options> {
    // 2^14 addresses.
    let pool = Pool::new(pool, 18);
    Ok(Options { pool, privileged: opens_low_ports(), session_key: session_key(data)? })
}

/// Serves gateways until the platform stops.
pub(crate) async fn run(client: Client, options: Options, stop: CancellationToken) {
    xebec_gateway::run(client, Proxy::new(Limits::default()), options, system_roots(), stop).await;
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

    use super::*;

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

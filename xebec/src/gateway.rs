//! Gateways as a part of `up`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, CustomResourceExt as _, ResourceExt as _};
use tokio_util::sync::CancellationToken;
use xebec_api::gateway::{Gateway, GatewayClass, HTTPRoute, ReferenceGrant};
use xebec_gateway::Options;
use xebec_proxy::proxy::{Limits, Proxy};

const MANAGER: &str = "xebec";

/// Where listeners are served.
const OPTIONS: Options = Options { address: IpAddr::V4(Ipv4Addr::LOCALHOST), privileged: false };

/// Where a listener with this port is served.
pub(crate) fn served(port: u16) -> SocketAddr {
    OPTIONS.served(port)
}

/// Where a listener could be served, with port 0.
pub(crate) fn any() -> SocketAddr {
    SocketAddr::new(OPTIONS.address, 0)
}

/// Makes the Gateway API's kinds known, where a user has not brought their own definitions.
pub(crate) async fn define(client: &Client) -> Result<()> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for definition in [GatewayClass::crd(), Gateway::crd(), HTTPRoute::crd(), ReferenceGrant::crd()] {
        let name = definition.name_any();
        if definitions.get_opt(&name).await?.is_some() {
            continue;
        }
        let parameters = PatchParams::apply(MANAGER);
        definitions
            .patch(&name, &parameters, &Patch::Apply(&definition))
            .await
            .with_context(|| format!("cannot define {name}"))?;
    }
    // A definition is served as soon as its status says so, which takes a moment.
    for _ in 0..200 {
        let list = definitions.list(&kube::api::ListParams::default()).await?;
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

/// Serves gateways until the platform stops.
pub(crate) async fn run(client: Client, stop: CancellationToken) {
    xebec_gateway::run(client, Proxy::new(Limits::default()), OPTIONS, stop).await;
}

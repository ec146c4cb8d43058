//! The Service by which pods reach cluster DNS, as other distributions have it: `kube-dns` in `kube-system`.

use std::net::{Ipv4Addr, SocketAddr};

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use crate::translation::SERVICE;

const NAMESPACE: &str = "kube-system";
const NAME: &str = "kube-dns";
const SLICE: &str = "kube-dns-xebec";
const MANAGER: &str = "xebec.dev/services";
const PORT: u16 = 53;

/// Sees to it that the Service is there and leads to the server at `listens`, and gives its address. `wanted` is the address that
/// it gets if nobody else has it. One that selects pods of its own is left to them.
///
/// # Errors
/// When the API refuses.
pub async fn announce(
    client: &Client,
    node: &str,
    wanted: Ipv4Addr,
    listens: SocketAddr,
) -> Result<Option<Ipv4Addr>, kube::Error> {
    let services = Api::<Service>::namespaced(client.clone(), NAMESPACE);
    let service = match services.get_opt(NAME).await? {
        Some(service) => service,
        None => create(&services, wanted).await?,
    };
    let spec = service.spec.unwrap_or_default();
    let slices = Api::<EndpointSlice>::namespaced(client.clone(), NAMESPACE);
    if spec.selector.is_some_and(|selector| !selector.is_empty()) {
        match slices.delete(SLICE, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            gone => drop(gone?),
        }
    } else {
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": SLICE,
                "labels": {SERVICE: NAME, "endpointslice.kubernetes.io/managed-by": "xebec.dev"},
            },
            "addressType": "IPv4",
            "endpoints": [{
                "addresses": [listens.ip()],
                "conditions": {"ready": true, "serving": true, "terminating": false},
                "nodeName": node,
            }],
            "ports": [
                {"name": "dns", "port": listens.port(), "protocol": "UDP"},
                {"name": "dns-tcp", "port": listens.port(), "protocol": "TCP"},
            ],
        });
        slices.patch(SLICE, &PatchParams::apply(MANAGER).force(), &Patch::Apply(slice)).await?;
    }
    Ok(spec.cluster_ip.and_then(|address| address.parse().ok()))
}

/// The Service's namespace and name.
pub(crate) fn key() -> (String, String) {
    (NAMESPACE.to_owned(), NAME.to_owned())
}

async fn create(services: &Api<Service>, wanted: Ipv4Addr) -> Result<Service, kube::Error> {
    let parameters = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    let service = |address: Option<Ipv4Addr>| {
        json!({
            "metadata": {
                "name": NAME,
                "namespace": NAMESPACE,
                "labels": {
                    "k8s-app": NAME, "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS",
                },
            },
            "spec": {
                "clusterIP": address.map_or(String::new(), |address| address.to_string()),
                "ports": [
                    {"name": "dns", "port": PORT, "protocol": "UDP", "targetPort": PORT},
                    {"name": "dns-tcp", "port": PORT, "protocol": "TCP", "targetPort": PORT},
                ],
            },
        })
    };
    let read = |value| serde_json::from_value::<Service>(value).map_err(kube::Error::SerdeError);
    match services.create(&parameters, &read(service(Some(wanted)))?).await {
        // Another Service has the address already.
        Err(kube::Error::Api(status)) if status.code == 422 => {
            services.create(&parameters, &read(service(None))?).await
        }
        Err(kube::Error::Api(status)) if status.code == 409 => services.get(NAME).await,
        made => made,
    }
}

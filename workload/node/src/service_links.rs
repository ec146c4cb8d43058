//! The variables by which a container finds the services of its namespace, and the API itself (Kubernetes documentation,
//! "Discovering services").

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Service;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};

use crate::Error;

/// The API's own service, and its namespace: every container finds that one.
const API: (&str, &str) = ("default", "kubernetes");

/// The variables for a container of this namespace; of the API alone where it wants no others.
pub(crate) async fn variables(
    client: &Client,
    namespace: &str,
    wants_all: bool,
) -> Result<BTreeMap<String, String>, Error> {
    let own = Api::<Service>::namespaced(client.clone(), API.0).get_opt(API.1).await?;
    let mut services: Vec<Service> = own.into_iter().collect();
    if wants_all {
        let all = Api::<Service>::namespaced(client.clone(), namespace).list(&ListParams::default()).await?;
        services.extend(all.items);
    }
    Ok(services.iter().flat_map(of_service).collect())
}

fn of_service(service: &Service) -> Vec<(String, String)> {
    let spec = service.spec.clone().unwrap_or_default();
    let Some(address) = spec.cluster_ip.filter(|address| !address.is_empty() && address != "None") else {
        return Vec::new();
    };
    let named = |name: &str| name.to_uppercase().replace('-', "_");
    let service = named(&service.name_any());
    // An address of the sixth version stands in brackets before a port.
    let host = if address.contains(':') { format!("[{address}]") } else { address.clone() };
    let mut variables = Vec::new();
    for (at, port) in spec.ports.iter().flatten().enumerate() {
        let number = port.port;
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let url = format!("{}://{host}:{number}", protocol.to_lowercase());
        if at == 0 {
            variables.push((format!("{service}_SERVICE_HOST"), address.clone()));
            variables.push((format!("{service}_SERVICE_PORT"), number.to_string()));
            variables.push((format!("{service}_PORT"), url.clone()));
        }
        if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            variables.push((format!("{service}_SERVICE_PORT_{}", named(name)), number.to_string()));
        }
        let link = format!("{service}_PORT_{number}_{protocol}");
        variables.push((format!("{link}_PROTO"), protocol.to_lowercase()));
        variables.push((format!("{link}_PORT"), number.to_string()));
        variables.push((format!("{link}_ADDR"), address.clone()));
        variables.push((link, url));
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn variables_of(spec: serde_json::Value) -> BTreeMap<String, String> {
        let service = json!({"metadata": {"name": "redis-primary"}, "spec": spec});
        let service: Service = serde_json::from_value(service).unwrap_or_default();
        of_service(&service).into_iter().collect()
    }

    #[test]
    fn a_service_is_told_by_its_host_its_ports_and_its_links() {
        let told = variables_of(json!({"clusterIP": "10.0.0.11", "ports": [
            {"name": "main-port", "port": 6379, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"},
        ]}));
        let expected = [
            ("REDIS_PRIMARY_PORT", "tcp://10.0.0.11:6379"),
            ("REDIS_PRIMARY_PORT_53_UDP", "udp://10.0.0.11:53"),
            ("REDIS_PRIMARY_PORT_53_UDP_ADDR", "10.0.0.11"),
            ("REDIS_PRIMARY_PORT_53_UDP_PORT", "53"),
            ("REDIS_PRIMARY_PORT_53_UDP_PROTO", "udp"),
            ("REDIS_PRIMARY_PORT_6379_TCP", "tcp://10.0.0.11:6379"),
            ("REDIS_PRIMARY_PORT_6379_TCP_ADDR", "10.0.0.11"),
            ("REDIS_PRIMARY_PORT_6379_TCP_PORT", "6379"),
            ("REDIS_PRIMARY_PORT_6379_TCP_PROTO", "tcp"),
            ("REDIS_PRIMARY_SERVICE_HOST", "10.0.0.11"),
            ("REDIS_PRIMARY_SERVICE_PORT", "6379"),
            ("REDIS_PRIMARY_SERVICE_PORT_MAIN_PORT", "6379"),
        ];
        let told: Vec<_> = told.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn one_without_an_address_is_not_told() {
        assert!(variables_of(json!({"clusterIP": "None", "ports": [{"port": 80}]})).is_empty());
        assert!(variables_of(json!({"type": "ExternalName", "externalName": "a.test"})).is_empty());
        let six = variables_of(json!({"clusterIP": "fd00::1", "ports": [{"port": 80}]}));
        assert_eq!(six["REDIS_PRIMARY_PORT"], "tcp://[fd00::1]:80");
    }
}

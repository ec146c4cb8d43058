//! A container's environment, from values, from the pod itself, and from ConfigMaps and Secrets.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVarSource, Pod, ResourceFieldSelector, Secret};
use kube::{Api, Client, ResourceExt as _};

use crate::pod::Life;
use crate::quantity::quantity;
use crate::{Error, service_links};

/// The variables of a container, in the order of their names. Those of services are the first to give way.
pub(crate) async fn resolve(
    life: &Life,
    container: &Container,
    address: &str,
) -> Result<BTreeMap<String, String>, Error> {
    let (client, pod) = (&life.node.client, &life.pod);
    let namespace = pod.namespace().unwrap_or_default();
    let wants_services = life.spec().and_then(|spec| spec.enable_service_links) != Some(false);
    let mut variables = service_links::variables(client, &namespace, wants_services).await?;
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.clone().unwrap_or_default();
        let mut found = BTreeMap::new();
        if let Some(from) = &source.config_map_ref {
            let optional = from.optional.unwrap_or(false);
            found.extend(config_map(client, &namespace, &from.name, optional).await?);
        }
        if let Some(from) = &source.secret_ref {
            let optional = from.optional.unwrap_or(false);
            found.extend(secret(client, &namespace, &from.name, optional).await?);
        }
        for (key, value) in found {
            let value = String::from_utf8_lossy(&value).into_owned();
            variables.insert(format!("{prefix}{key}"), value);
        }
    }
    for variable in container.env.iter().flatten() {
        let value = match &variable.value_from {
            Some(source) => match from_source(life, container, &namespace, source, address).await? {
                Some(value) => value,
                None => continue,
            },
            None => expand(variable.value.as_deref().unwrap_or_default(), &variables),
        };
        variables.insert(variable.name.clone(), value);
    }
    Ok(variables)
}

/// Replaces `$(NAME)` by the variable of that name, and `$$` by `$`. References to nothing stay as they are.
pub(crate) fn expand(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("$$") {
            out.push('$');
            rest = after;
            continue;
        }
        let reference = rest.strip_prefix("$(").and_then(|after| after.split_once(')'));
        match reference.and_then(|(name, after)| Some((variables.get(name)?, after))) {
            Some((value, after)) => {
                out.push_str(value);
                rest = after;
            }
            None => {
                out.push('$');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

async fn from_source(
    life: &Life,
    container: &Container,
    namespace: &str,
    source: &EnvVarSource,
    address: &str,
) -> Result<Option<String>, Error> {
    let client = &life.node.client;
    if let Some(field) = &source.field_ref {
        // What others changed of the pod since it came holds for what begins now.
        let latest = life.latest.borrow().clone();
        return field_of(life, &latest, &field.field_path, address).map(Some);
    }
    if let Some(resource) = &source.resource_field_ref {
        return resource_of(life, resource, Some(container)).map(Some);
    }
    let (what, name, key, optional, data) = if let Some(from) = &source.config_map_key_ref {
        let optional = from.optional.unwrap_or(false);
        (
            "configmap",
            &from.name,
            &from.key,
            optional,
            config_map(client, namespace, &from.name, optional).await?,
        )
    } else if let Some(from) = &source.secret_key_ref {
        let optional = from.optional.unwrap_or(false);
        ("secret", &from.name, &from.key, optional, secret(client, namespace, &from.name, optional).await?)
    } else {
        return Err(Error::Config(
            "an environment variable has a valueFrom that is not known here".to_owned(),
        ));
    };
    match data.get(key) {
        Some(value) => Ok(Some(String::from_utf8_lossy(value).into_owned())),
        None if optional => Ok(None),
        None => Err(Error::Config(format!("couldn't find key {key} in {what} {namespace}/{name}"))),
    }
}

/// A field of the pod that containers may know (the downward API).
pub(crate) fn field_of(life: &Life, pod: &Pod, path: &str, address: &str) -> Result<String, Error> {
    let spec = pod.spec.as_ref();
    let keyed = |prefix: &str, map: &BTreeMap<String, String>| {
        let key = path.strip_prefix(prefix)?.strip_prefix("['")?.strip_suffix("']")?;
        Some(map.get(key).cloned().unwrap_or_default())
    };
    let lines = |map: &BTreeMap<String, String>| {
        map.iter().map(|(key, value)| format!("{key}={value:?}")).collect::<Vec<_>>().join("\n")
    };
    Ok(match path {
        "metadata.name" => pod.name_any(),
        "metadata.namespace" => pod.namespace().unwrap_or_default(),
        "metadata.uid" => pod.uid().unwrap_or_default(),
        "metadata.labels" => lines(pod.labels()),
        "metadata.annotations" => lines(pod.annotations()),
        "spec.nodeName" => spec.and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
        "spec.serviceAccountName" => {
            spec.and_then(|spec| spec.service_account_name.clone()).unwrap_or_default()
        }
        "status.podIP" | "status.podIPs" => address.to_owned(),
        "status.hostIP" | "status.hostIPs" => life.node.options.address.to_string(),
        _ => keyed("metadata.labels", pod.labels())
            .or_else(|| keyed("metadata.annotations", pod.annotations()))
            .ok_or_else(|| {
                Error::Config(format!("field path {path:?} is not one that containers may know"))
            })?,
    })
}

/// What a container may use or asks for, in units of the selector's divisor, rounded up. Without a limit it is what the
/// machine has.
pub(crate) fn resource_of(
    life: &Life,
    selector: &ResourceFieldSelector,
    own: Option<&Container>,
) -> Result<String, Error> {
    let spec = life.spec();
    let mut all =
        spec.into_iter().flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers));
    let named = selector.container_name.as_deref().filter(|name| !name.is_empty());
    let container = match named {
        Some(name) => all.find(|container| container.name == name),
        None => own,
    };
    let container = container.ok_or_else(|| {
        Error::Config(format!("resourceFieldRef: container {:?} not found", named.unwrap_or_default()))
    })?;
    let unknown = || Error::Config(format!("unsupported container resource: {}", selector.resource));
    let (kind, name) = selector.resource.split_once('.').ok_or_else(unknown)?;
    let resources = container.resources.as_ref();
    let limits = resources.and_then(|own| own.limits.as_ref());
    let requests = resources.and_then(|own| own.requests.as_ref());
    let amount = match kind {
        "limits" => limits.and_then(|list| list.get(name)),
        "requests" => requests.and_then(|list| list.get(name)).or(limits.and_then(|list| list.get(name))),
        _ => return Err(unknown()),
    };
    let amount = amount.and_then(|amount| quantity(&amount.0));
    let machine = || crate::machine::Machine::look(&life.node.options.folder);
    let amount = match (amount, kind, name) {
        (Some(amount), ..) => amount,
        (None, "requests", "cpu" | "memory" | "ephemeral-storage") => 0.0,
        // Amounts are far below 2^53.
        (None, "limits", "cpu") => machine().cpus as f64,
        (None, "limits", "memory") => machine().memory.whole as f64,
        (None, "limits", "ephemeral-storage") => machine().disk.whole as f64,
        _ => return Err(unknown()),
    };
    let divisor = selector.divisor.as_ref().and_then(|own| quantity(&own.0)).filter(|own| *own > 0.0);
    // A little less, since the division is not exact.
    Ok(format!("{:.0}", (amount / divisor.unwrap_or(1.0) - 1e-9).ceil().max(0.0)))
}

/// The data of a ConfigMap, by key.
pub(crate) async fn config_map(
    client: &Client,
    namespace: &str,
    name: &str,
    optional: bool,
) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let found = Api::<ConfigMap>::namespaced(client.clone(), namespace).get_opt(name).await?;
    let Some(found) = found else { return absent("configmap", name, optional) };
    let text = found.data.into_iter().flatten().map(|(key, value)| (key, value.into_bytes()));
    let binary = found.binary_data.into_iter().flatten().map(|(key, value)| (key, value.0));
    Ok(text.chain(binary).collect())
}

/// The data of a Secret, by key.
pub(crate) async fn secret(
    client: &Client,
    namespace: &str,
    name: &str,
    optional: bool,
) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let found = Api::<Secret>::namespaced(client.clone(), namespace).get_opt(name).await?;
    let Some(found) = found else { return absent("secret", name, optional) };
    Ok(found.data.into_iter().flatten().map(|(key, value)| (key, value.0)).collect())
}

fn absent(what: &str, name: &str, optional: bool) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    if optional { Ok(BTreeMap::new()) } else { Err(Error::Config(format!("{what} {name:?} not found"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_replaced_and_doubled_signs_kept() {
        let variables = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
        for (text, expected) in
            [("$(A)", "1"), ("x$(A)y$(B)", "x1y$(B)"), ("$$(A)", "$(A)"), ("$", "$"), ("$(", "$(")]
        {
            assert_eq!(expand(text, &variables), expected, "{text}");
        }
    }
}

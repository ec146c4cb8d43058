//! The rules of routes that carry requests, whatever their kind: each becomes routes of one name in the proxy.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use xebec_proxy::config::Route;

use crate::condition::Verdict;
use crate::route::{Compiled, Served};
use crate::translation::names;

/// Compiles the rules of a route, each by `compile`, which is given the name of what comes of it; `name` tells a rule's own.
/// The error says what the proxy cannot do, and in which rule.
pub(crate) fn each<R>(
    metadata: &ObjectMeta,
    rules: &[R],
    name: impl Fn(&R) -> Option<&str>,
    mut compile: impl FnMut(&R, Arc<str>, &mut Verdict) -> Result<Vec<Route>, String>,
) -> Result<Compiled, String> {
    let (namespace, own) = names(metadata);
    let mut resolved = Verdict::yes("ResolvedRefs");
    let mut routes = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        let id = match name(rule) {
            Some(part) => format!("{namespace}/{own}/{part}"),
            None => format!("{namespace}/{own}/{index}"),
        };
        let compiled = compile(rule, id.into(), &mut resolved);
        routes.extend(compiled.map_err(|error| format!("rule {index}: {error}"))?);
    }
    Ok(Compiled { served: Served::Requests(routes), resolved })
}

//! GatewayClasses: whether they are ours, and what of Gateway API is served.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use xebec_api::gateway::{GatewayClass, GatewayClassStatus, SupportedFeature};

use crate::condition::{Conditions, Verdict};

/// What is served of Gateway API, by upstream's names.
const FEATURES: &[&str] = &[
    "BackendTLSPolicy",
    "BackendTLSPolicySANValidation",
    "GRPCRoute",
    "GRPCRouteNamedRouteRule",
    "Gateway",
    "GatewayAddressEmpty",
    "GatewayBackendClientCertificate",
    "GatewayFrontendClientCertificateValidation",
    "GatewayFrontendClientCertificateValidationInsecureFallback",
    "GatewayHTTPListenerIsolation",
    "GatewayHTTPSListenerDetectMisdirectedRequests",
    "GatewayInfrastructurePropagation",
    "GatewayPort8080",
    "GatewayStaticAddresses",
    "HTTPRoute",
    "HTTPRoute303RedirectStatusCode",
    "HTTPRoute307RedirectStatusCode",
    "HTTPRoute308RedirectStatusCode",
    "HTTPRouteBackendProtocolH2C",
    "HTTPRouteBackendProtocolWebSocket",
    "HTTPRouteBackendRequestHeaderModification",
    "HTTPRouteBackendTimeout",
    "HTTPRouteCORS",
    "HTTPRouteDestinationPortMatching",
    "HTTPRouteHostRewrite",
    "HTTPRouteMethodMatching",
    "HTTPRouteNamedRouteRule",
    "HTTPRouteParentRefPort",
    "HTTPRoutePathRedirect",
    "HTTPRoutePathRewrite",
    "HTTPRoutePortRedirect",
    "HTTPRouteQueryParamMatching",
    "HTTPRouteRequestMirror",
    "HTTPRouteRequestMultipleMirrors",
    "HTTPRouteRequestPercentageMirror",
    "HTTPRouteRequestTimeout",
    "HTTPRouteResponseHeaderModification",
    "HTTPRouteRetry",
    "HTTPRouteRetryBackendTimeout",
    "HTTPRouteRetryConnectionError",
    "HTTPRouteSchemeRedirect",
    "ListenerSet",
    "ReferenceGrant",
    "TCPRoute",
    "TLSRoute",
    "TLSRouteModeMixed",
    "TLSRouteModeTerminate",
    "UDPRoute",
];

/// Whether a class of ours is accepted.
pub(crate) fn accepted(class: &GatewayClass) -> Verdict {
    match &class.spec.parameters_ref {
        None => Verdict::yes("Accepted"),
        Some(reference) => {
            let message = format!(
                "{}.{} {:?} holds no settings of this controller; remove parametersRef",
                reference.kind, reference.group, reference.name
            );
            Verdict::no("InvalidParameters", message)
        }
    }
}

/// The finalizer by which a class stays as long as a Gateway has it, as Gateway API asks of its controllers.
const IN_USE: &str = "gateway-exists-finalizer.gateway.networking.k8s.io";

/// The finalizers that a class of ours should have, if they are not those that it has.
pub(crate) fn finalizers(class: &GatewayClass, in_use: bool) -> Option<Vec<String>> {
    let metadata = &class.metadata;
    let mut finalizers = metadata.finalizers.clone().unwrap_or_default();
    match (in_use, finalizers.iter().position(|finalizer| finalizer == IN_USE)) {
        // What is being deleted takes no more of them.
        (true, None) if metadata.deletion_timestamp.is_none() => finalizers.push(IN_USE.to_owned()),
        (false, Some(at)) => {
            finalizers.remove(at);
        }
        _ => return None,
    }
    Some(finalizers)
}

/// The status of a class of ours, if it changed.
pub(crate) fn status(class: &GatewayClass, now: &Time) -> Option<GatewayClassStatus> {
    let last = class.status.clone().unwrap_or_default();
    let conditions = Conditions::new(&last.conditions, class.metadata.generation, now)
        .with("Accepted", accepted(class))
        .finish();
    let feature = |name: &&str| SupportedFeature { name: (*name).to_owned() };
    let status =
        GatewayClassStatus { conditions, supported_features: FEATURES.iter().map(feature).collect() };
    (class.status.as_ref() != Some(&status)).then_some(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_stays_while_a_gateway_has_it_and_may_go_then() {
        let class = |finalizers: &[&str], deleted: bool| -> GatewayClass {
            let deleted = deleted.then_some("2026-01-01T00:00:00Z");
            serde_json::from_value(serde_json::json!({
                "metadata": {"name": "a", "finalizers": finalizers, "deletionTimestamp": deleted},
                "spec": {"controllerName": "xebec.dev/gateway"},
            }))
            .unwrap()
        };
        let told = |finalizers: &[&str]| Some(finalizers.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(finalizers(&class(&["x"], false), true), told(&["x", IN_USE]));
        assert_eq!(finalizers(&class(&["x", IN_USE], true), false), told(&["x"]));
        for (has, deleted, in_use) in
            [(&["x"][..], true, true), (&[IN_USE], true, true), (&["x"], false, false)]
        {
            assert_eq!(finalizers(&class(has, deleted), in_use), None);
        }
    }

    #[test]
    fn features_are_sorted_and_few_enough_for_the_status() {
        assert!(FEATURES.is_sorted());
        assert!(FEATURES.len() <= 64);
    }
}

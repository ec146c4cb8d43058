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
    fn features_are_sorted_and_few_enough_for_the_status() {
        assert!(FEATURES.is_sorted());
        assert!(FEATURES.len() <= 64);
    }
}

//! The definitions that our types give, and what the types make of objects that leave things out.

use serde_json::json;
use xebec_api::gateway::{HTTPRoute, PathMatchType, definitions};

#[test]
fn what_is_left_out_means_what_the_server_would_have_filled_in() {
    let route: HTTPRoute = serde_json::from_value(json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "shop"},
        "spec": {"parentRefs": [{"name": "edge"}], "rules": [{"backendRefs": [{"name": "v1", "port": 80}]}]},
    }))
    .unwrap();
    let parent = &route.spec.parent_refs[0];
    assert_eq!((&*parent.group, &*parent.kind), ("gateway.networking.k8s.io", "Gateway"));
    let rule = &route.spec.rules[0];
    assert_eq!(rule.matches[0].path.type_, PathMatchType::PathPrefix);
    assert_eq!(rule.matches[0].path.value, "/");
    let backend = &rule.backend_refs[0];
    assert_eq!((&*backend.backend.group, &*backend.backend.kind, backend.weight), ("", "Service", 1));
}

#[test]
fn our_definitions_are_what_an_api_server_takes() {
    let served = definitions().into_iter().map(|own| {
        let versions = own.spec.versions.into_iter().filter(|version| version.served);
        let named =
            versions.map(|version| format!("{}{}", version.name, if version.storage { "!" } else { "" }));
        (own.spec.names.kind, named.collect::<Vec<_>>().join(" "))
    });
    for (kind, versions) in served {
        let expected = match &*kind {
            "GatewayClass" | "Gateway" | "HTTPRoute" => "v1! v1beta1",
            "ReferenceGrant" => "v1beta1! v1",
            _ => "v1!",
        };
        assert_eq!(versions, expected, "{kind}");
    }
    for ours in definitions() {
        let mut ours = serde_json::to_value(ours).unwrap();
        xebec_machinery::crd::default(&mut ours);
        let errors: Vec<String> =
            xebec_machinery::crd::validate(&ours).iter().map(ToString::to_string).collect();
        assert_eq!(errors, Vec::<String>::new(), "{}", ours["metadata"]["name"]);
    }
}

#[test]
fn what_a_controller_takes_up_says_until_then_that_it_waits() {
    for (name, conditions) in [
        ("gatewayclasses", &["Accepted"][..]),
        ("gateways", &["Accepted", "Programmed"][..]),
        ("listenersets", &["Accepted", "Programmed"][..]),
    ] {
        let all = definitions().into_iter();
        let own = all
            .map(|own| serde_json::to_value(own).unwrap())
            .find(|own| own["spec"]["names"]["plural"] == name);
        let own = own.unwrap();
        let schema = &own["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let told = schema["properties"]["status"]["default"]["conditions"].as_array().unwrap();
        let kinds: Vec<_> = told.iter().map(|one| one["type"].as_str().unwrap()).collect();
        assert_eq!(kinds, conditions, "{name}");
        for one in told {
            assert_eq!((&one["status"], &one["reason"]), (&"Unknown".into(), &"Pending".into()), "{name}");
        }
    }
}

//! Objects of every kind that are in order, and that have every field that their definitions know.

use serde_json::{Value, json};

fn object(kind: &str, spec: &Value) -> Value {
    let version = if kind == "ReferenceGrant" { "v1beta1" } else { "v1" };
    json!({
        "apiVersion": format!("gateway.networking.k8s.io/{version}"),
        "kind": kind,
        "metadata": {"name": "sample", "namespace": "shop"},
        "spec": spec,
    })
}

fn with_status(mut object: Value, status: Value) -> Value {
    object["status"] = status;
    object
}

fn condition(kind: &str) -> Value {
    json!({
        "type": kind, "status": "True", "reason": "Accepted", "message": "",
        "lastTransitionTime": "2026-07-01T08:00:00Z", "observedGeneration": 3,
    })
}

fn route_status() -> Value {
    json!({"parents": [{
        "parentRef": {"name": "edge", "sectionName": "web", "port": 80, "namespace": "shop"},
        "controllerName": "example.com/gateways",
        "conditions": [condition("Accepted"), condition("example.com/ResolvedRefs")],
    }]})
}

fn listeners_status() -> Value {
    json!([{
        "name": "web", "attachedRoutes": 1, "supportedKinds": [{"kind": "HTTPRoute"}],
        "conditions": [condition("Accepted"), condition("Programmed")],
    }])
}

/// Every object here.
pub(crate) fn all() -> Vec<Value> {
    let mut all = vec![class(), gateway(), listener_set(), grant(), policy(), policy_of_known_authorities()];
    all.extend(http_routes());
    all.extend(grpc_routes());
    all.extend(stream_routes());
    all
}

pub(crate) fn class() -> Value {
    let spec = json!({
        "controllerName": "example.com/gateways/controller", "description": "for everyone",
        "parametersRef": {"group": "example.com", "kind": "Settings", "name": "all", "namespace": "shop"},
    });
    let status = json!({
        "conditions": [condition("Accepted"), condition("SupportedVersion")],
        "supportedFeatures": [{"name": "Gateway"}, {"name": "HTTPRoute"}],
    });
    with_status(object("GatewayClass", &spec), status)
}

fn listeners() -> Value {
    json!([
        {"name": "web", "port": 80, "protocol": "HTTP"},
        {"name": "web-shop", "port": 80, "protocol": "HTTP", "hostname": "shop.example.com"},
        {
            "name": "secure", "port": 443, "protocol": "HTTPS", "hostname": "*.example.com",
            "tls": {
                "mode": "Terminate", "certificateRefs": [{"name": "certificate", "namespace": "keys"}],
                "options": {"example.com/least": "1.3"},
            },
            "allowedRoutes": {
                "namespaces": {"from": "Selector", "selector": {
                    "matchLabels": {"team": "shop"},
                    "matchExpressions": [{"key": "stage", "operator": "In", "values": ["test"]}],
                }},
                "kinds": [{"kind": "HTTPRoute"}, {"group": "example.com", "kind": "OtherRoute"}],
            },
        },
        {"name": "through", "port": 8443, "protocol": "TLS", "tls": {"mode": "Passthrough"}},
        {"name": "stream", "port": 9000, "protocol": "TCP", "allowedRoutes": {"namespaces": {"from": "All"}}},
        {"name": "names", "port": 53, "protocol": "UDP"},
        {"name": "own", "port": 7000, "protocol": "example.com/chat"},
    ])
}

pub(crate) fn gateway() -> Value {
    let authorities = json!({"caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "clients"}]});
    let spec = json!({
        "gatewayClassName": "xebec",
        "listeners": listeners(),
        "addresses": [
            {"value": "10.0.0.1"}, {"type": "IPAddress", "value": "fd00::1"}, {"type": "IPAddress"},
            {"type": "Hostname", "value": "edge.example.com"}, {"type": "NamedAddress", "value": "the edge"},
            {"type": "example.com/pool", "value": "a"},
        ],
        "infrastructure": {
            "labels": {"team": "shop", "example.com/stage": ""},
            "annotations": {"example.com/note": "any text at all"},
            "parametersRef": {"group": "", "kind": "ConfigMap", "name": "settings"},
        },
        "allowedListeners": {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"team": "shop"}}}},
        "tls": {
            "backend": {"clientCertificateRef": {"name": "own"}},
            "frontend": {
                "default": {"validation": authorities},
                "perPort": [
                    {"port": 443, "tls": {}},
                    {"port": 8443, "tls": {"validation": {
                        "caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "a", "namespace": "keys"}],
                        "mode": "AllowInsecureFallback",
                    }}},
                ],
            },
        },
    });
    let status = json!({
        "addresses": [{"value": "10.0.0.1"}, {"type": "Hostname", "value": "edge.example.com"}],
        "conditions": [condition("Accepted"), condition("Programmed")],
        "listeners": listeners_status(), "attachedListenerSets": 1,
    });
    with_status(object("Gateway", &spec), status)
}

pub(crate) fn listener_set() -> Value {
    let spec = json!({"parentRef": {"name": "edge", "namespace": "shop"}, "listeners": listeners()});
    let status = json!({"conditions": [condition("Accepted")], "listeners": listeners_status()});
    with_status(object("ListenerSet", &spec), status)
}

pub(crate) fn grant() -> Value {
    object(
        "ReferenceGrant",
        &json!({
            "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "shop"}],
            "to": [{"group": "", "kind": "Service"}, {"group": "", "kind": "Secret", "name": "certificate"}],
        }),
    )
}

pub(crate) fn policy() -> Value {
    let spec = json!({
        "targetRefs": [
            {"group": "", "kind": "Service", "name": "cart", "sectionName": "https"},
            {"group": "", "kind": "Service", "name": "cart", "sectionName": "admin"},
            {"group": "", "kind": "Service", "name": "stock"},
        ],
        "validation": {
            "hostname": "cart.example.com",
            "caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "authorities"}],
            "subjectAltNames": [
                {"type": "Hostname", "hostname": "*.cart.example.com"},
                {"type": "URI", "uri": "spiffe://example.com/cart"},
            ],
        },
        "options": {"example.com/least": "1.3"},
    });
    let status = json!({"ancestors": [{
        "ancestorRef": {"name": "edge"}, "controllerName": "example.com/gateways",
        "conditions": [condition("Accepted")],
    }]});
    with_status(object("BackendTLSPolicy", &spec), status)
}

fn policy_of_known_authorities() -> Value {
    object(
        "BackendTLSPolicy",
        &json!({
            "targetRefs": [{"group": "", "kind": "Service", "name": "cart"}],
            "validation": {"hostname": "cart.example.com", "wellKnownCACertificates": "System"},
        }),
    )
}

fn parents() -> Value {
    json!([
        {"name": "edge", "sectionName": "web"}, {"name": "edge", "sectionName": "secure", "port": 443},
        {"name": "edge", "namespace": "other"}, {"group": "", "kind": "Service", "name": "cart", "port": 80},
    ])
}

fn headers() -> Value {
    json!({
        "set": [{"name": "X-One", "value": "1"}, {"name": "x-two", "value": "two words"}],
        "add": [{"name": "X-Three", "value": "3"}],
        "remove": ["x-four", "x-five"],
    })
}

/// A route that has every field, a redirect of a prefix, and the shortest.
pub(crate) fn http_routes() -> [Value; 4] {
    let filters = json!([
        {"type": "RequestHeaderModifier", "requestHeaderModifier": headers()},
        {"type": "ResponseHeaderModifier", "responseHeaderModifier": headers()},
        {"type": "RequestMirror", "requestMirror": {
            "backendRef": {"name": "copy", "port": 80, "namespace": "other"}, "percent": 42}},
        {"type": "RequestMirror", "requestMirror": {
            "backendRef": {"name": "copy", "port": 80}, "fraction": {"numerator": 1, "denominator": 3}}},
        {"type": "URLRewrite", "urlRewrite": {
            "hostname": "in.example.com", "path": {"type": "ReplaceFullPath", "replaceFullPath": "/all"}}},
        {"type": "CORS", "cors": {
            "allowOrigins": ["https://shop.example.com", "https://*.example.com:8443"], "allowCredentials": true,
            "allowMethods": ["GET", "PUT"], "allowHeaders": ["X-One", "X-Two"], "exposeHeaders": ["X-Three"],
            "maxAge": 60}},
        {"type": "ExtensionRef", "extensionRef": {"group": "example.com", "kind": "Filter", "name": "own"}},
    ]);
    let full = json!({
        "parentRefs": parents(),
        "hostnames": ["shop.example.com", "*.example.org"],
        "rules": [
            {
                "name": "all",
                "matches": [
                    {
                        "path": {"type": "Exact", "value": "/cart"}, "method": "GET",
                        "headers": [{"name": "X-One", "value": "1"},
                            {"type": "RegularExpression", "name": "X-Two", "value": ".*"}],
                        "queryParams": [{"name": "one", "value": "1"},
                            {"type": "RegularExpression", "name": "two", "value": ".*"}],
                    },
                    {"path": {"type": "RegularExpression", "value": "a//b"}},
                    {"path": {"value": "/a%20b/;c=d@e"}},
                ],
                "filters": filters,
                "backendRefs": [
                    {"name": "cart", "port": 80, "weight": 3, "filters": filters},
                    {"group": "example.com", "kind": "Bucket", "name": "static"},
                ],
                "timeouts": {"request": "10s", "backendRequest": "2s500ms"},
            },
            {"name": "other", "timeouts": {"request": "0s", "backendRequest": "1h"}},
            {"matches": [], "filters": [{"type": "CORS", "cors": {"allowOrigins": ["*"], "allowMethods": ["*"]}}]},
        ],
    });
    let redirect = json!({
        "parentRefs": [{"name": "edge"}],
        "rules": [{
            "matches": [{"path": {"type": "PathPrefix", "value": "/old"}}],
            "filters": [{"type": "RequestRedirect", "requestRedirect": {
                "scheme": "https", "hostname": "new.example.com", "port": 8443, "statusCode": 308,
                "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/new"}}}],
        }],
    });
    let rewrite = json!({
        "rules": [{
            "matches": [{"path": {"value": "/old"}}],
            "filters": [{"type": "URLRewrite", "urlRewrite": {
                "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}}],
            "backendRefs": [{"name": "cart", "port": 80, "filters": [{"type": "URLRewrite", "urlRewrite": {
                "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}}]}],
        }],
    });
    [
        with_status(object("HTTPRoute", &full), route_status()),
        object("HTTPRoute", &redirect),
        object("HTTPRoute", &rewrite),
        object("HTTPRoute", &json!({})),
    ]
}

pub(crate) fn grpc_routes() -> [Value; 2] {
    let filters = json!([
        {"type": "RequestHeaderModifier", "requestHeaderModifier": headers()},
        {"type": "ResponseHeaderModifier", "responseHeaderModifier": headers()},
        {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "copy", "port": 80}, "percent": 42}},
        {"type": "ExtensionRef", "extensionRef": {"group": "example.com", "kind": "Filter", "name": "own"}},
    ]);
    let full = json!({
        "parentRefs": parents(),
        "hostnames": ["shop.example.com", "*.example.org"],
        "rules": [
            {
                "name": "all",
                "matches": [
                    {
                        "method": {"service": "shop.v1.Cart", "method": "Add"},
                        "headers": [{"name": "x-one", "value": "1"}],
                    },
                    {"method": {"type": "RegularExpression", "service": "shop[.].*"}},
                    {"method": {"type": "Exact", "method": "Add"}},
                ],
                "filters": filters,
                "backendRefs": [{"name": "cart", "port": 80, "weight": 0, "filters": filters}],
            },
            {"name": "other"},
        ],
    });
    [with_status(object("GRPCRoute", &full), route_status()), object("GRPCRoute", &json!({}))]
}

pub(crate) fn stream_routes() -> [Value; 3] {
    ["TLSRoute", "TCPRoute", "UDPRoute"].map(|kind| {
        let mut spec = json!({
            "parentRefs": parents(),
            "rules": [{"name": "all", "backendRefs": [
                {"name": "cart", "port": 80, "weight": 3}, {"name": "cart", "namespace": "other", "port": 80},
            ]}],
        });
        if kind == "TLSRoute" {
            spec["hostnames"] = json!(["shop.example.com", "*.example.org"]);
        }
        with_status(object(kind, &spec), route_status())
    })
}

use super::{Case, FORMAT, TWICE, put, told};
use crate::{Definitions, sample};

/// A place in the first match.
macro_rules! at_match {
    ($name:literal) => {
        concat!("/rules/0/matches/0/", $name)
    };
}

/// A place in the filter of type CORS.
macro_rules! cors {
    ($name:literal) => {
        concat!("/rules/0/filters/5/cors/", $name)
    };
}

/// A place in a redirect.
macro_rules! redirect {
    ($name:literal) => {
        concat!("/rules/0/filters/0/requestRedirect/", $name)
    };
}

/// The same place as errors tell it.
macro_rules! told_at {
    ($name:literal $(, $more:literal)?) => {
        concat!("spec.rules[0].filters[0].requestRedirect.", $name $(, $more)?)
    };
}

#[test]
fn routes_of_every_kind() {
    const CASES: &[Case<'static>] = &[
        (
            "/parentRefs/-",
            r#"{"name": "edge", "sectionName": "web"}"#,
            "spec.parentRefs",
            "no two parentRefs name",
        ),
        ("/parentRefs/-", r#"{"name": "edge"}"#, "spec.parentRefs", "with a sectionName each time"),
        (
            "/parentRefs/-",
            r#"{"name": "edge", "namespace": "other", "port": 1}"#,
            "spec.parentRefs",
            "no two",
        ),
        ("/parentRefs/0/port", "0", "spec.parentRefs[0].port", "greater than or equal to 1"),
        ("/parentRefs/0/port", "65536", "spec.parentRefs[0].port", "less than or equal to 65535"),
        ("/parentRefs/0/group", r#""A""#, "spec.parentRefs[0].group", FORMAT),
        ("/parentRefs/0/kind", r#""a b""#, "spec.parentRefs[0].kind", FORMAT),
        ("/parentRefs/0/name", r#""""#, "spec.parentRefs[0].name", "at least 1"),
        ("/parentRefs/0/namespace", r#""a.b""#, "spec.parentRefs[0].namespace", FORMAT),
        ("/parentRefs/0/sectionName", r#""a_b""#, "spec.parentRefs[0].sectionName", FORMAT),
        ("/rules/0/name", r#""A""#, "spec.rules[0].name", FORMAT),
        (
            "/rules/0/backendRefs/0/port",
            "-",
            "spec.rules[0].backendRefs[0]",
            "a Service is named with its port",
        ),
        (
            "/rules/0/backendRefs/0/weight",
            "-1",
            "spec.rules[0].backendRefs[0].weight",
            "greater than or equal to 0",
        ),
        (
            "/rules/0/backendRefs/0/weight",
            "1000001",
            "spec.rules[0].backendRefs[0].weight",
            "less than or equal",
        ),
        ("/rules/0/backendRefs/0/namespace", r#""a.b""#, "spec.rules[0].backendRefs[0].namespace", FORMAT),
        ("/rules/0/backendRefs/0/name", "null", "spec.rules[0].backendRefs[0].name ", "Required value"),
    ];
    let routes = sample::stream_routes().into_iter();
    for route in routes.chain([sample::http_routes()[0].clone(), sample::grpc_routes()[0].clone()]) {
        told(&route, CASES);
    }
}

#[test]
fn rules_of_http_and_grpc() {
    let many = vec!["{}"; 64].join(",");
    for route in [sample::http_routes()[0].clone(), sample::grpc_routes()[0].clone()] {
        told(
            &route,
            &[
                ("/hostnames/0", r#""a b""#, "spec.hostnames[0]", FORMAT),
                ("/hostnames/0", r#""A.b""#, "spec.hostnames[0]", FORMAT),
                ("/hostnames/0", r#""a.*.b""#, "spec.hostnames[0]", FORMAT),
                ("/rules/1/name", r#""all""#, "spec.rules", "no two rules have one name"),
                (
                    "/rules/0/filters/0/requestHeaderModifier/set/0/name",
                    r#""a b""#,
                    "spec.rules[0].filters[0].requestHeaderModifier.set[0].name",
                    FORMAT,
                ),
                (
                    "/rules/0/filters/0/requestHeaderModifier/set/-",
                    r#"{"name": "X-One", "value": "2"}"#,
                    "spec.rules[0].filters[0].requestHeaderModifier.set[2]",
                    TWICE,
                ),
                (
                    "/rules/0/filters/1/responseHeaderModifier/add/-",
                    r#"{"name": "X-Three", "value": "2"}"#,
                    "spec.rules[0].filters[1].responseHeaderModifier.add[1]",
                    TWICE,
                ),
                (
                    "/rules/0/filters/1/responseHeaderModifier/remove/-",
                    r#""x-four""#,
                    "spec.rules[0].filters[1].responseHeaderModifier.remove[2]",
                    TWICE,
                ),
                (
                    "/rules/0/filters/-",
                    r#"{"type": "RequestHeaderModifier", "requestHeaderModifier": {}}"#,
                    "spec.rules[0].filters",
                    "at most one filter of type RequestHeaderModifier",
                ),
                (
                    "/rules/0/backendRefs/0/filters/-",
                    r#"{"type": "ResponseHeaderModifier", "responseHeaderModifier": {}}"#,
                    "spec.rules[0].backendRefs[0].filters",
                    "at most one filter of type ResponseHeaderModifier",
                ),
                (
                    "/rules/0/filters/2/requestMirror/fraction",
                    r#"{"numerator": 1}"#,
                    "spec.rules[0].filters[2].requestMirror",
                    "one of them is enough",
                ),
                (
                    "/rules/0/filters/2/requestMirror",
                    r#"{"backendRef": {"name": "a", "port": 1}, "fraction": {"numerator": 101}}"#,
                    "spec.rules[0].filters[2].requestMirror.fraction",
                    "not more than the whole",
                ),
                (
                    "/rules/0/filters/2/requestMirror/backendRef/port",
                    "-",
                    "spec.rules[0].filters[2].requestMirror.backendRef",
                    "a Service is named with its port",
                ),
                (
                    "/rules/0/filters/2/type",
                    r#""ExtensionRef""#,
                    "spec.rules[0].filters[2]",
                    "`extensionRef` goes with the type ExtensionRef",
                ),
                (
                    "/rules/0/filters/0/requestHeaderModifier",
                    "-",
                    "spec.rules[0].filters[0]",
                    "`requestHeaderModifier` goes with the type RequestHeaderModifier",
                ),
                (
                    "/rules/0/filters/0/responseHeaderModifier",
                    "{}",
                    "spec.rules[0].filters[0]",
                    "`responseHeaderModifier` goes with the type ResponseHeaderModifier",
                ),
                (
                    "/rules/0/filters/0/requestMirror",
                    r#"{"backendRef": {"name": "a", "port": 1}}"#,
                    "spec.rules[0].filters[0]",
                    "`requestMirror` goes with the type RequestMirror",
                ),
            ],
        );
        let mut route = route;
        for _ in 0..2 {
            put(&mut route["spec"], "/rules/-", &format!(r#"{{"matches": [{many}]}}"#));
        }
        told(&route, &[("/rules/-", r#"{"matches": [{}]}"#, "spec.rules", "at most 128 matches")]);
    }
}

#[test]
fn http_routes() {
    const PATH: &str = "spec.rules[0].matches[0].path";
    let path = at_match!("path/value");
    told(
        &sample::http_routes()[0],
        &[
            (path, r#""nopath""#, PATH, "a path begins with `/`"),
            (path, r#""""#, PATH, "a path begins with `/`"),
            (path, r#""/a//b""#, PATH, "no empty segments"),
            (path, r#""/a/./b""#, PATH, "no segments `.` and `..`"),
            (path, r#""/a/../b""#, PATH, "no segments `.` and `..`"),
            (path, r#""/a/.""#, PATH, "no segments `.` and `..`"),
            (path, r#""/a/..""#, PATH, "no segments `.` and `..`"),
            (path, r#""/a%2fb""#, PATH, "no escaped slashes"),
            (path, r#""/a%2Fb""#, PATH, "no escaped slashes"),
            (path, r#""/a#b""#, PATH, "no fragment"),
            (path, r#""/a b""#, PATH, "what RFC 3986 allows"),
            (path, r#""/a%zz""#, PATH, "what RFC 3986 allows"),
            (at_match!("method"), r#""FOO""#, "spec.rules[0].matches[0].method ", "Unsupported value"),
            (
                at_match!("headers/-"),
                r#"{"name": "X-One", "value": "2"}"#,
                "spec.rules[0].matches[0].headers[2]",
                TWICE,
            ),
            (at_match!("headers/0/name"), r#""a b""#, "spec.rules[0].matches[0].headers[0].name", FORMAT),
            (
                at_match!("queryParams/-"),
                r#"{"name": "one", "value": "2"}"#,
                "spec.rules[0].matches[0].queryParams[2]",
                TWICE,
            ),
            (
                at_match!("queryParams/0/name"),
                r#""a b""#,
                "spec.rules[0].matches[0].queryParams[0].name",
                FORMAT,
            ),
            (
                "/rules/0/timeouts/request",
                r#""1x""#,
                "spec.rules[0].timeouts spec.rules[0].timeouts.request",
                FORMAT,
            ),
            (
                "/rules/0/timeouts/request",
                r#""2s499ms""#,
                "spec.rules[0].timeouts",
                "one try cannot take longer",
            ),
            (
                "/rules/0/filters/-",
                r#"{"type": "URLRewrite", "urlRewrite": {}}"#,
                "spec.rules[0].filters",
                "at most one filter of type URLRewrite",
            ),
            (
                "/rules/0/filters/-",
                r#"{"type": "CORS", "cors": {}}"#,
                "spec.rules[0].filters",
                "at most one filter of type CORS",
            ),
            (
                "/rules/0/backendRefs/0/filters/-",
                r#"{"type": "RequestRedirect", "requestRedirect": {}}"#,
                "spec.rules[0].backendRefs[0].filters",
                "redirected or rewritten",
            ),
            ("/rules/0/filters/0/cors", "{}", "spec.rules[0].filters[0]", "`cors` goes with the type CORS"),
            ("/rules/0/filters/0/urlRewrite", "{}", "spec.rules[0].filters[0]", "`urlRewrite` goes with"),
            (
                "/rules/0/filters/4/urlRewrite/hostname",
                r#""*.a""#,
                "spec.rules[0].filters[4].urlRewrite.hostname",
                FORMAT,
            ),
            (
                "/rules/0/filters/4/urlRewrite/path/type",
                r#""ReplacePrefixMatch""#,
                "spec.rules[0].filters[4].urlRewrite.path",
                "`replacePrefixMatch` goes with the type ReplacePrefixMatch",
            ),
            (
                "/rules/0/filters/4/urlRewrite/path/replaceFullPath",
                "-",
                "spec.rules[0].filters[4].urlRewrite.path",
                "`replaceFullPath` goes with the type ReplaceFullPath",
            ),
            (cors!("allowOrigins/-"), r#""*""#, "spec.rules[0].filters[5].cors.allowOrigins", "nothing more"),
            (
                cors!("allowOrigins/0"),
                r#""ftp://a""#,
                "spec.rules[0].filters[5].cors.allowOrigins[0]",
                FORMAT,
            ),
            (cors!("allowMethods/-"), r#""*""#, "spec.rules[0].filters[5].cors.allowMethods", "nothing more"),
            (
                cors!("allowMethods/-"),
                r#""FOO""#,
                "spec.rules[0].filters[5].cors.allowMethods[2] ",
                "Unsupported value",
            ),
            (cors!("allowMethods/-"), r#""GET""#, "spec.rules[0].filters[5].cors.allowMethods[2]", TWICE),
            (cors!("allowHeaders/-"), r#""*""#, "spec.rules[0].filters[5].cors.allowHeaders", "nothing more"),
            (
                cors!("exposeHeaders/-"),
                r#""X-Three""#,
                "spec.rules[0].filters[5].cors.exposeHeaders[1]",
                TWICE,
            ),
            (cors!("maxAge"), "0", "spec.rules[0].filters[5].cors.maxAge", "greater than or equal to 1"),
        ],
    );
}

#[test]
fn redirects_and_rewrites() {
    const PREFIX: &str = "exactly one match, and that of type PathPrefix";
    told(
        &sample::http_routes()[1],
        &[
            (
                "/rules/0/backendRefs",
                r#"[{"name": "cart", "port": 80}]"#,
                "spec.rules[0]",
                "goes to no backend",
            ),
            (
                "/rules/0/filters/-",
                r#"{"type": "URLRewrite", "urlRewrite": {}}"#,
                "spec.rules[0].filters",
                "redirected or rewritten",
            ),
            (
                "/rules/0/filters/-",
                r#"{"type": "RequestRedirect", "requestRedirect": {}}"#,
                "spec.rules[0].filters",
                "at most one filter of type RequestRedirect",
            ),
            (
                "/rules/0/filters/0/type",
                r#""ExtensionRef""#,
                "spec.rules[0].filters[0]",
                "`requestRedirect` goes with the type RequestRedirect",
            ),
            ("/rules/0/matches/0/path/type", r#""Exact""#, "spec.rules[0]", PREFIX),
            ("/rules/0/matches/-", "{}", "spec.rules[0]", PREFIX),
            (redirect!("hostname"), r#""a\r\nSet-Cookie: b""#, told_at!("hostname"), FORMAT),
            (redirect!("hostname"), r#""*.a""#, told_at!("hostname"), FORMAT),
            (redirect!("statusCode"), "999", told_at!("statusCode", " "), "Unsupported value"),
            (redirect!("scheme"), r#""ftp""#, told_at!("scheme", " "), "Unsupported value"),
            (redirect!("port"), "0", told_at!("port"), "greater than or equal to 1"),
        ],
    );
    told(
        &sample::http_routes()[2],
        &[
            ("/rules/0/matches/0/path/type", r#""Exact""#, "spec.rules[0]", PREFIX),
            ("/rules/0/matches", "[]", "spec.rules[0]", PREFIX),
        ],
    );
    let mut below = sample::http_routes()[2].clone();
    put(&mut below["spec"], "/rules/0/filters", "-");
    told(&below, &[("/rules/0/matches/-", "{}", "spec.rules[0]", PREFIX)]);
    let with_redirect = r#"[{"type": "RequestRedirect", "requestRedirect": {
        "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}}]"#;
    put(&mut below["spec"], "/rules/0/backendRefs/0/filters", with_redirect);
    told(&below, &[("/rules/0/matches/-", "{}", "spec.rules[0]", PREFIX)]);
}

#[test]
fn grpc_routes() {
    const METHOD: &str = "spec.rules[0].matches[0].method";
    told(
        &sample::grpc_routes()[0],
        &[
            ("/rules/0/matches/0/method", "{}", METHOD, "a service, a method or both"),
            ("/rules/0/matches/0/method/service", r#""a/b""#, METHOD, "identifiers with dots between them"),
            ("/rules/0/matches/0/method/service", r#""1a""#, METHOD, "identifiers with dots between them"),
            ("/rules/0/matches/0/method/method", r#""a.b""#, METHOD, "a method's name is an identifier"),
            (
                "/rules/0/filters/0/type",
                r#""URLRewrite""#,
                "spec.rules[0].filters[0].type ",
                "Unsupported value",
            ),
        ],
    );
}

#[test]
fn tls_routes() {
    told(
        &sample::stream_routes()[0],
        &[
            ("/hostnames/0", r#""1.2.3.4""#, "spec.hostnames", "never IP addresses"),
            ("/hostnames/0", r#""a b""#, "spec.hostnames spec.hostnames[0]", "domain names (RFC 1123)"),
            ("/hostnames/0", r#""a.*""#, "spec.hostnames spec.hostnames[0]", "domain names (RFC 1123)"),
            ("/hostnames", "[]", "spec.hostnames", "at least 1 items"),
            ("/hostnames", "-", "spec.hostnames ", "Required value"),
        ],
    );
}

#[test]
fn statuses() {
    let definitions = Definitions::ours();
    for (place, value, field) in [
        ("/parents/0/controllerName", "example.com", "status.parents[0].controllerName"),
        ("/parents/0/conditions/0/reason", "a b", "status.parents[0].conditions[0].reason"),
        ("/parents/0/conditions/0/type", "a b", "status.parents[0].conditions[0].type"),
        ("/parents/0/conditions/1/type", "Accepted", "status.parents[0].conditions[1]"),
    ] {
        let mut route = sample::http_routes()[0].clone();
        *route["status"].pointer_mut(place).unwrap() = value.into();
        let errors = definitions.judge(&mut route);
        let fields: Vec<_> = errors.iter().map(|error| &*error.field).collect();
        assert_eq!(fields, [field], "{place}: {errors:?}");
    }
}

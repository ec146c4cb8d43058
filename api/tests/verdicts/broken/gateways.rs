use super::{FORMAT, TWICE, told};
use crate::sample;

#[test]
fn listeners() {
    const FIRST: &str = "spec.listeners[0]";
    for sample in [sample::gateway(), sample::listener_set()] {
        told(
            &sample,
            &[
                (
                    "/listeners/-",
                    r#"{"name": "web", "port": 1, "protocol": "HTTP"}"#,
                    "spec.listeners spec.listeners[7]",
                    "no two listeners have one name",
                ),
                (
                    "/listeners/-",
                    r#"{"name": "web", "port": 1, "protocol": "HTTP"}"#,
                    "spec.listeners spec.listeners[7]",
                    TWICE,
                ),
                (
                    "/listeners/-",
                    r#"{"name": "more", "port": 80, "protocol": "HTTP"}"#,
                    "spec.listeners",
                    "one port, protocol and hostname",
                ),
                ("/listeners/1/hostname", "-", "spec.listeners", "one port, protocol and hostname"),
                (
                    "/listeners/0/tls",
                    r#"{"mode": "Passthrough"}"#,
                    "spec.listeners",
                    "not for listeners of HTTP",
                ),
                (
                    "/listeners/4/tls",
                    r#"{"mode": "Passthrough"}"#,
                    "spec.listeners",
                    "not for listeners of HTTP",
                ),
                ("/listeners/2/tls/mode", r#""Passthrough""#, "spec.listeners", "its mode is Terminate"),
                ("/listeners/2/tls", "{}", "spec.listeners[2].tls", "certificates to show, or options"),
                ("/listeners/3/tls", "-", "spec.listeners", "a listener of TLS says its mode"),
                ("/listeners/4/hostname", r#""a""#, "spec.listeners", "not for listeners of TCP or UDP"),
                ("/listeners/5/hostname", r#""a""#, "spec.listeners", "not for listeners of TCP or UDP"),
                ("/listeners/0/name", r#""A""#, "spec.listeners[0].name", FORMAT),
                ("/listeners/0/hostname", r#""a b""#, "spec.listeners[0].hostname", FORMAT),
                ("/listeners/0/hostname", r#""*.*.a""#, "spec.listeners[0].hostname", FORMAT),
                ("/listeners/0/port", "0", "spec.listeners[0].port", "greater than or equal to 1"),
                ("/listeners/0/protocol", r#""a b""#, "spec.listeners[0].protocol", FORMAT),
                ("/listeners/0/protocol", "-", "spec.listeners[0].protocol ", "Required value"),
                (
                    "/listeners/2/tls/options/key",
                    &format!("{:?}", "a".repeat(4097)),
                    "spec.listeners[2].tls.options.key ",
                    "Too long",
                ),
                (
                    "/listeners/0/allowedRoutes",
                    r#"{"namespaces": {"from": "None"}}"#,
                    &format!("{FIRST}.allowedRoutes.namespaces.from "),
                    "Unsupported value",
                ),
                ("/listeners", "[]", "spec.listeners", "at least 1 items"),
            ],
        );
    }
}

#[test]
fn gateways() {
    told(
        &sample::gateway(),
        &[
            ("/gatewayClassName", r#""""#, "spec.gatewayClassName", "at least 1"),
            ("/addresses/-", r#"{"value": "10.0.0.1"}"#, "spec.addresses", "no IP address is named twice"),
            (
                "/addresses/-",
                r#"{"type": "Hostname", "value": "edge.example.com"}"#,
                "spec.addresses",
                "no hostname is named twice",
            ),
            (
                "/addresses/3/value",
                r#""a b""#,
                "spec.addresses[3]",
                "an address of type Hostname is a domain name",
            ),
            ("/addresses/0/value", r#""10.0.0""#, " spec.addresses[0].value", "oneOf"),
            ("/addresses/0/type", r#""a b""#, "spec.addresses[0].type", FORMAT),
            ("/infrastructure/labels/a b", r#""""#, "spec.infrastructure.labels", "a key is a name"),
            ("/infrastructure/labels/team", r#""a b""#, "spec.infrastructure.labels.team", FORMAT),
            ("/infrastructure/annotations/-a", r#""""#, "spec.infrastructure.annotations", "a key is a name"),
            (
                "/allowedListeners/namespaces/from",
                r#""Some""#,
                "spec.allowedListeners.namespaces.from ",
                "Unsupported value",
            ),
            (
                "/tls/frontend/perPort/-",
                r#"{"port": 443, "tls": {}}"#,
                "spec.tls.frontend.perPort spec.tls.frontend.perPort[2]",
                "no port is named twice",
            ),
            (
                "/tls/frontend/default/validation/caCertificateRefs",
                "[]",
                "spec.tls.frontend.default.validation.caCertificateRefs",
                "at least 1 items",
            ),
        ],
    );
    let mut many = sample::gateway();
    let key = format!("{}/b", ["a".repeat(63), "a".repeat(63), "a".repeat(63), "a".repeat(61)].join("."));
    many["spec"]["infrastructure"]["labels"][key] = "a".into();
    told(&many, &[("/gatewayClassName", r#""a""#, "spec.infrastructure.labels", "at most 252 characters")]);
}

#[test]
fn classes_grants_and_policies() {
    told(
        &sample::class(),
        &[
            ("/controllerName", r#""example.com""#, "spec.controllerName", FORMAT),
            ("/controllerName", "-", "spec.controllerName ", "Required value"),
            ("/parametersRef/namespace", r#""a.b""#, "spec.parametersRef.namespace", FORMAT),
            ("/parametersRef/group", "-", "spec.parametersRef.group ", "Required value"),
        ],
    );
    told(
        &sample::grant(),
        &[
            ("/from", "[]", "spec.from", "at least 1 items"),
            ("/from/0/namespace", r#""A""#, "spec.from[0].namespace", FORMAT),
            ("/to/0/kind", r#""1""#, "spec.to[0].kind", FORMAT),
            ("/to/1/name", r#""""#, "spec.to[1].name", "at least 1"),
        ],
    );
    let targets = "spec.targetRefs";
    let validation = "spec.validation";
    told(
        &sample::policy(),
        &[
            (
                "/targetRefs/-",
                r#"{"group": "", "kind": "Service", "name": "cart"}"#,
                targets,
                "with a sectionName each time",
            ),
            (
                "/targetRefs/-",
                r#"{"group": "", "kind": "Service", "name": "stock"}"#,
                targets,
                "no two targetRefs",
            ),
            ("/targetRefs/1/sectionName", r#""https""#, targets, "no two targetRefs"),
            ("/targetRefs", "[]", targets, "at least 1 items"),
            ("/validation/wellKnownCACertificates", r#""System""#, validation, "exclude each other"),
            (
                "/validation/wellKnownCACertificates",
                r#""Other""#,
                "spec.validation spec.validation.wellKnownCACertificates",
                FORMAT,
            ),
            (
                "/validation/caCertificateRefs",
                "[]",
                validation,
                "one of caCertificateRefs and wellKnownCACertificates",
            ),
            ("/validation/hostname", r#""*.a""#, "spec.validation.hostname", FORMAT),
            ("/validation/hostname", "-", "spec.validation.hostname ", "Required value"),
            (
                "/validation/subjectAltNames/0/hostname",
                "-",
                "spec.validation.subjectAltNames[0]",
                "`hostname` goes with the type Hostname",
            ),
            (
                "/validation/subjectAltNames/0/uri",
                r#""a://b""#,
                "spec.validation.subjectAltNames[0]",
                "`uri` goes with the type URI",
            ),
            ("/validation/subjectAltNames/1/uri", r#""a""#, "spec.validation.subjectAltNames[1].uri", FORMAT),
        ],
    );
}

use super::*;

fn ask(method: &str, uri: &str) -> Result<Target, Error> {
    parse(&method.parse().unwrap(), &uri.parse().unwrap())
}

fn object(method: &str, uri: &str) -> ResourceRequest {
    match ask(method, uri) {
        Ok(Target::Resource(request)) => *request,
        other => panic!("{uri} gave {other:?}"),
    }
}

#[test]
fn a_namespaced_object_is_read_from_the_path() {
    let request = object("GET", "/apis/apps/v1/namespaces/shop/deployments/web/status");
    assert_eq!((request.group.as_str(), request.version.as_str()), ("apps", "v1"));
    assert_eq!(request.resource, "deployments");
    assert_eq!(request.namespace.as_deref(), Some("shop"));
    assert_eq!(request.name.as_deref(), Some("web"));
    assert_eq!(request.subresource.as_deref(), Some("status"));
    assert_eq!(request.verb, Verb::Get);
}

#[test]
fn a_namespace_is_an_object_and_not_its_own_scope() {
    for (uri, subresource) in [
        ("/api/v1/namespaces/shop", None),
        ("/api/v1/namespaces/shop/status", Some("status")),
        ("/api/v1/namespaces/shop/finalize", Some("finalize")),
    ] {
        let request = object("PUT", uri);
        assert_eq!((request.resource.as_str(), request.namespace.as_deref()), ("namespaces", None), "{uri}");
        assert_eq!(request.name.as_deref(), Some("shop"));
        assert_eq!(request.subresource.as_deref(), subresource);
    }
}

#[test]
fn the_verb_follows_method_name_and_watch() {
    for (method, uri, verb) in [
        ("GET", "/api/v1/pods", Verb::List),
        ("GET", "/api/v1/pods?watch=1", Verb::Watch),
        ("GET", "/api/v1/namespaces/a/pods/b", Verb::Get),
        ("POST", "/api/v1/namespaces/a/pods", Verb::Create),
        ("POST", "/api/v1/namespaces/a/pods/b/eviction", Verb::Create),
        ("PUT", "/api/v1/namespaces/a/pods/b", Verb::Update),
        ("PATCH", "/api/v1/namespaces/a/pods/b", Verb::Patch),
        ("DELETE", "/api/v1/namespaces/a/pods/b", Verb::Delete),
        ("DELETE", "/api/v1/namespaces/a/pods", Verb::DeleteCollection),
        ("OPTIONS", "/api/v1/namespaces/a/pods/b/proxy/x?watch=1", Verb::Unnamed),
    ] {
        assert_eq!(object(method, uri).verb, verb, "{method} {uri}");
    }
}

#[test]
fn a_method_that_means_nothing_is_refused() {
    for (method, uri) in [
        ("POST", "/api"),
        ("PUT", "/api/v1/pods"),
        ("POST", "/api/v1/namespaces/a/pods/b"),
        ("OPTIONS", "/api/v1/namespaces/a/pods/b"),
    ] {
        assert!(matches!(ask(method, uri), Err(Error::Method { .. })), "{method} {uri}");
    }
}

#[test]
fn discovery_health_and_documents_have_their_own_targets() {
    assert_eq!(
        ask("GET", "/readyz/ping"),
        Ok(Target::Health { of: "readyz", check: Some("ping".to_owned()) })
    );
    assert_eq!(ask("GET", "/api"), Ok(Target::CoreVersions));
    assert_eq!(ask("GET", "/apis/"), Ok(Target::Groups));
    assert_eq!(ask("GET", "/apis/apps"), Ok(Target::Group("apps".into())));
    assert_eq!(
        ask("GET", "/apis/apps/v1"),
        Ok(Target::GroupVersion { group: "apps".into(), version: "v1".into() })
    );
    assert_eq!(ask("GET", "/openapi/v3/apis/apps/v1"), Ok(Target::OpenApi("v3/apis/apps/v1".into())));
    assert!(matches!(ask("GET", "/nowhere"), Err(Error::UnknownPath { .. })));
}

#[test]
fn an_encoded_slash_cannot_reach_another_key() {
    for uri in ["/api/v1/namespaces/a%2Fb/pods", "/api/v1/namespaces/%2E%2E/pods", "/api/v1/pods/%FF"] {
        assert!(matches!(ask("GET", uri), Err(Error::Segment { .. })), "{uri}");
    }
}

#[test]
fn what_is_passed_on_is_not_looked_into() {
    for path in ["", "/", "/x/y", "/a%2Fb", "/../c", "/%ff", "/x//y"] {
        for query in ["", "?dryRun=x", "?watch=1&resourceVersion=no", "?a=%ff"] {
            for (method, verb) in [("GET", Verb::Get), ("POST", Verb::Create)] {
                let request =
                    object(method, &format!("/api/v1/namespaces/a/services/web/proxy{path}{query}"));
                assert_eq!((request.verb, request.name.as_deref()), (verb, Some("web")), "{path}{query}");
                assert_eq!(request.subresource.as_deref(), Some("proxy"));
            }
        }
    }
    assert!(matches!(ask("GET", "/api/v1/namespaces/a/services/w%2Fb/proxy/"), Err(Error::Segment { .. })));
}

#[test]
fn one_object_is_read_also_where_its_query_asks_for_a_watch() {
    assert_eq!(object("GET", "/api/v1/namespaces/a/pods/b?watch=true").verb, Verb::Get);
    assert_eq!(object("GET", "/api/v1/namespaces/a/pods?watch=true").verb, Verb::Watch);
}

#[test]
fn the_older_paths_of_watches_are_read_in_all_their_forms() {
    for (uri, group, namespace, resource, name) in [
        ("/api/v1/watch/pods", "", None, "pods", None),
        ("/api/v1/watch/nodes/a", "", None, "nodes", Some("a")),
        ("/api/v1/watch/namespaces", "", None, "namespaces", None),
        ("/api/v1/watch/namespaces/a", "", None, "namespaces", Some("a")),
        ("/api/v1/watch/namespaces/a/pods", "", Some("a"), "pods", None),
        (
            "/apis/apps/v1/watch/namespaces/a/deployments/b?watch=0",
            "apps",
            Some("a"),
            "deployments",
            Some("b"),
        ),
    ] {
        let request = object("GET", uri);
        assert_eq!((request.verb, request.group.as_str()), (Verb::Watch, group), "{uri}");
        assert_eq!((request.namespace.as_deref(), request.resource.as_str()), (namespace, resource), "{uri}");
        assert_eq!(request.name.as_deref(), name, "{uri}");
    }
    assert!(matches!(ask("POST", "/api/v1/watch/pods"), Err(Error::Method { .. })));
    let below = "/api/v1/watch/namespaces/a/pods/b/log";
    assert!(matches!(ask("GET", below), Err(Error::UnknownPath { .. })));
    assert_eq!(object("GET", "/api/v1/watch").verb, Verb::List, "a resource that nobody has");
}

#[test]
fn an_overlong_url_is_refused() {
    let uri = format!("/api/v1/pods?labelSelector={}", "a".repeat(URL_LIMIT));
    assert!(matches!(ask("GET", &uri), Err(Error::UrlTooLong { .. })));
}

#[test]
fn what_another_server_has_is_read_no_further_than_its_place() {
    let uri: Uri = "/apis/a.example/v1/namespaces/shop/things/x/files/a%2Fb/c?limit=many".parse().unwrap();
    assert!(parse(&Method::GET, &uri).is_err());
    let Target::Resource(read) = parse_passed_on(&Method::GET, &uri).unwrap() else {
        panic!("it is a resource")
    };
    assert_eq!((read.namespace.as_deref(), &*read.resource), (Some("shop"), "things"));
    assert_eq!((read.name.as_deref(), read.subresource.as_deref()), (Some("x"), Some("files")));
    assert_eq!(group_version(uri.path()), Some(("a.example", "v1")));
    assert_eq!(group_version("/api/v1/pods"), Some(("", "v1")));
    assert_eq!(group_version("/apis/a.example"), None);
    assert_eq!(group_version("/version/x/y"), None);
}

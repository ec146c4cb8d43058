use super::*;
use crate::config::{Action, RedirectStatus, RouteMatch};

fn route(prefix: &str) -> Route {
    let path = PathMatch::Prefix(prefix.into());
    Route::new("r", RouteMatch { path, ..RouteMatch::default() }, Action::Forward(Vec::new()))
}

fn origin() -> Origin {
    Origin { address: HeaderValue::from_static("192.0.2.1"), scheme: Scheme::Http, server_name: None }
}

#[test]
fn a_prefix_is_replaced_by_whole_segments() {
    let cases = [
        ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
        ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
        ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"),
        ("/foo/bar", "/foo/", "/xyz/", "/xyz/bar"),
        ("/foo", "/foo", "/xyz", "/xyz"),
        ("/foo/", "/foo", "/xyz", "/xyz/"),
        ("/foo/bar", "/foo", "", "/bar"),
        ("/foo/", "/foo", "", "/"),
        ("/foo", "/foo", "", "/"),
        ("/foo/", "/foo", "/", "/"),
        ("/foo", "/foo", "/", "/"),
        ("/bar", "/", "/xyz", "/xyz/bar"),
    ];
    for (path, prefix, replacement, expected) in cases {
        let rewrite = PathRewrite::ReplacePrefix(replacement.into());
        assert_eq!(changed_path(&rewrite, &route(prefix), path), expected, "{path} {prefix} {replacement}");
    }
}

#[test]
fn a_redirect_keeps_what_it_does_not_change_and_omits_a_schemes_own_port() {
    let https = Redirect { scheme: Some(RedirectScheme::Https), ..Redirect::default() };
    let cases = [
        (Redirect::default(), "h:8080", "http://h:8080/a/b?q=1"),
        (Redirect::default(), "h:80", "http://h/a/b?q=1"),
        (https.clone(), "h:8080", "https://h/a/b?q=1"),
        (Redirect { port: Some(443), ..https.clone() }, "h", "https://h/a/b?q=1"),
        (Redirect { port: Some(8443), ..https }, "h", "https://h:8443/a/b?q=1"),
        (Redirect { hostname: Some("other".into()), ..Redirect::default() }, "h", "http://other/a/b?q=1"),
        (
            Redirect { path: Some(PathRewrite::ReplacePrefix("/z".into())), ..Redirect::default() },
            "h",
            "http://h/z/b?q=1",
        ),
        (
            Redirect { path: Some(PathRewrite::ReplaceFull("/z".into())), ..Redirect::default() },
            "h",
            "http://h/z?q=1",
        ),
        (Redirect::default(), "[::1]:81", "http://[::1]:81/a/b?q=1"),
    ];
    let target = Uri::from_static("/a/b?q=1");
    for (wanted, host, expected) in cases {
        let response = redirect(&wanted, &route("/a"), host, &origin(), &target);
        assert_eq!(response.headers()[LOCATION], expected, "{wanted:?}");
        assert_eq!(response.status(), 302);
    }
    let permanent = Redirect { status: RedirectStatus::PermanentRedirect, ..Redirect::default() };
    assert_eq!(redirect(&permanent, &route("/"), "h", &origin(), &target).status(), 308);
}

#[test]
fn headers_are_set_then_added_then_removed() {
    let name = http::HeaderName::from_static;
    let value = HeaderValue::from_static;
    let modifier = HeaderModifier {
        set: vec![(name("a"), value("new")), (name("connection"), value("close"))],
        add: vec![(name("a"), value("more")), (name("b"), value("1"))],
        remove: vec![name("c"), name("content-length")],
    };
    let mut headers = HeaderMap::new();
    headers.append("a", value("1"));
    headers.append("a", value("2"));
    headers.append("c", value("gone"));
    headers.append("content-length", value("3"));
    change_headers(&modifier, &mut headers);
    assert_eq!(headers.get_all("a").iter().collect::<Vec<_>>(), ["new", "more"]);
    assert_eq!(headers["b"], "1");
    assert!(!headers.contains_key("c"));
    assert!(!headers.contains_key("connection") && headers["content-length"] == "3", "framing stays");
}

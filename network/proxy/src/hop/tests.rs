use super::*;

fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    fields
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect()
}

fn names(headers: &HeaderMap) -> Vec<&str> {
    let mut names = headers.keys().map(HeaderName::as_str).collect::<Vec<_>>();
    names.sort_unstable();
    names
}

#[test]
fn what_belongs_to_one_hop_goes_with_what_connection_names() {
    let mut request = headers(&[
        ("connection", "close, X-Mine"),
        ("connection", "keep-alive,x-other"),
        ("x-mine", "1"),
        ("x-other", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-authorization", "Basic x"),
        ("te", "trailers"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("trailer", "x-sum"),
        ("accept", "*/*"),
    ]);
    strip(&mut request);
    assert_eq!(names(&request), ["accept", "trailer"]);
}

#[test]
fn a_client_cannot_name_away_what_the_proxy_tells() {
    let mut request = headers(&[
        ("connection", "host, content-length, x-forwarded-for"),
        ("host", "h"),
        ("content-length", "3"),
        ("x-forwarded-for", "192.0.2.1"),
    ]);
    strip(&mut request);
    assert_eq!(names(&request), ["content-length", "host", "x-forwarded-for"]);
}

#[test]
fn the_client_is_added_behind_those_before_it() {
    let origin =
        Origin { address: HeaderValue::from_static("203.0.113.9"), scheme: Scheme::Https, server_name: None };
    let mut request = headers(&[
        ("host", "h:1"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-for", "192.0.2.2, 192.0.2.3"),
        ("x-forwarded-proto", "http"),
    ]);
    tell_origin(&mut request, &origin);
    let chain = request.get_all("x-forwarded-for").iter().collect::<Vec<_>>();
    assert_eq!(chain, ["192.0.2.1, 192.0.2.2, 192.0.2.3, 203.0.113.9"]);
    assert_eq!(request["x-forwarded-proto"], "https");
    assert_eq!(request["x-forwarded-host"], "h:1");
}

#[test]
fn cookie_crumbs_are_joined() {
    let mut request = headers(&[("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")]);
    join_cookies(&mut request);
    assert_eq!(request.get_all("cookie").iter().collect::<Vec<_>>(), ["a=1; b=2; c=3"]);
}

#[test]
fn trailers_are_taken_only_where_te_says_so() {
    assert!(takes_trailers(&headers(&[("te", "gzip, Trailers")])));
    assert!(!takes_trailers(&headers(&[("te", "gzip")])));
}

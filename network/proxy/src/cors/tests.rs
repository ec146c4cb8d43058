use super::*;
use crate::config::Origin;

fn rules() -> Cors {
    Cors {
        origins: vec![Origin::new("https://www.foo.com"), Origin::new("https://*.bar.com")],
        credentials: true,
        methods: CorsList::Some(vec![Method::GET, Method::PUT]),
        headers: CorsList::All,
        max_age: 60,
        ..Cors::default()
    }
}

fn asking(origin: &str) -> Parts {
    let request = http::Request::builder()
        .method("OPTIONS")
        .header("origin", origin)
        .header("access-control-request-method", "PUT")
        .header("access-control-request-headers", "x-a");
    request.body(()).unwrap().into_parts().0
}

#[test]
fn a_preflight_of_a_permitted_origin_is_told_what_it_may_do() {
    for origin in ["https://www.foo.com", "https://a.bar.com", "https://a.b.BAR.com"] {
        let answer = preflight(&rules(), &asking(origin)).unwrap();
        let header = |name: &str| answer.headers().get(name).unwrap().to_str().unwrap();
        assert_eq!(answer.status(), 204);
        assert_eq!(header("access-control-allow-origin"), origin);
        assert_eq!(header("access-control-allow-methods"), "GET, PUT");
        assert_eq!(header("access-control-allow-headers"), "x-a");
        assert_eq!(header("access-control-allow-credentials"), "true");
        assert_eq!(header("access-control-max-age"), "60");
        assert_eq!(header("vary"), "origin");
    }
}

#[test]
fn other_origins_are_permitted_nothing() {
    for origin in ["https://foo.com", "https://bar.com", "https://.bar.com.evil", "http://a.bar.com", "null"]
    {
        let answer = preflight(&rules(), &asking(origin)).unwrap();
        assert!(answer.headers().keys().all(|name| !name.as_str().starts_with("access-control")), "{origin}");
    }
}

#[test]
fn what_is_no_preflight_goes_its_way_and_its_answer_is_permitted() {
    let mut request = asking("https://www.foo.com");
    request.method = Method::GET;
    assert!(preflight(&rules(), &request).is_none());
    let mut headers = HeaderMap::new();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
    assert!(permit(&rules(), request.headers.get(ORIGIN), &mut headers));
    assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], "https://www.foo.com");
    assert!(!permit(&rules(), Some(&HeaderValue::from_static("https://evil")), &mut headers));
    assert!(!headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
}

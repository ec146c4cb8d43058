//! What is said of a request is what becomes of it.

use http::{HeaderName, Method, Request};
use xebec_proxy::config::{
    Action, Config, Domain, HostMatch, Listener, PathMatch, Protocol, Redirect, Route, RouteMatch,
    ValueMatch, VirtualHost,
};
use xebec_proxy::explain::{Explanation, Outcome};
use xebec_proxy::proxy::{Limits, Proxy};

use crate::peers::{backend, raw, serving_with};

fn routes() -> Vec<VirtualHost> {
    let at = |id: &str, matcher| Route::new(id, matcher, Action::Redirect(Redirect::default()));
    let under = |path: &str| RouteMatch { path: PathMatch::Prefix(path.into()), ..RouteMatch::default() };
    let beta = (HeaderName::from_static("x-beta"), ValueMatch::Exact("1".into()));
    let shop = vec![
        at("cart", under("/cart")),
        at("post", RouteMatch { method: Some(Method::POST), ..under("/cart") }),
        at("beta", RouteMatch { headers: vec![beta], ..under("/cart") }),
        at("query", RouteMatch { query: vec![("q".into(), ValueMatch::Exact("1".into()))], ..under("/") }),
    ];
    vec![
        VirtualHost { host: HostMatch::Exact("shop.test".into()), routes: shop },
        VirtualHost { host: HostMatch::Suffix("wide.test".into()), routes: vec![at("wide", under("/cart"))] },
    ]
}

fn config() -> Config {
    let domain = |id: &str, host, hosts| Domain { id: id.into(), host, hosts };
    let protocol = Protocol::Http(vec![
        domain("infra/web/shops", HostMatch::Suffix("test".into()), routes()),
        domain("infra/web/bare", HostMatch::Exact("bare".into()), Vec::new()),
    ]);
    let tcp = Protocol::Tcp(vec![backend("db", 1, vec!["127.0.0.1:1".parse().unwrap()])]);
    let address = "127.0.0.1:0".parse().unwrap();
    let other = "127.0.0.2:0".parse().unwrap();
    Config { listeners: vec![Listener { address, protocol }, Listener { address: other, protocol: tcp }] }
}

fn asked(
    proxy: &Proxy,
    at: std::net::SocketAddr,
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
) -> Explanation {
    let target: http::Uri = url.parse().unwrap();
    let mut request = Request::builder().method(method).header("host", target.authority().unwrap().as_str());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.uri(target.path_and_query().unwrap().as_str()).body(()).unwrap().into_parts().0;
    proxy.explainer().explain(|address| address == at, false, &request).remove(0)
}

fn taken(explanation: &Explanation) -> &str {
    match &explanation.outcome {
        Outcome::Route { route, .. } => &route.id,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_route_is_named_with_its_listener_and_what_the_others_lack() {
    let (proxy, front) = serving_with(config(), Limits::default()).await;
    let explained = asked(&proxy, front, "GET", "http://Shop.test:80/cart/1", &[("x-beta", "2")]);
    assert_eq!((explained.domain.as_deref(), taken(&explained)), (Some("infra/web/shops"), "cart"));
    let misses: Vec<_> = explained.misses.iter().map(|miss| (&*miss.route, miss.lacks.join("; "))).collect();
    let expected = [
        ("beta", r#"header x-beta "1", not "2""#),
        ("post", "method POST, not GET"),
        ("query", r#"parameter q "1", and there is none"#),
        ("wide", r#"host "*.wide.test", not "Shop.test""#),
    ];
    assert_eq!(misses, expected.map(|(route, lacks)| (route, lacks.to_owned())));

    let explained = asked(&proxy, front, "POST", "http://shop.test/cart?q=1", &[("x-beta", "1")]);
    assert_eq!(taken(&explained), "post");
    let outranked = explained.misses.iter().filter(|miss| miss.lacks.is_empty()).count();
    assert_eq!(outranked, 3, "{:?}", explained.misses);
}

#[tokio::test]
async fn what_no_route_takes_is_told_with_the_nearest() {
    let (mut proxy, front) = serving_with(config(), Limits::default()).await;
    let nowhere = asked(&proxy, front, "GET", "http://shop.test/", &[]);
    assert!(matches!(&nowhere.outcome, Outcome::Refused { status: Some(status), .. } if *status == 404));
    assert_eq!(&*nowhere.misses[0].route, "cart");
    assert_eq!(nowhere.misses[0].lacks, [r#"path under "/cart", not "/""#]);
    let bare = asked(&proxy, front, "GET", "http://bare/", &[]);
    assert_eq!((bare.domain.as_deref(), bare.misses.len()), (Some("infra/web/bare"), 0));
    let unknown = asked(&proxy, front, "GET", "http://unknown/", &[]);
    assert!(unknown.domain.is_none() && matches!(unknown.outcome, Outcome::Refused { .. }));
    // A listener that is gone is asked no more.
    proxy.apply(Config::default()).await;
    let request = Request::new(()).into_parts().0;
    assert_eq!(proxy.explainer().explain(|_| true, false, &request), []);
}

#[tokio::test]
async fn requests_go_where_it_was_said() {
    let (proxy, front) = serving_with(config(), Limits::default()).await;
    for host in ["shop.test", "a.wide.test", "wide.test", "bare", "other"] {
        for target in ["/", "/cart", "/cart/1", "/carts", "/?q=1", "/cart?q=2"] {
            for (method, beta) in [("GET", "0"), ("POST", "0"), ("GET", "1"), ("POST", "1")] {
                let said =
                    asked(&proxy, front, method, &format!("http://{host}{target}"), &[("x-beta", beta)]);
                let head = "HTTP/1.1\r\nConnection: close\r\nContent-Length: 0\r\n";
                let request = format!("{method} {target} {head}Host: {host}\r\nX-Beta: {beta}\r\n\r\n");
                let status = if matches!(said.outcome, Outcome::Route { .. }) { "302" } else { "404" };
                let answer = raw(front, &request).await;
                assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request} {said:?}");
                let takes = said.misses.iter().any(|miss| miss.lacks.is_empty());
                assert!(status == "302" || !takes, "{request}: a route that lacks nothing is not taken");
            }
        }
    }
}

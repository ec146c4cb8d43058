use super::*;
use crate::config::{Action, HostMatch, Pattern, RouteMatch, ValueMatch};

fn route(id: &str, matcher: RouteMatch) -> Route {
    Route::new(id, matcher, Action::Forward(Vec::new()))
}

fn at(id: &str, path: PathMatch) -> Route {
    route(id, RouteMatch { path, ..RouteMatch::default() })
}

fn found(table: &RouteTable, host: &str, target: &str) -> String {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    table
        .find(host, &Method::GET, path, query, &HeaderMap::new())
        .map_or("none".into(), |route| route.id.to_string())
}

#[test]
fn exact_host_beats_longest_suffix_beats_any() {
    let host = |host, id| VirtualHost { host, routes: vec![at(id, PathMatch::Prefix("/".into()))] };
    let table = RouteTable::new(vec![
        host(HostMatch::Any, "any"),
        host(HostMatch::Suffix("example.com".into()), "short"),
        host(HostMatch::Suffix("b.example.com".into()), "long"),
        host(HostMatch::Exact("A.example.com".into()), "exact"),
    ]);
    let cases = [
        ("a.EXAMPLE.com", "exact"),
        ("x.example.com", "short"),
        ("x.b.example.com", "long"),
        ("b.example.com", "short"),
        ("example.com", "any"),
    ];
    for (name, expected) in cases {
        assert_eq!(found(&table, name, "/"), expected, "{name}");
    }
}

#[test]
fn exact_path_beats_longest_prefix_beats_regex_and_prefixes_match_whole_segments() {
    let table = RouteTable::new(vec![VirtualHost {
        host: HostMatch::Any,
        routes: vec![
            at("regex", PathMatch::Regex(Pattern::new("/ab?").unwrap())),
            at("a", PathMatch::Prefix("/a".into())),
            at("a-b", PathMatch::Prefix("/a/b/".into())),
            at("exact", PathMatch::Exact("/a/b".into())),
        ],
    }]);
    let cases =
        [("/a/b", "exact"), ("/a/b/c", "a-b"), ("/a/bc", "a"), ("/a", "a"), ("/ab", "regex"), ("/x", "none")];
    for (path, expected) in cases {
        assert_eq!(found(&table, "h", path), expected, "{path}");
    }
}

#[test]
fn more_conditions_win_and_equal_matches_keep_the_callers_order() {
    let parameter = |id, value: &str| {
        let query = vec![("v".to_owned(), ValueMatch::Exact(value.into()))];
        route(id, RouteMatch { query, ..RouteMatch::default() })
    };
    let table = RouteTable::new(vec![VirtualHost {
        host: HostMatch::Any,
        routes: vec![
            at("first", PathMatch::Prefix("/".into())),
            at("second", PathMatch::Prefix("/".into())),
            parameter("query", "2"),
            route("post", RouteMatch { method: Some(Method::POST), ..RouteMatch::default() }),
        ],
    }]);
    assert_eq!(found(&table, "h", "/"), "first");
    assert_eq!(found(&table, "h", "/?v=2"), "query");
    assert_eq!(found(&table, "h", "/?v=3&v=2"), "first");
    let posted = table.find("h", &Method::POST, "/", Some("v=2"), &HeaderMap::new()).unwrap();
    assert_eq!(&*posted.id, "post");
}

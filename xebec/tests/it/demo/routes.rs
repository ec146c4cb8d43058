//! Weights and routes, edited while requests come in.

use super::*;

#[test]
fn a_thousand_requests_are_split_by_weight_and_an_edit_shows_at_once() {
    let Some(cluster) = Cluster::demo() else { return };
    let curl = Curl::of(&cluster);
    // Four standard deviations, were each request sent by chance.
    let about = |counts: &BTreeMap<String, usize>, v1: usize| {
        let found = counts.get("hello from v1").copied().unwrap_or_default();
        assert!(found.abs_diff(v1) <= 60, "{v1} were to go to v1: {counts:?}");
        assert_eq!(counts.values().sum::<usize>(), 1000);
    };
    about(&curl.answers(1000), 750);
    let mut waits = Vec::new();
    for (v1, v2, only) in [(0, 1, "hello from v2\n"), (1, 0, "hello from v1\n"), (0, 5, "hello from v2\n")] {
        waits.push(shown_after(
            || weigh(&cluster, v1, v2),
            || (0..10).all(|_| curl.run(&[]).is_ok_and(|answer| answer == only)),
        ));
    }
    assert!(waits.iter().min().is_some_and(|wait| *wait < AT_ONCE), "{waits:?}");
    weigh(&cluster, 1, 1);
    until("answers of both versions", || (curl.answers(20).len() == 2).then_some(()));
    about(&curl.answers(1000), 500);
}

#[test]
fn an_edited_route_changes_answers_at_once_and_fails_none() {
    let Some(cluster) = Cluster::demo() else { return };
    let curl = Curl::of(&cluster);
    let backends = json!([{"name": "hello-v1", "port": 80}]);
    let mut waits = Vec::new();
    for value in ["one", "two", "three"] {
        let filter = json!({"type": "ResponseHeaderModifier",
            "responseHeaderModifier": {"set": [{"name": "x-edition", "value": value}]}});
        let edited = json!({"spec": {"rules": [{"backendRefs": backends, "filters": [filter]}]}});
        waits.push(shown_after(
            || patch_route(&cluster, &edited),
            || {
                let head = curl.run(&["--include"]).expect("no request fails while routes change");
                head.contains(&format!("x-edition: {value}\r\n"))
            },
        ));
    }
    assert!(waits.iter().min().is_some_and(|wait| *wait < AT_ONCE), "{waits:?}");
    let elsewhere = json!({"spec": {"rules": [{
        "matches": [{"path": {"type": "PathPrefix", "value": "/elsewhere"}}],
        "filters": [{"type": "URLRewrite",
            "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}}],
        "backendRefs": backends,
    }]}});
    patch_route(&cluster, &elsewhere);
    until("nothing at the old path", || curl.run(&[]).is_err().then_some(()));
    let moved = Curl { url: format!("{}elsewhere", curl.url) };
    assert_eq!(moved.answer(), "hello from v1\n");
    cluster.kubectl("delete httproute hello --timeout=60s");
    until("nothing anywhere", || moved.run(&[]).is_err().then_some(()));
    assert_eq!(cluster.get("gateway demo")["status"]["listeners"][0]["attachedRoutes"], 0);
}

#[test]
fn an_applied_application_of_ones_own_answers_by_its_hostname() {
    let Some(cluster) = Cluster::demo() else { return };
    cluster.apply(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      containers:
      - name: shop
        image: localhost/demo/hello:v1
        ports: [{containerPort: 8080}]
        env: [{name: GREETING, value: welcome to}, {name: VERSION, value: the shop}]
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: shop}
spec: {selector: {app: shop}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop}
spec:
  parentRefs: [{name: demo}]
  hostnames: [shop.example]
  rules: [{backendRefs: [{name: shop, port: 80}]}]
"#,
    );
    cluster.kubectl("wait deployment/shop --for=condition=Available --timeout=60s");
    let curl = Curl::of(&cluster);
    let welcome = until("the shop's answer", || {
        curl.run(&["--header", "host: shop.example"]).ok().filter(|answer| !answer.starts_with("hello"))
    });
    assert_eq!(welcome, "welcome to the shop\n");
    assert!(curl.answer().starts_with("hello from "), "other hosts are the demo's");
}

//! Objects that nothing runs: written, read, watched, explained, refused.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

use crate::cluster::{Cluster, until};

const WIDGETS: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget, shortNames: [wg]}
  versions:
  - name: v1
    served: true
    storage: true
    additionalPrinterColumns: [{name: Size, type: integer, jsonPath: .spec.size}]
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            description: What a widget should be.
            required: [size]
            properties: {size: {type: integer, minimum: 1}}
"#;

fn widget(size: &str) -> String {
    format!("apiVersion: example.com/v1\nkind: Widget\nmetadata: {{name: one}}\nspec: {{size: {size}}}\n")
}

fn with_widgets() -> Option<Cluster> {
    let cluster = Cluster::start()?;
    cluster.apply(WIDGETS);
    cluster.kubectl("wait --for=condition=Established crd/widgets.example.com --timeout=60s");
    Some(cluster)
}

#[test]
fn configmaps_secrets_and_namespaces_are_made_changed_and_deleted() {
    let Some(cluster) = Cluster::start() else { return };
    cluster.kubectl("create namespace shop");
    cluster.kubectl("create configmap settings -n shop --from-literal=colour=red");
    cluster.kubectl("create secret generic door -n shop --from-literal=key=open");
    assert_eq!(cluster.get("configmap settings -n shop")["data"]["colour"], "red");
    assert_eq!(cluster.get("secret door -n shop")["data"]["key"], "b3Blbg==");
    cluster.kubectl(r#"patch configmap settings -n shop --type=merge -p={"data":{"colour":"blue"}}"#);
    cluster.kubectl("label secret door -n shop tier=front");
    assert_eq!(cluster.get("configmap settings -n shop")["data"]["colour"], "blue");
    assert_eq!(cluster.get("secrets -n shop -l tier=front")["items"][0]["metadata"]["name"], "door");
    cluster.kubectl("delete configmap settings -n shop --timeout=60s");
    assert!(cluster.refused("get configmap settings -n shop", "").contains("NotFound"));
    cluster.kubectl("delete namespace shop --timeout=60s");
    assert!(cluster.refused("get namespace shop", "").contains("NotFound"));
    assert!(cluster.refused("get secret door -n shop", "").contains("NotFound"));
}

#[test]
fn a_defined_kind_is_served_printed_and_checked() {
    let Some(cluster) = with_widgets() else { return };
    cluster.apply(&widget("3"));
    let table = cluster.kubectl("get wg");
    let rows: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows, [["NAME", "SIZE"], ["one", "3"]]);
    let complaint = cluster.refused("apply -f -", &widget("three"));
    assert!(complaint.contains("spec.size") && complaint.contains("integer"), "{complaint}");
    cluster.kubectl("delete crd widgets.example.com --timeout=60s");
    until("the kind to be gone", || (!cluster.run("get widgets", "").status.success()).then_some(()));
}

#[test]
fn a_defined_kind_is_explained_in_its_definitions_words() {
    let Some(cluster) = with_widgets() else { return };
    let explained = until("the kind's documentation", || {
        let output = cluster.run("explain widgets.spec", "");
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    });
    assert!(explained.contains("What a widget should be."), "{explained}");
}

#[test]
fn a_defined_kinds_bounds_are_enforced() {
    let Some(cluster) = with_widgets() else { return };
    let complaint = cluster.refused("apply -f -", &widget("0"));
    assert!(
        complaint.contains("spec.size") && complaint.contains("greater than or equal to 1"),
        "{complaint}"
    );
}

#[test]
fn a_server_side_apply_against_another_manager_names_the_manager_and_the_field() {
    let Some(cluster) = Cluster::start() else { return };
    let settings = |colour: &str| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings}}\ndata: {{colour: {colour}}}\n")
    };
    let apply = |manager: &str| format!("apply --server-side --field-manager={manager} -f -");
    assert!(cluster.run(&apply("alice"), &settings("red")).status.success());
    let complaint = cluster.refused(&apply("bob"), &settings("blue"));
    assert!(
        complaint.contains(r#"conflict with "alice""#) && complaint.contains(".data.colour"),
        "{complaint}"
    );
    assert_eq!(cluster.get("configmap settings")["data"]["colour"], "red");
    let forced = format!("{} --force-conflicts", apply("bob"));
    assert!(cluster.run(&forced, &settings("blue")).status.success());
    assert_eq!(cluster.get("configmap settings")["data"]["colour"], "blue");
}

#[test]
fn builtin_kinds_are_explained() {
    let Some(cluster) = Cluster::start() else { return };
    let explained = cluster.kubectl("explain deployment.spec.replicas");
    for part in ["GROUP:      apps", "KIND:       Deployment", "FIELD: replicas <integer>"] {
        assert!(explained.contains(part), "{part:?} is missing in {explained}");
    }
    assert!(cluster.refused("explain deployment.spec.replicaz", "").contains("replicaz"));
}

#[test]
fn an_unknown_field_is_refused_by_its_path() {
    let Some(cluster) = Cluster::start() else { return };
    let manifest =
        "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 80}], colour: red}\n";
    let complaint = cluster.refused("apply -f -", manifest);
    assert!(complaint.contains(r#"unknown field "spec.colour""#), "{complaint}");
    assert!(cluster.refused("get service s", "").contains("NotFound"));
    assert!(cluster.run("apply --validate=ignore -f -", manifest).status.success());
}

#[test]
fn a_dry_run_and_a_diff_show_what_would_be_and_change_nothing() {
    let Some(cluster) = Cluster::start() else { return };
    let settings = |colour: &str| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings}}\ndata: {{colour: {colour}}}\n")
    };
    let dry = cluster.run("apply --dry-run=server -o=jsonpath={.metadata.uid} -f -", &settings("red"));
    assert!(dry.status.success() && !dry.stdout.is_empty(), "the server fills the object in");
    assert!(cluster.refused("get configmap settings", "").contains("NotFound"));
    cluster.apply(&settings("red"));
    let changed = cluster.run("diff -f -", &settings("blue"));
    let shown = String::from_utf8_lossy(&changed.stdout);
    assert_eq!(changed.status.code(), Some(1), "{shown}");
    assert!(shown.contains("-  colour: red") && shown.contains("+  colour: blue"), "{shown}");
    assert_eq!(cluster.run("diff -f -", &settings("red")).status.code(), Some(0));
    assert_eq!(cluster.get("configmap settings")["data"]["colour"], "red");
}

#[test]
fn a_second_creation_and_an_outdated_replacement_are_conflicts() {
    let Some(cluster) = Cluster::start() else { return };
    cluster.kubectl("create configmap settings --from-literal=colour=red");
    let again = cluster.refused("create configmap settings --from-literal=colour=blue", "");
    assert!(again.contains("already exists"), "{again}");
    let outdated = cluster.get("configmap settings").to_string();
    cluster.kubectl("label configmap settings tier=front");
    let complaint = cluster.refused("replace -f -", &outdated);
    assert!(
        complaint.contains("Conflict") && complaint.contains("the object has been modified"),
        "{complaint}"
    );
    assert_eq!(cluster.get("configmap settings")["metadata"]["labels"]["tier"], "front");
}

#[test]
fn users_learn_who_they_are_and_what_they_may_do() {
    let Some(cluster) = Cluster::start() else { return };
    assert!(cluster.kubectl("auth whoami").contains("admin"));
    assert_eq!(cluster.kubectl("auth can-i create pods").trim(), "yes");
    assert!(cluster.kubectl("auth can-i --list").contains("*.*"));
}

#[test]
fn a_watch_sees_every_change() {
    let Some(cluster) = Cluster::start() else { return };
    cluster.kubectl("create configmap watched --from-literal=colour=red");
    let mut watch = cluster
        .command(r#"get configmap watched --watch -o=jsonpath={.data.colour}{"\n"}"#)
        .stdout(Stdio::piped())
        .spawn()
        .expect("kubectl starts");
    let lines = BufReader::new(watch.stdout.take().expect("stdout")).lines();
    let (sender, seen) = mpsc::channel();
    let reader =
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let next = || seen.recv_timeout(Duration::from_secs(60)).expect("the watch shows a line in time");
    assert_eq!(next(), "red");
    for colour in ["green", "blue"] {
        cluster.kubectl(&format!(
            r#"patch configmap watched --type=merge -p={{"data":{{"colour":"{colour}"}}}}"#
        ));
        assert_eq!(next(), colour);
    }
    watch.kill().unwrap();
    watch.wait().unwrap();
    assert_eq!(reader.join().unwrap(), Ok(()));
}

#[test]
fn the_parts_that_run_are_well_and_the_others_are_not() {
    let Some(cluster) = Cluster::start() else { return };
    let told = |cluster: &Cluster| -> Vec<(String, String)> {
        let told = cluster.kubectl("get componentstatuses --no-headers");
        let fields = told.lines().map(|line| line.split_whitespace().take(2).map(str::to_owned));
        fields.filter_map(|mut fields| Some((fields.next()?, fields.next()?))).collect()
    };
    let all = |manager: &str, scheduler: &str| {
        [("controller-manager", manager), ("scheduler", scheduler), ("etcd-0", "Healthy")]
            .map(|(name, is)| (name.to_owned(), is.to_owned()))
    };
    assert_eq!(told(&cluster), all("Healthy", "Healthy"));
    drop(cluster);
    for (without, [manager, scheduler]) in
        [("controllers", ["Unhealthy", "Healthy"]), ("node", ["Healthy", "Unhealthy"])]
    {
        let cluster = Cluster::started(&["up", "--without", without]);
        assert_eq!(told(&cluster), all(manager, scheduler), "--without {without}");
    }
}

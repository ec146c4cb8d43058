use std::time::UNIX_EPOCH;

use super::*;
use crate::builtin;
use crate::resource::{Scope, Version};
use crate::schema::{Node, Shape};

/// 2026-01-02T00:00:00Z
fn options() -> Options {
    let now = UNIX_EPOCH + std::time::Duration::from_secs(1_767_312_000);
    Options { version: MetaVersion::V1, include: Include::None, headers: true, now }
}

/// Heading and cell by heading, as a wide table shows them.
fn printed(group: &str, plural: &str, object: &Value) -> Value {
    let resource = builtin::find(group, plural).unwrap();
    let table = Printer::new(resource, &resource.storage).object(object, &options());
    let headings = table["columnDefinitions"].as_array().unwrap().iter();
    let cells = table["rows"][0]["cells"].as_array().unwrap().iter();
    headings
        .zip(cells)
        .map(|(heading, cell)| (heading["name"].as_str().unwrap().to_owned(), cell.clone()))
        .collect()
}

/// Checks the named cells.
#[track_caller]
fn shows(group: &str, plural: &str, object: Value, expected: Value) {
    let printed = printed(group, plural, &object);
    for (heading, cell) in expected.as_object().unwrap() {
        assert_eq!(&printed[heading], cell, "{heading} of {printed}");
    }
}

fn pod(spec: Value, status: Value) -> Value {
    json!({
        "metadata": {"name": "web", "creationTimestamp": "2026-01-01T23:54:30Z"},
        "spec": spec, "status": status,
    })
}

#[test]
fn a_running_pod_shows_what_kubectl_shows() {
    let object = pod(
        json!({"containers": [{"name": "a"}, {"name": "b"}], "nodeName": "n1",
               "readinessGates": [{"conditionType": "www"}, {"conditionType": "x"}]}),
        json!({
            "phase": "Running", "podIPs": [{"ip": "10.0.0.5"}],
            "conditions": [{"type": "www", "status": "True"}],
            "containerStatuses": [
                {"name": "a", "ready": true, "restartCount": 3, "state": {"running": {}},
                 "lastState": {"terminated": {"finishedAt": "2026-01-01T23:54:55Z"}}},
                {"name": "b", "ready": false, "restartCount": 0, "state": {"running": {}}},
            ],
        }),
    );
    shows(
        "",
        "pods",
        object,
        json!({
            "Name": "web", "Ready": "1/2", "Status": "Running", "Restarts": "3 (5m5s ago)", "Age": "5m30s",
            "IP": "10.0.0.5", "Node": "n1", "Nominated Node": "<none>", "Readiness Gates": "1/2",
        }),
    );
}

#[test]
fn the_status_of_a_pod_says_what_holds_it_up() {
    let one = json!({"containers": [{"name": "a"}]});
    let with_init = json!({"initContainers": [{"name": "i"}, {"name": "j"}], "containers": [{"name": "a"}]});
    let sidecar =
        json!({"initContainers": [{"name": "i", "restartPolicy": "Always"}], "containers": [{"name": "a"}]});
    let waiting = |reason: &str| json!({"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": reason}}}]});
    let init = |state: Value| {
        json!({"phase": "Pending", "initContainerStatuses": [
        {"name": "i", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}, {"name": "j", "state": state, "restartCount": 2},
    ], "containerStatuses": [{"state": {"waiting": {"reason": "PodInitializing"}}}]})
    };
    let ended =
        |state: Value| json!({"phase": "Failed", "containerStatuses": [{"state": {"terminated": state}}]});
    let completed = |ready: &str| {
        json!({"phase": "Running", "conditions": [{"type": "Ready", "status": ready}],
        "containerStatuses": [
            {"state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}, {"ready": true, "state": {"running": {}}},
        ]})
    };
    for (spec, status, ready, expected) in [
        (&one, json!({"phase": "Pending"}), "0/1", "Pending"),
        (&one, waiting("CrashLoopBackOff"), "0/1", "CrashLoopBackOff"),
        (&one, waiting("ImagePullBackOff"), "0/1", "ImagePullBackOff"),
        (&one, json!({"phase": "Failed", "reason": "Evicted"}), "0/1", "Evicted"),
        (&one, ended(json!({"exitCode": 1, "reason": "Error"})), "0/1", "Error"),
        (&one, ended(json!({"exitCode": 3})), "0/1", "ExitCode:3"),
        (&one, ended(json!({"exitCode": 3, "signal": 9})), "0/1", "Signal:9"),
        (&one, ended(json!({"exitCode": 0, "reason": "Completed"})), "0/1", "Completed"),
        (&one, completed("True"), "1/1", "Running"),
        (&one, completed("False"), "1/1", "NotReady"),
        (
            &one,
            json!({"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]}),
            "0/1",
            "SchedulingGated",
        ),
        (&with_init, init(json!({"running": {}})), "0/1", "Init:1/2"),
        (&with_init, init(json!({"waiting": {"reason": "PodInitializing"}})), "0/1", "Init:1/2"),
        (
            &with_init,
            init(json!({"waiting": {"reason": "CrashLoopBackOff"}})),
            "0/1",
            "Init:CrashLoopBackOff",
        ),
        (&with_init, init(json!({"terminated": {"exitCode": 1, "reason": "Error"}})), "0/1", "Init:Error"),
        (&with_init, init(json!({"terminated": {"exitCode": 1}})), "0/1", "Init:ExitCode:1"),
        (
            &sidecar,
            json!({"phase": "Running",
            "initContainerStatuses": [{"name": "i", "started": true, "ready": true, "state": {"running": {}}}],
            "containerStatuses": [{"ready": true, "state": {"running": {}}}]}),
            "2/2",
            "Running",
        ),
    ] {
        shows("", "pods", pod(spec.clone(), status), json!({"Ready": ready, "Status": expected}));
    }
    let mut going = pod(one.clone(), json!({"phase": "Running"}));
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    shows("", "pods", going.clone(), json!({"Status": "Terminating"}));
    going["status"]["reason"] = "NodeLost".into();
    shows("", "pods", going, json!({"Status": "Unknown"}));
    shows("", "pods", pod(with_init, init(json!({"running": {}}))), json!({"Restarts": "2"}));
}

#[test]
fn a_row_of_a_finished_pod_says_so() {
    let resource = builtin::find("", "pods").unwrap();
    let object = pod(json!({}), json!({"phase": "Succeeded"}));
    let table = Printer::new(resource, "v1").object(&object, &options());
    assert_eq!(table["rows"][0]["conditions"][0]["type"], "Completed");
    assert_eq!(table["rows"][0]["conditions"][0]["reason"], "Succeeded");
}

#[test]
fn workloads_show_how_far_they_are() {
    let metadata = json!({"name": "x", "creationTimestamp": "2025-12-31T20:00:00Z"});
    let template =
        json!({"spec": {"containers": [{"name": "a", "image": "i:1"}, {"name": "b", "image": "j:2"}]}});
    let selector = json!({"matchLabels": {"app": "web"}, "matchExpressions": [
        {"key": "tier", "operator": "In", "values": ["b", "a"]}, {"key": "gone", "operator": "DoesNotExist"}]});
    shows(
        "apps",
        "deployments",
        json!({
            "metadata": metadata, "spec": {"replicas": 3, "template": template, "selector": selector},
            "status": {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 1},
        }),
        json!({
            "Name": "x", "Ready": "2/3", "Up-to-date": 3, "Available": 1, "Age": "28h", "Containers": "a,b", "Images": "i:1,j:2",
            "Selector": "app=web,!gone,tier in (a,b)",
        }),
    );
    shows(
        "apps",
        "replicasets",
        json!({"spec": {"replicas": 3}, "status": {"replicas": 2, "readyReplicas": 1}}),
        json!({"Desired": 3, "Current": 2, "Ready": 1, "Age": "<unknown>", "Selector": "<none>"}),
    );
    shows(
        "apps",
        "statefulsets",
        json!({"spec": {"replicas": 2}, "status": {"readyReplicas": 2}}),
        json!({"Ready": "2/2"}),
    );
    shows(
        "batch",
        "jobs",
        json!({
            "spec": {"completions": 5}, "status": {"succeeded": 5, "startTime": "2026-01-01T00:00:00Z",
            "completionTime": "2026-01-01T00:00:42Z", "conditions": [{"type": "Complete", "status": "True"}]},
        }),
        json!({"Status": "Complete", "Completions": "5/5", "Duration": "42s"}),
    );
    shows(
        "batch",
        "jobs",
        json!({"spec": {"parallelism": 3}}),
        json!({"Status": "Running", "Completions": "0/1 of 3", "Duration": ""}),
    );
    shows(
        "batch",
        "cronjobs",
        json!({
            "spec": {"schedule": "* * * * *", "suspend": false},
            "status": {"active": [{}], "lastScheduleTime": "2026-01-01T23:59:30Z"},
        }),
        json!({"Schedule": "* * * * *", "Timezone": "<none>", "Suspend": "False", "Active": 1, "Last Schedule": "30s"}),
    );
    shows(
        "apps",
        "controllerrevisions",
        json!({
            "metadata": {"ownerReferences": [{"controller": true, "kind": "StatefulSet", "apiVersion": "apps/v1", "name": "db"}]},
            "revision": 4,
        }),
        json!({"Controller": "statefulset.apps/db", "Revision": 4}),
    );
    shows(
        "autoscaling",
        "horizontalpodautoscalers",
        json!({
            "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "minReplicas": 1, "maxReplicas": 9, "metrics": [
                {"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 80}}},
                {"type": "Pods", "pods": {"target": {"averageValue": "10"}}},
                {"type": "Resource", "resource": {"name": "memory", "target": {"averageValue": "1Gi"}}},
            ]},
            "status": {"currentReplicas": 2, "currentMetrics": [{"resource": {"current": {"averageUtilization": 12}}}]},
        }),
        json!({
            "Reference": "Deployment/web", "Targets": "cpu: 12%/80%, <unknown>/10 + 1 more...", "MinPods": "1", "MaxPods": 9,
            "Replicas": 2,
        }),
    );
    shows(
        "policy",
        "poddisruptionbudgets",
        json!({"spec": {"maxUnavailable": "25%"}, "status": {"disruptionsAllowed": 1}}),
        json!({"Min Available": "N/A", "Max Unavailable": "25%", "Allowed Disruptions": 1}),
    );
}

#[test]
fn the_network_shows_where_things_are() {
    let service = |spec: Value, status: Value| json!({"spec": spec, "status": status});
    shows(
        "",
        "services",
        service(
            json!({
                "type": "NodePort", "clusterIPs": ["10.1.2.3"], "selector": {"b": "2", "a": "1"},
                "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}],
            }),
            json!({}),
        ),
        json!({
            "Type": "NodePort", "Cluster-IP": "10.1.2.3", "External-IP": "<none>", "Port(s)": "80:30080/TCP,53/UDP",
            "Selector": "a=1,b=2",
        }),
    );
    for (status, expected) in [
        (json!({}), "<pending>"),
        (
            json!({"loadBalancer": {"ingress": [{"ip": "9.9.9.9"}, {"hostname": "lb.example.com"}]}}),
            "9.9.9.9,lb.example.com",
        ),
    ] {
        shows(
            "",
            "services",
            service(json!({"type": "LoadBalancer"}), status),
            json!({"External-IP": expected}),
        );
    }
    let addresses: Vec<Value> = (1..6).map(|last| json!({"ip": format!("10.0.0.{last}")})).collect();
    shows(
        "",
        "endpoints",
        json!({"subsets": [{"addresses": addresses, "ports": [{"port": 80}]}]}),
        json!({"Endpoints": "10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 + 2 more..."}),
    );
    shows("", "endpoints", json!({}), json!({"Endpoints": "<none>"}));
    shows(
        "discovery.k8s.io",
        "endpointslices",
        json!({
            "addressType": "IPv4", "ports": [{"port": 80}, {"name": "x"}, {}], "endpoints": [{"addresses": ["10.0.0.1"]}],
        }),
        json!({"AddressType": "IPv4", "Ports": "80,x,*", "Endpoints": "10.0.0.1"}),
    );
    shows(
        "networking.k8s.io",
        "ingresses",
        json!({
            "spec": {"ingressClassName": "xebec", "rules": [{"host": "a.example"}, {}], "tls": [{}]},
        }),
        json!({"Class": "xebec", "Hosts": "a.example", "Address": "", "Ports": "80, 443"}),
    );
    shows(
        "networking.k8s.io",
        "networkpolicies",
        json!({"spec": {"podSelector": {}}}),
        json!({"Pod-Selector": "<none>"}),
    );
}

#[test]
fn the_cluster_shows_its_nodes_volumes_and_rights() {
    shows(
        "",
        "nodes",
        json!({
            "metadata": {"name": "n", "labels": {"node-role.kubernetes.io/control-plane": "", "kubernetes.io/role": "edge"}},
            "spec": {"unschedulable": true},
            "status": {"conditions": [{"type": "Ready", "status": "True"}], "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
                       "nodeInfo": {"kubeletVersion": "v1.34.0"}},
        }),
        json!({
            "Status": "Ready,SchedulingDisabled", "Roles": "control-plane,edge", "Version": "v1.34.0", "Internal-IP": "10.0.0.1",
            "External-IP": "<none>", "OS-Image": "<unknown>",
        }),
    );
    shows(
        "",
        "persistentvolumes",
        json!({
            "spec": {"capacity": {"storage": "5Gi"}, "accessModes": ["ReadWriteMany", "ReadWriteOnce"],
                     "persistentVolumeReclaimPolicy": "Retain", "claimRef": {"namespace": "a", "name": "b"}, "storageClassName": "fast"},
            "status": {"phase": "Bound"},
        }),
        json!({
            "Capacity": "5Gi", "Access Modes": "RWO,RWX", "Reclaim Policy": "Retain", "Status": "Bound", "Claim": "a/b",
            "StorageClass": "fast", "VolumeAttributesClass": "<unset>", "VolumeMode": "<unset>",
        }),
    );
    shows(
        "",
        "persistentvolumeclaims",
        json!({"spec": {"resources": {"requests": {"storage": "1Gi"}}}, "status": {"phase": "Pending"}}),
        json!({"Status": "Pending", "Volume": "", "Capacity": "", "Access Modes": ""}),
    );
    shows(
        "storage.k8s.io",
        "storageclasses",
        json!({
            "metadata": {"name": "s", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}, "provisioner": "p",
        }),
        json!({"Name": "s (default)", "ReclaimPolicy": "Delete", "AllowVolumeExpansion": false}),
    );
    shows(
        "rbac.authorization.k8s.io",
        "rolebindings",
        json!({
            "roleRef": {"kind": "Role", "name": "r"},
            "subjects": [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "namespace": "ns", "name": "sa"}],
        }),
        json!({"Role": "Role/r", "Users": "u", "Groups": "", "ServiceAccounts": "ns/sa"}),
    );
    shows(
        "rbac.authorization.k8s.io",
        "roles",
        json!({"metadata": {"name": "r", "creationTimestamp": "2026-01-01T00:00:00Z"}}),
        json!({"Name": "r", "Created At": "2026-01-01T00:00:00Z"}),
    );
    shows(
        "",
        "resourcequotas",
        json!({"status": {"hard": {"limits.cpu": "2", "pods": 4}, "used": {"pods": "1"}}}),
        json!({"Request": "pods: 1/4", "Limit": "limits.cpu: 0/2"}),
    );
    shows(
        "apiregistration.k8s.io",
        "apiservices",
        json!({
            "spec": {"service": {"namespace": "a", "name": "b"}},
            "status": {"conditions": [{"type": "Available", "status": "False", "reason": "Missing"}]},
        }),
        json!({"Service": "a/b", "Available": "False (Missing)"}),
    );
}

#[test]
fn flow_schemas_are_listed_in_the_order_in_which_they_are_tried() {
    let schema = |name: &str, precedence: u32| {
        json!({
            "metadata": {"name": name},
            "spec": {
                "matchingPrecedence": precedence,
                "priorityLevelConfiguration": {"name": "system"},
                "distinguisherMethod": {"type": "ByUser"},
            },
            "status": {"conditions": [{"type": "Dangling", "status": "False"}]},
        })
    };
    let group = "flowcontrol.apiserver.k8s.io";
    shows(
        group,
        "flowschemas",
        schema("x", 7),
        json!({"PriorityLevel": "system", "MatchingPrecedence": 7, "DistinguisherMethod": "ByUser", "MissingPL": "False"}),
    );
    shows(group, "flowschemas", json!({}), json!({"DistinguisherMethod": "<none>", "MissingPL": "?"}));
    let printer = Printer::new(crate::builtin::find(group, "flowschemas").unwrap(), "v1");
    let schemas = [schema("c", 9), schema("b", 7), schema("a", 9)];
    let table = printer.list(&json!({}), &schemas, &options());
    let names: Vec<_> = table["rows"].as_array().unwrap().iter().map(|row| row["cells"][0].clone()).collect();
    assert_eq!(names, ["b", "a", "c"]);
    shows(
        group,
        "prioritylevelconfigurations",
        json!({"spec": {"type": "Limited", "limited": {
            "nominalConcurrencyShares": 30,
            "limitResponse": {"type": "Queue", "queuing": {"queues": 64, "handSize": 6, "queueLengthLimit": 50}},
        }}}),
        json!({"Type": "Limited", "NominalConcurrencyShares": 30, "Queues": 64, "HandSize": 6, "QueueLengthLimit": 50}),
    );
    shows(
        group,
        "prioritylevelconfigurations",
        json!({"spec": {"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0}}}),
        json!({"Type": "Exempt", "NominalConcurrencyShares": "<none>", "Queues": "<none>"}),
    );
}

#[test]
fn an_event_reads_the_same_in_both_of_its_groups() {
    let expected = json!({
        "Last Seen": "60s", "Type": "Warning", "Reason": "BackOff", "Object": "pod/web", "Subobject": "spec.containers{a}",
        "Source": "kubelet, n1", "Message": "no luck", "First Seen": "5m", "Count": 7, "Name": "e",
    });
    shows(
        "",
        "events",
        json!({
            "metadata": {"name": "e"}, "type": "Warning", "reason": "BackOff", "message": " no luck\n", "count": 7,
            "involvedObject": {"kind": "Pod", "name": "web", "fieldPath": "spec.containers{a}"},
            "source": {"component": "kubelet", "host": "n1"},
            "firstTimestamp": "2026-01-01T23:55:00Z", "lastTimestamp": "2026-01-01T23:59:00Z",
        }),
        expected.clone(),
    );
    shows(
        "events.k8s.io",
        "events",
        json!({
            "metadata": {"name": "e"}, "type": "Warning", "reason": "BackOff", "note": "no luck",
            "regarding": {"kind": "Pod", "name": "web", "fieldPath": "spec.containers{a}"},
            "reportingController": "kubelet", "reportingInstance": "n1", "eventTime": "2026-01-01T23:55:00.000000Z",
            "series": {"count": 7, "lastObservedTime": "2026-01-01T23:59:00.000000Z"},
        }),
        expected,
    );
}

fn custom(columns: &[(&str, &str, &str)]) -> Resource {
    let mut version = Version::new("v1", Node::new(Shape::Any).into());
    let column = |(name, kind, path): &(&str, &str, &str)| Column {
        name: (*name).into(),
        kind: (*kind).into(),
        format: "".into(),
        description: "said".into(),
        priority: 1,
        json_path: (*path).into(),
    };
    version.columns = columns.iter().map(column).collect();
    Resource {
        group: "example.org".into(),
        kind: "Thing".into(),
        list_kind: "ThingList".into(),
        plural: "things".into(),
        singular: "thing".into(),
        short_names: Vec::new(),
        categories: Vec::new(),
        scope: Scope::Namespaced,
        verbs: Vec::new(),
        versions: vec![version],
        storage: "v1".into(),
        custom: true,
        conversion: crate::crd::Conversion::None,
        unconditional: false,
        made_by_put: false,
    }
}

#[test]
fn a_custom_resource_shows_its_columns_by_type() {
    let columns = [
        ("Text", "string", ".spec.text"),
        ("List", "string", ".spec.list"),
        ("Whole", "integer", ".spec.ratio"),
        ("Ratio", "number", ".spec.ratio"),
        ("On", "boolean", ".spec.on"),
        ("Since", "date", ".spec.since"),
        ("Never", "date", ".spec.text"),
        ("Ready", "string", r#".status.conditions[?(@.type=="Ready")].status"#),
        ("Absent", "string", ".spec.absent"),
        ("Wrong", "integer", ".spec.text"),
        ("Broken", "string", "broken["),
    ];
    let object = json!({
        "metadata": {"name": "t"},
        "spec": {"text": "x", "list": ["a", 1], "ratio": 2.75, "on": true, "since": "2026-01-01T23:00:00Z"},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    });
    let table = Printer::new(&custom(&columns), "v1").object(&object, &options());
    let expected =
        json!(["t", "x", "[\"a\",1]", 2, 2.75, true, "60m", "<invalid>", "True", null, null, null]);
    assert_eq!(table["rows"][0]["cells"], expected);
    assert_eq!(
        table["columnDefinitions"][1],
        json!({"name": "Text", "type": "string", "format": "", "description": "said", "priority": 1})
    );
}

#[test]
fn a_custom_resource_without_columns_shows_its_age() {
    let object = json!({"metadata": {"name": "t", "creationTimestamp": "2026-01-01T00:00:00Z"}});
    let table = Printer::new(&custom(&[]), "v1").object(&object, &options());
    assert_eq!(table["rows"][0]["cells"], json!(["t", "24h"]));
    assert_eq!(table["columnDefinitions"][1]["type"], "date");
}

#[test]
fn a_list_keeps_its_metadata_and_rows_carry_what_was_asked_for() {
    let resource = builtin::find("", "configmaps").unwrap();
    let printer = Printer::new(resource, "v1");
    let metadata =
        json!({"resourceVersion": "7", "continue": "abc", "remainingItemCount": 3, "selfLink": ""});
    let items = [json!({"metadata": {"name": "a"}, "data": {"x": "y"}}), json!({"metadata": {"name": "b"}})];
    let mut options = options();
    let table = printer.list(&metadata, &items, &options);
    assert_eq!(
        table["metadata"],
        json!({"resourceVersion": "7", "continue": "abc", "remainingItemCount": 3})
    );
    assert_eq!([&table["kind"], &table["apiVersion"]], ["Table", "meta.k8s.io/v1"]);
    assert_eq!(table["rows"][0], json!({"cells": ["a", 1, "<unknown>"]}));
    options.include = Include::Metadata;
    options.headers = false;
    options.version = MetaVersion::V1Beta1;
    let table = printer.list(&metadata, &items, &options);
    assert_eq!(table["columnDefinitions"], json!([]));
    let partial = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1beta1", "metadata": {"name": "b"}});
    assert_eq!(table["rows"][1]["object"], partial);
    options.include = Include::Object;
    assert_eq!(printer.list(&metadata, &items, &options)["rows"][0]["object"], items[0]);
    assert_eq!(Include::parse("Everything").unwrap_err().code(), 400);
}

#[test]
fn metadata_alone_leaves_the_rest_behind() {
    let items = [json!({"metadata": {"name": "a"}, "data": {"secret": "x"}})];
    let list = partial_metadata_list(&json!({"resourceVersion": "9"}), &items, MetaVersion::V1);
    let expected = json!({
        "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": "9"},
        "items": [{"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": {"name": "a"}}],
    });
    assert_eq!(list, expected);
}

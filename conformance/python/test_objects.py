"""The typed client over what operators do: workloads, errors, pages, rights, files of objects, and election of a leader."""

import inspect
import json
import threading
import time

import pytest
import yaml
from kubernetes import client, config, utils
from kubernetes.client.rest import ApiException
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.configmaplock import ConfigMapLock
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock

from conftest import config_map, eventually, pod, ready


def refusal(call, *arguments, **options):
    """The status that a call is refused with."""
    with pytest.raises(ApiException) as refused:
        call(*arguments, **options)
    status = json.loads(refused.value.body)
    assert (status["kind"], status["apiVersion"], status["code"]) == ("Status", "v1", refused.value.status)
    return status


def deployment(name, replicas, **strategy):
    made = pod(name, "sleep 1h")
    return {
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}},
                 "template": {"metadata": made["metadata"], "spec": made["spec"]}, **strategy}}


def test_a_deployment_rolls_out_scales_and_takes_its_pods_with_it(core, namespace):
    apps = client.AppsV1Api()
    apps.create_namespaced_deployment(namespace, deployment("it", 1))
    eventually(lambda: apps.read_namespaced_deployment_status("it", namespace).status.available_replicas == 1, "one pod is available")
    apps.patch_namespaced_deployment_scale("it", namespace, {"spec": {"replicas": 2}})
    eventually(lambda: apps.read_namespaced_deployment_status("it", namespace).status.available_replicas == 2, "two pods are available")
    apps.patch_namespaced_deployment("it", namespace, {"spec": {"template": {"metadata": {"annotations": {"round": "2"}}}}})
    eventually(
        lambda: (held := apps.read_namespaced_deployment_status("it", namespace)).status.observed_generation == held.metadata.generation
        and held.status.updated_replicas == 2 and held.status.replicas == 2, "the second revision is out", patience=45)
    assert len(apps.list_namespaced_replica_set(namespace).items) == 2
    apps.delete_namespaced_deployment("it", namespace, propagation_policy="Foreground")
    eventually(lambda: not core.list_namespaced_pod(namespace).items, "the pods are gone")


def test_a_job_completes_and_tells_when(namespace):
    batch = client.BatchV1Api()
    spec = pod("it", "exit 0")["spec"] | {"restartPolicy": "Never"}
    batch.create_namespaced_job(namespace, {"metadata": {"name": "it"}, "spec": {"template": {"spec": spec}, "completions": 2}})
    status = eventually(
        lambda: (held := batch.read_namespaced_job_status("it", namespace).status).completion_time and held, "the job completes")
    assert status.succeeded == 2
    assert status.start_time <= status.completion_time
    assert "Complete" in [c.type for c in status.conditions if c.status == "True"]


def test_a_pod_is_evicted_unless_its_budget_forbids(core, namespace):
    policy = client.PolicyV1Api()
    core.create_namespaced_pod(namespace, pod("it", "sleep 1h"))
    ready(core, namespace, "it")
    budget = {"metadata": {"name": "it"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "it"}}}}
    policy.create_namespaced_pod_disruption_budget(namespace, budget)
    eventually(
        lambda: policy.read_namespaced_pod_disruption_budget_status("it", namespace).status.current_healthy == 1, "the budget counts")
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "it", "namespace": namespace}}
    status = refusal(core.create_namespaced_pod_eviction, "it", namespace, eviction)
    assert (status["code"], status["details"]["causes"][0]["reason"]) == (429, "DisruptionBudget")
    policy.delete_namespaced_pod_disruption_budget("it", namespace)
    core.create_namespaced_pod_eviction("it", namespace, eviction)
    eventually(lambda: not core.list_namespaced_pod(namespace).items, "the pod is gone")


def test_a_pod_reads_back_as_it_was_written(core, namespace):
    spec = {
        "activeDeadlineSeconds": 600,
        "volumes": [
            {"name": "all", "projected": {"defaultMode": 0o440, "sources": [
                {"configMap": {"name": "it", "optional": True}}, {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}]}},
            {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}}],
        "containers": [{
            "name": "main", "image": "busybox", "command": ["sleep", "1h"],
            "resources": {"requests": {"cpu": "100m", "memory": "32Mi"}, "limits": {"memory": "0.5Gi"}},
            "livenessProbe": {"httpGet": {"path": "/", "port": "web", "scheme": "HTTP"}, "initialDelaySeconds": 600},
            "ports": [{"name": "web", "containerPort": 80}]}],
    }
    core.create_namespaced_pod(namespace, {"metadata": {"name": "it"}, "spec": spec})
    held = core.read_namespaced_pod("it", namespace)
    main = held.spec.containers[0]
    assert (main.resources.requests, main.resources.limits) == ({"cpu": "100m", "memory": "32Mi"}, {"memory": "512Mi"})
    assert main.liveness_probe.http_get.port == "web"
    assert held.spec.volumes[0].projected.default_mode == 0o440
    assert held.metadata.creation_timestamp.tzinfo is not None
    assert client.ApiClient().sanitize_for_serialization(held)["spec"]["volumes"][1] == spec["volumes"][1]


def test_errors_are_statuses_with_their_details(core, namespace):
    missing = refusal(core.read_namespaced_config_map, "nowhere", namespace)
    assert (missing["reason"], missing["message"]) == ("NotFound", 'configmaps "nowhere" not found')
    core.create_namespaced_config_map(namespace, config_map("it"))
    again = refusal(core.create_namespaced_config_map, namespace, config_map("it"))
    assert (again["reason"], again["details"]) == ("AlreadyExists", {"name": "it", "kind": "configmaps"})
    invalid = refusal(core.create_namespaced_pod, namespace, {"metadata": {"name": "It"}, "spec": {"containers": []}})
    assert [cause["field"] for cause in invalid["details"]["causes"]] == ["metadata.name", "spec.containers"]


def test_a_write_from_an_old_revision_is_a_conflict_and_retried(core, namespace):
    core.create_namespaced_config_map(namespace, config_map("it", count="0"))
    stale = core.read_namespaced_config_map("it", namespace)
    core.patch_namespaced_config_map("it", namespace, {"data": {"other": "1"}})
    assert refusal(core.replace_namespaced_config_map, "it", namespace, stale)["reason"] == "Conflict"

    def increment():
        held = core.read_namespaced_config_map("it", namespace)
        held.data["count"] = str(int(held.data["count"]) + 1)
        return core.replace_namespaced_config_map("it", namespace, held)

    patient = utils.Backoff(steps=100, duration=0.005, factor=1.1, jitter=0.5)
    failed = []

    def work():
        try:
            for _ in range(5):
                utils.retry_on_conflict(increment, patient)
        except Exception as error:  # Told by the test that waits for this thread.
            failed.append(error)

    writers = [threading.Thread(target=work) for _ in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert failed == []
    assert core.read_namespaced_config_map("it", namespace).data["count"] == "40"


def test_pages_tell_all_of_one_revision(core, namespace):
    for number in range(7):
        core.create_namespaced_config_map(namespace, config_map(f"it-{number}"))
    names, revisions, token = [], set(), None
    while True:
        page = core.list_namespaced_config_map(namespace, label_selector="made-by=python", limit=3, _continue=token)
        names += [item.metadata.name for item in page.items]
        revisions.add(page.metadata.resource_version)
        token = page.metadata._continue
        if len(names) == 3:
            core.create_namespaced_config_map(namespace, config_map("it-9"))
        if not token:
            break
    assert names == [f"it-{number}" for number in range(7)]
    assert len(revisions) == 1


def test_a_dry_run_is_answered_and_not_kept(core, namespace):
    assert core.create_namespaced_config_map(namespace, config_map("it"), dry_run="All").metadata.uid
    assert refusal(core.read_namespaced_config_map, "it", namespace)["code"] == 404


def test_an_account_may_do_what_its_role_allows_and_no_more(core, namespace):
    core.create_namespaced_service_account(namespace, {"metadata": {"name": "it"}})
    rights = client.RbacAuthorizationV1Api()
    rights.create_namespaced_role(namespace, {
        "metadata": {"name": "it"}, "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}]})
    rights.create_namespaced_role_binding(namespace, {
        "metadata": {"name": "it"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "it"},
        "subjects": [{"kind": "ServiceAccount", "name": "it", "namespace": namespace}]})
    token = core.create_namespaced_service_account_token("it", namespace, {"spec": {"expirationSeconds": 600}}).status.token
    own = client.Configuration()
    config.load_kube_config(client_configuration=own)
    own.cert_file = own.key_file = None
    own.api_key = {"authorization": f"Bearer {token}"}
    with client.ApiClient(own) as limited:
        who = client.AuthenticationV1Api(limited).create_self_subject_review({}).status.user_info
        assert who.username == f"system:serviceaccount:{namespace}:it"
        api = client.CoreV1Api(limited)
        eventually(lambda: client.AuthorizationV1Api(limited).create_self_subject_access_review({"spec": {"resourceAttributes": {
            "namespace": namespace, "verb": "list", "resource": "configmaps"}}}).status.allowed, "the right is known")
        api.list_namespaced_config_map(namespace)
        denied = refusal(api.delete_namespaced_config_map, "it", namespace)
        assert denied["message"] == (
            f'configmaps "it" is forbidden: User "system:serviceaccount:{namespace}:it" cannot delete resource "configmaps" '
            f'in API group "" in the namespace "{namespace}"')
        own.api_key = {"authorization": f"Bearer {token[:-8]}AAAAAAAA"}
        assert refusal(api.list_namespaced_config_map, namespace)["code"] == 401


def test_every_list_of_every_api_class_is_read_into_its_model():
    listed = 0
    for name, kind in inspect.getmembers(client, inspect.isclass):
        # The client refuses events without a time of their own, which those of the older group have not.
        if not name.endswith("Api") or name in ("CustomObjectsApi", "EventsV1Api") or not hasattr(kind, "get_api_resources"):
            continue
        api = kind()
        try:
            resources = api.get_api_resources()
        except ApiException as refused:
            assert refused.status == 404, name
            continue
        # The client may know kinds that are younger than the server.
        kinds = {resource.kind.lower() for resource in resources.resources}
        for method in dir(api):
            if method.startswith("list_") and method[5:].removesuffix("_for_all_namespaces").replace("_", "") in kinds:
                try:
                    answer = getattr(api, method)(limit=5)
                except ApiException as refused:
                    raise AssertionError(f"{name}.{method}: {refused}") from refused
                assert isinstance(answer.items, list), method
                listed += 1
    assert listed > 40


def test_metrics_of_nodes_are_read(core):
    def measured():
        try:
            return utils.get_nodes_metrics(client.ApiClient())["items"]
        except ApiException as refused:
            assert refused.status in (404, 503)

    usage = eventually(measured, "a node is measured")[0]["usage"]
    assert utils.parse_quantity(usage["memory"]) > 0


OBJECTS = """
apiVersion: v1
kind: ConfigMap
metadata: {name: one}
data: {sign: =}
---
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Service, metadata: {name: two}, spec: {ports: [{port: 80}], selector: {app: two}}}
- {apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: three}, rules: []}
"""


@pytest.mark.parametrize("apply", [False, True])
def test_files_of_objects_are_created_or_applied(core, namespace, tmp_path, apply):
    file = tmp_path / "objects.yaml"
    file.write_text(OBJECTS + "---\n" + yaml.dump(deployment("four", 0)))
    made = utils.create_from_yaml(client.ApiClient(), str(file), namespace=namespace, apply=apply)
    assert [[held.metadata.name for held in held] for held in made] == [["one"], ["two", "three"], ["four"]]
    assert core.read_namespaced_config_map("one", namespace).data == {"sign": "="}
    if apply:
        utils.create_from_directory(client.ApiClient(), str(tmp_path), namespace=namespace, apply=True)
    else:
        with pytest.raises(utils.FailToCreateError) as refused:
            utils.create_from_directory(client.ApiClient(), str(tmp_path), namespace=namespace)
        assert [error.status for error in refused.value.api_exceptions] == [409] * 4


@pytest.mark.parametrize("lock", [LeaseLock, ConfigMapLock])
def test_one_candidate_leads_and_another_follows_when_it_stops(namespace, lock):
    led, stopped = [], threading.Event()

    def run(identity, working):
        # A leader of this client steps back when its work fails.
        def lead():
            led.append(identity)
            working.wait(30)
            raise RuntimeError("done")

        leaderelection.LeaderElection(electionconfig.Config(
            lock("leader", namespace, identity), lease_duration=3, renew_deadline=2, retry_period=1,
            onstarted_leading=lead, onstopped_leading=stopped.set)).run()

    first, second = threading.Event(), threading.Event()
    threading.Thread(target=run, args=("first", first), daemon=True).start()
    eventually(lambda: led == ["first"], "the first leads")
    threading.Thread(target=run, args=("second", second), daemon=True).start()
    time.sleep(4)
    assert led == ["first"], "the second led while the first renewed"
    first.set()
    assert stopped.wait(10)
    eventually(lambda: led == ["first", "second"], "the second follows")
    second.set()

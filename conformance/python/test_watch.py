"""Watches and informers."""

import threading
import time

import pytest
from kubernetes import client, watch
from kubernetes.client.rest import ApiException
from kubernetes.informer import ADDED, BOOKMARK, DELETED, MODIFIED, SharedInformer

from conftest import config_map, eventually

MADE = "made-by=python"


def steps(core, namespace, count, **options):
    """The first events of a watch, as their types and names."""
    seen = []
    watcher = watch.Watch()
    for event in watcher.stream(core.list_namespaced_config_map, namespace, label_selector=MADE, timeout_seconds=20, **options):
        seen.append((event["type"], event["object"].metadata.name))
        if len(seen) == count:
            break
    return seen


def test_a_watch_without_a_revision_begins_with_what_is_there(core, namespace):
    for name in ("a", "b"):
        core.create_namespaced_config_map(namespace, config_map(name))
    assert sorted(steps(core, namespace, 2)) == [("ADDED", "a"), ("ADDED", "b")]


def test_a_watch_from_a_list_tells_only_what_came_after_in_order(core, namespace):
    core.create_namespaced_config_map(namespace, config_map("before"))
    revision = core.list_namespaced_config_map(namespace).metadata.resource_version
    core.create_namespaced_config_map(namespace, config_map("after"))
    core.patch_namespaced_config_map("after", namespace, {"data": {"a": "b"}})
    core.delete_namespaced_config_map("after", namespace)
    assert steps(core, namespace, 3, resource_version=revision) == [("ADDED", "after"), ("MODIFIED", "after"), ("DELETED", "after")]


def test_a_watch_ends_after_the_time_that_it_asked_for(core, namespace):
    began = time.monotonic()
    events = list(watch.Watch().stream(core.list_namespaced_config_map, namespace, label_selector=MADE, timeout_seconds=1))
    assert events == []
    assert 0.5 < time.monotonic() - began < 5


def test_a_watch_with_a_field_selector_tells_of_one_object(core, namespace):
    revision = core.list_namespaced_config_map(namespace).metadata.resource_version
    for name in ("other", "chosen", "another"):
        core.create_namespaced_config_map(namespace, config_map(name))
    core.delete_namespaced_config_map("chosen", namespace)
    told = steps(core, namespace, 2, resource_version=revision, field_selector="metadata.name=chosen")
    assert told == [("ADDED", "chosen"), ("DELETED", "chosen")]


def test_an_object_that_loses_its_label_is_deleted_to_a_watch_by_label(core, namespace):
    core.create_namespaced_config_map(namespace, config_map("it"))
    revision = core.list_namespaced_config_map(namespace).metadata.resource_version
    core.patch_namespaced_config_map("it", namespace, {"metadata": {"labels": {"made-by": None}}})
    core.patch_namespaced_config_map("it", namespace, {"metadata": {"labels": {"made-by": "python"}}})
    assert steps(core, namespace, 2, resource_version=revision) == [("DELETED", "it"), ("ADDED", "it")]


def test_a_streamed_list_ends_with_its_bookmark(core, namespace):
    for name in ("a", "b", "c"):
        core.create_namespaced_config_map(namespace, config_map(name))
    events = []
    stream = watch.Watch().stream(
        core.list_namespaced_config_map, namespace, label_selector=MADE, send_initial_events=True,
        resource_version_match="NotOlderThan", allow_watch_bookmarks=True, timeout_seconds=20)
    for event in stream:
        events.append(event)
        if event["type"] == "BOOKMARK":
            break
    assert [e["type"] for e in events] == ["ADDED"] * 3 + ["BOOKMARK"]
    assert events[-1]["raw_object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


def test_a_list_at_a_revision_to_come_is_refused(core, namespace):
    with pytest.raises(ApiException) as refused:
        core.list_namespaced_config_map(namespace, resource_version="999999999", resource_version_match="NotOlderThan", _request_timeout=10)
    assert refused.value.status == 504
    assert "Too large resource version" in refused.value.body


def test_a_watch_of_logs_tells_each_line(core, running):
    core.create_namespaced_pod(running, {
        "metadata": {"name": "logs"},
        "spec": {"restartPolicy": "Never", "containers": [
            {"name": "main", "image": "busybox", "command": ["sh", "-c", "for i in 1 2 3; do echo line $i; sleep 0.2; done"]}]}})
    eventually(lambda: core.read_namespaced_pod("logs", running).status.phase in ("Running", "Succeeded"), "the pod runs")
    lines = list(watch.Watch().stream(core.read_namespaced_pod_log, "logs", running))
    assert lines == ["line 1", "line 2", "line 3"]


class Heard:
    """What an informer tells its handlers."""

    def __init__(self, informer):
        self.events = []
        for kind in (ADDED, MODIFIED, DELETED, BOOKMARK):
            informer.add_event_handler(kind, lambda held, kind=kind: self.events.append((kind, held)))

    def of(self, name):
        return [kind for kind, held in list(self.events) if kind != BOOKMARK and held.metadata.name == name]


def test_an_informer_tells_of_each_step_and_keeps_its_cache(core, namespace):
    core.create_namespaced_config_map(namespace, config_map("there"))
    informer = SharedInformer(core.list_namespaced_config_map, namespace=namespace, label_selector=MADE)
    heard = Heard(informer)
    informer.start()
    try:
        eventually(lambda: heard.of("there") == [ADDED], "the informer lists")
        core.create_namespaced_config_map(namespace, config_map("it"))
        core.patch_namespaced_config_map("it", namespace, {"data": {"a": "b"}})
        eventually(lambda: heard.of("it") == [ADDED, MODIFIED], "the informer watches")
        assert informer.cache.get_by_key(f"{namespace}/it").data == {"a": "b"}
        core.delete_namespaced_config_map("it", namespace)
        eventually(lambda: heard.of("it") == [ADDED, MODIFIED, DELETED], "the deletion")
        assert informer.cache.list_keys() == [f"{namespace}/there"]
    finally:
        informer.stop()


def test_an_informer_agrees_with_the_store_after_many_wrote(core, namespace):
    informer = SharedInformer(core.list_namespaced_config_map, namespace=namespace, label_selector=MADE)
    informer.start()

    def write(writer):
        api = client.CoreV1Api()
        for round in range(15):
            name = f"it-{writer}-{round % 4}"
            try:
                api.create_namespaced_config_map(namespace, config_map(name))
            except ApiException as refused:
                assert refused.status == 409
                if round % 3:
                    api.patch_namespaced_config_map(name, namespace, {"data": {"round": str(round)}})
                else:
                    api.delete_namespaced_config_map(name, namespace)

    writers = [threading.Thread(target=write, args=(writer,)) for writer in range(8)]
    try:
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        stored = {
            f"{namespace}/{item.metadata.name}": item.metadata.resource_version
            for item in core.list_namespaced_config_map(namespace, label_selector=MADE).items}
        assert stored
        eventually(
            lambda: {key: informer.cache.get_by_key(key).metadata.resource_version for key in informer.cache.list_keys()} == stored,
            "the cache is what is stored")
    finally:
        informer.stop()


def test_an_informer_that_resyncs_tells_each_object_again(core, namespace):
    core.create_namespaced_config_map(namespace, config_map("it"))
    informer = SharedInformer(core.list_namespaced_config_map, namespace=namespace, label_selector=MADE, resync_period=1)
    heard = Heard(informer)
    informer.start()
    try:
        eventually(lambda: heard.of("it")[:3] == [ADDED, MODIFIED, MODIFIED], "two resyncs")
    finally:
        informer.stop()

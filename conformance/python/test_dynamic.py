"""The dynamic client, and server-side apply through it and through the typed one."""

import json
import uuid

import pytest
from kubernetes import client
from kubernetes.client.rest import ApiException
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import ConflictError, NotFoundError, ResourceNotFoundError, UnprocessibleEntityError

from conftest import config_map, eventually


@pytest.fixture
def dynamic():
    return DynamicClient(client.ApiClient())


@pytest.fixture
def kites(dynamic):
    """A custom kind of two versions with status and scale, which goes with the test."""
    group = f"k{uuid.uuid4().hex[:8]}.python.xebec.dev"
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {
                    "colour": {"type": "string", "enum": ["red", "blue"]},
                    "replicas": {"type": "integer", "default": 1},
                    "strings": {
                        "type": "array",
                        "items": {"type": "object", "required": ["name"], "properties": {
                            "name": {"type": "string"}, "length": {"type": "integer"}}},
                        "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                    },
                },
                "x-kubernetes-validations": [{"rule": "self.replicas <= 5", "message": "five at most"}],
            },
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    }
    version = {
        "served": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}},
    }
    definitions = dynamic.resources.get(api_version="apiextensions.k8s.io/v1", kind="CustomResourceDefinition")
    definitions.create({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"kites.{group}"},
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"kind": "Kite", "plural": "kites", "singular": "kite", "shortNames": ["kt"]},
            "versions": [{"name": "v1", "storage": True, **version}, {"name": "v1alpha1", "storage": False, **version}],
        },
    })

    def found():
        try:
            return dynamic.resources.get(api_version=f"{group}/v1", kind="Kite")
        except ResourceNotFoundError:
            return None

    yield eventually(found, "the kind is discovered")
    definitions.delete(f"kites.{group}")


def kite(kites, name, **spec):
    return {"apiVersion": kites.group_version, "kind": "Kite", "metadata": {"name": name}, "spec": spec}


def test_a_custom_kind_is_created_read_replaced_and_deleted(kites, namespace):
    made = kites.create(kite(kites, "it", colour="red"), namespace=namespace)
    assert (made.spec.replicas, made.metadata.generation) == (1, 1)
    changed = made.to_dict()
    changed["spec"]["colour"] = "blue"
    assert kites.replace(changed, namespace=namespace).metadata.generation == 2
    with pytest.raises(ConflictError):
        kites.replace(changed, namespace=namespace)
    assert [item.metadata.name for item in kites.get(namespace=namespace).items] == ["it"]
    kites.delete("it", namespace=namespace)
    with pytest.raises(NotFoundError):
        kites.get("it", namespace=namespace)


def test_a_custom_kind_is_read_in_its_other_version(dynamic, kites, namespace):
    kites.create(kite(kites, "it", colour="red"), namespace=namespace)
    older = dynamic.resources.get(api_version=kites.group_version + "alpha1", kind="Kite")
    read = older.get("it", namespace=namespace)
    assert (read.apiVersion, read.spec.colour) == (kites.group_version + "alpha1", "red")


def test_status_and_scale_of_a_custom_kind_are_their_own(kites, namespace):
    kites.create(kite(kites, "it"), namespace=namespace)
    status = {"status": {"replicas": 4}, "spec": {"replicas": 5}}
    kites.status.patch(status, name="it", namespace=namespace, content_type="application/merge-patch+json")
    scale = kites.scale.get("it", namespace=namespace)
    assert (scale.kind, scale.spec.replicas, scale.status.replicas) == ("Scale", 1, 4)
    kites.scale.patch({"spec": {"replicas": 3}}, name="it", namespace=namespace, content_type="application/merge-patch+json")
    assert kites.get("it", namespace=namespace).spec.replicas == 3


@pytest.mark.parametrize("spec, field", [({"colour": "green"}, "spec.colour"), ({"replicas": 6}, "spec"), ({"replicas": "one"}, "spec.replicas")])
def test_what_the_schema_or_a_rule_forbids_is_refused_by_its_field(kites, namespace, spec, field):
    with pytest.raises(UnprocessibleEntityError) as refused:
        kites.create(kite(kites, "it", **spec), namespace=namespace)
    assert field in [cause["field"] for cause in json.loads(refused.value.body)["details"]["causes"]]


def test_patches_of_three_kinds_change_a_built_in_object(dynamic, namespace):
    maps = dynamic.resources.get(api_version="v1", kind="ConfigMap")
    maps.create({"apiVersion": "v1", "kind": "ConfigMap", **config_map("it", a="1")}, namespace=namespace)

    def patch(body, content_type):
        return dict(maps.patch(body, name="it", namespace=namespace, content_type=content_type).data)

    assert patch({"data": {"b": "2"}}, "application/strategic-merge-patch+json") == {"a": "1", "b": "2"}
    assert patch({"data": {"a": None}}, "application/merge-patch+json") == {"b": "2"}
    assert patch([{"op": "add", "path": "/data/c", "value": "3"}], "application/json-patch+json") == {"b": "2", "c": "3"}


def test_a_strategic_patch_of_a_custom_kind_is_refused(kites, namespace):
    kites.create(kite(kites, "it"), namespace=namespace)
    with pytest.raises(Exception) as refused:
        kites.patch(kite(kites, "it", colour="red"), namespace=namespace)
    assert refused.value.status == 415


def test_a_collection_is_deleted_by_label_and_field(dynamic, kites, namespace):
    for name in ("a", "b", "c"):
        made = kite(kites, name)
        made["metadata"]["labels"] = {"made-by": "python" if name != "c" else "other"}
        kites.create(made, namespace=namespace)
    kites.delete(namespace=namespace, label_selector="made-by=python", field_selector="metadata.name!=b")
    assert sorted(item.metadata.name for item in kites.get(namespace=namespace).items) == ["b", "c"]


def test_a_watch_of_a_custom_kind_tells_each_step(kites, namespace):
    revision = kites.get(namespace=namespace).metadata.resourceVersion
    kites.create(kite(kites, "it"), namespace=namespace)
    kites.patch({"spec": {"colour": "red"}}, name="it", namespace=namespace, content_type="application/merge-patch+json")
    kites.delete("it", namespace=namespace)
    told = [event["type"] for event in kites.watch(namespace=namespace, resource_version=revision, timeout=2)]
    assert told == ["ADDED", "MODIFIED", "DELETED"]


def test_applied_lists_are_merged_by_their_keys_and_owned_item_by_item(kites, namespace):
    def apply(manager, *strings, **options):
        return kites.server_side_apply(kite(kites, "it", strings=list(strings)), namespace=namespace, field_manager=manager, **options)

    apply("one", {"name": "a", "length": 1})
    both = apply("two", {"name": "b", "length": 2})
    assert [s.name for s in both.spec.strings] == ["a", "b"]
    with pytest.raises(ConflictError) as refused:
        apply("two", {"name": "a", "length": 9}, {"name": "b", "length": 2})
    causes = json.loads(refused.value.body)["details"]["causes"]
    assert causes == [{"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": '.spec.strings[name="a"].length'}]
    forced = apply("two", {"name": "a", "length": 9}, force_conflicts=True)
    assert [(s.name, s.length) for s in forced.spec.strings] == [("a", 9)]


def test_an_apply_that_changes_nothing_keeps_the_revision(dynamic, namespace):
    maps = dynamic.resources.get(api_version="v1", kind="ConfigMap")
    body = {"apiVersion": "v1", "kind": "ConfigMap", **config_map("it", a="1")}
    revisions = {
        maps.server_side_apply(body, namespace=namespace, field_manager="one").metadata.resourceVersion for _ in range(3)}
    assert len(revisions) == 1


def test_the_typed_client_applies_and_gives_up_fields(core, namespace):
    def apply(**data):
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "it"}, "data": data}
        return core.patch_namespaced_config_map(
            "it", namespace, body, field_manager="typed", force=True, _content_type="application/apply-patch+yaml")

    assert apply(a="1", b="2").data == {"a": "1", "b": "2"}
    assert apply(b="2").data == {"b": "2"}
    with pytest.raises(ApiException) as refused:
        core.patch_namespaced_config_map("it", namespace, {"data": {}}, _content_type="application/apply-patch+yaml")
    assert refused.value.status == 422


def test_a_client_without_its_resource_says_so(dynamic):
    with pytest.raises(ResourceNotFoundError):
        dynamic.resources.get(api_version="nowhere.xebec.dev/v1", kind="Nothing")


def test_every_kind_that_can_be_listed_is_listed_and_told_by_its_own_kind(dynamic):
    listed = 0
    for resource in dynamic.resources.search():
        if "list" in (getattr(resource, "verbs", None) or []) and resource.kind and not resource.kind.endswith("List"):
            answer = resource.get()
            assert answer.kind.endswith("List"), resource
            listed += 1
    assert listed > 50

"""The asynchronous client."""

import asyncio
import os

import pytest
from kubernetes import aio
from kubernetes.aio import watch
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.leaderelection import electionconfig, leaderelection
from kubernetes.aio.leaderelection.resourcelock.leaselock import LeaseLock
from kubernetes.aio.stream import WsApiClient
from kubernetes.aio.utils import create_from_dict, retry_on_conflict

from conftest import config_map


def with_client(work, kind=aio.client.ApiClient):
    """Runs `work` with a client of its own."""
    async def run():
        configuration = aio.client.Configuration()
        await aio.config.load_kube_config(os.environ["KUBECONFIG"], client_configuration=configuration)
        aio.client.Configuration.set_default(configuration)
        async with kind(configuration) as api:
            return await work(api)

    return asyncio.run(run())


def test_many_at_a_time_write_and_all_is_kept(namespace):
    async def work(api):
        core = aio.client.CoreV1Api(api)
        await asyncio.gather(*(core.create_namespaced_config_map(namespace, config_map(f"it-{n}")) for n in range(100)))
        return len((await core.list_namespaced_config_map(namespace, label_selector="made-by=python")).items)

    assert with_client(work) == 100


def test_a_watch_tells_what_many_write(namespace):
    async def work(api):
        core = aio.client.CoreV1Api(api)
        revision = (await core.list_namespaced_config_map(namespace)).metadata.resource_version
        told = {}

        async def listen():
            async with watch.Watch() as watcher:
                async for event in watcher.stream(
                        core.list_namespaced_config_map, namespace, resource_version=revision, label_selector="made-by=python"):
                    told.setdefault(event["object"].metadata.name, []).append(event["type"])
                    if sum(map(len, told.values())) == 60:
                        return

        async def write(name):
            await core.create_namespaced_config_map(namespace, config_map(name))
            await core.patch_namespaced_config_map(name, namespace, {"data": {"a": "b"}})
            await core.delete_namespaced_config_map(name, namespace)

        listening = asyncio.create_task(listen())
        await asyncio.gather(*(write(f"it-{number}") for number in range(20)))
        await asyncio.wait_for(listening, 20)
        return told

    assert with_client(work) == {f"it-{number}": ["ADDED", "MODIFIED", "DELETED"] for number in range(20)}


def test_conflicts_are_retried_until_every_increment_counts(namespace):
    async def work(api):
        core = aio.client.CoreV1Api(api)
        await core.create_namespaced_config_map(namespace, config_map("it", count="0"))

        async def increment():
            held = await core.read_namespaced_config_map("it", namespace)
            held.data["count"] = str(int(held.data["count"]) + 1)
            await core.replace_namespaced_config_map("it", namespace, held)

        patient = aio.utils.Backoff(steps=200, duration=0.005, factor=1.1, jitter=0.5)
        await asyncio.gather(*(retry_on_conflict(increment, patient) for _ in range(20)))
        return (await core.read_namespaced_config_map("it", namespace)).data["count"]

    assert with_client(work) == "20"


def test_a_command_answers_what_it_printed(running):
    async def work(api):
        return await aio.client.CoreV1Api(api).connect_get_namespaced_pod_exec(
            "it", running, command=["sh", "-c", "echo out; echo err >&2"], stdin=False, stdout=True, stderr=True, tty=False)

    assert sorted(with_client(work, WsApiClient).splitlines()) == ["err", "out"]


def test_objects_are_created_of_dictionaries_and_refused_with_a_status(namespace):
    async def work(api):
        made = await create_from_dict(api, {"apiVersion": "v1", "kind": "ConfigMap", **config_map("it")}, namespace=namespace)
        with pytest.raises(ApiException) as refused:
            await aio.client.CoreV1Api(api).create_namespaced_config_map(namespace, config_map("it"))
        return made[0].metadata.name, refused.value.status

    assert with_client(work) == ("it", 409)


def test_of_two_candidates_one_leads_and_the_other_follows(namespace):
    async def work(api):
        led = []
        # The client cannot make the lease itself: it asks for it in a form that it refuses.
        await aio.client.CoordinationV1Api(api).create_namespaced_lease(namespace, {"metadata": {"name": "leader"}, "spec": {}})

        async def candidate(identity):
            async def lead():
                led.append(identity)
                await asyncio.sleep(60)

            await leaderelection.LeaderElection(electionconfig.Config(
                LeaseLock("leader", namespace, identity, api), lease_duration=3, renew_deadline=2, retry_period=1,
                onstarted_leading=lead, onstopped_leading=None)).run()

        async def until(wanted):
            while led != wanted:
                await asyncio.sleep(0.05)

        first = asyncio.create_task(candidate("first"))
        await asyncio.wait_for(until(["first"]), 10)
        second = asyncio.create_task(candidate("second"))
        await asyncio.sleep(4)
        alone = list(led)
        first.cancel()
        await asyncio.wait_for(until(["first", "second"]), 10)
        second.cancel()
        return alone

    assert with_client(work) == ["first"]

"""What the tests share: clients, a namespace of their own, and pods that run busybox."""

import time
import uuid

import pytest
from kubernetes import client, config


@pytest.fixture(scope="session", autouse=True)
def instance():
    config.load_kube_config()


@pytest.fixture
def core():
    return client.CoreV1Api()


@pytest.fixture
def namespace(core):
    name = f"python-{uuid.uuid4().hex[:8]}"
    core.create_namespace({"metadata": {"name": name}})
    yield name
    core.delete_namespace(name)


def eventually(holds, what, patience=30):
    """Waits until `holds` answers something true, and answers it."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        answer = holds()
        if answer:
            return answer
        time.sleep(0.05)
    raise AssertionError(f"did not come about: {what}")


def pod(name, command, **spec):
    return {
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "main", "image": "busybox", "command": ["sh", "-c", command]}],
            **spec,
        },
    }


def config_map(name, **data):
    return {"metadata": {"name": name, "labels": {"made-by": "python"}}, "data": data}


def ready(core, namespace, name):
    def conditions():
        status = core.read_namespaced_pod(name, namespace).status
        return any(c.type == "Ready" and c.status == "True" for c in status.conditions or [])

    eventually(conditions, f"{name} is ready")


@pytest.fixture(scope="module")
def running():
    """A pod that serves HTTP, echoes at two ports, and has a shell; and one whose main process reads what is attached."""
    core = client.CoreV1Api()
    name = f"streams-{uuid.uuid4().hex[:8]}"
    core.create_namespace({"metadata": {"name": name}})
    serve = "mkdir -p /tmp/www; echo hello > /tmp/www/index.html; httpd -p 8000 -h /tmp/www; " \
        "nc -ll -p 9000 -e sh -c 'while read line; do echo echo:$line; done' & nc -ll -p 9001 -e cat"
    made = pod("it", serve)
    made["spec"]["containers"][0]["readinessProbe"] = {"tcpSocket": {"port": 9001}, "periodSeconds": 1}
    for kind, terminal in (("terminal", True), ("reader", False)):
        reader = pod(kind, "while read line; do echo heard $line; done; sleep 1h")
        reader["spec"]["containers"][0] |= {"stdin": True, "tty": terminal}
        core.create_namespaced_pod(name, reader)
    core.create_namespaced_pod(name, made)
    for made in ("it", "terminal", "reader"):
        ready(core, name, made)
    yield name
    core.delete_namespace(name)

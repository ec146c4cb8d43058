"""Commands in pods, attachment, forwarded ports, and the proxy."""

import json
import select
import time

import pytest
from kubernetes.client.rest import ApiException
from kubernetes.stream import portforward, stream
from kubernetes.stream.ws_client import ERROR_CHANNEL


def execute(core, namespace, *command, **options):
    options = {"stdin": False, "stdout": True, "stderr": True, "tty": False, **options}
    return stream(core.connect_get_namespaced_pod_exec, "it", namespace, command=list(command), **options)


def test_a_command_answers_what_it_printed(core, running):
    assert execute(core, running, "sh", "-c", "for i in 1 2 3; do echo $i; done", stderr=False) == "1\n2\n3\n"


def test_a_command_is_asked_for_by_post_too(core, running):
    told = stream(core.connect_post_namespaced_pod_exec, "it", running, command=["echo", "posted"],
                  stdin=False, stdout=True, stderr=False, tty=False)
    assert told == "posted\n"


def test_bytes_that_are_no_text_arrive_unchanged(core, running):
    command = r"i=0; while [ $i -lt 256 ]; do printf \\$(printf %03o $i); i=$((i+1)); done"
    assert execute(core, running, "sh", "-c", command, stderr=False, binary=True) == bytes(range(256))


def test_a_long_answer_arrives_whole(core, running):
    told = execute(core, running, "sh", "-c", "yes 0123456789abcde | head -n 200000", stderr=False)
    assert len(told) == 200000 * 16 and told == "0123456789abcde\n" * 200000


@pytest.mark.parametrize("command, code", [("true", 0), ("exit 3", 3), ("sleep 1; exit 255", 255), ("kill -9 $$", 137)])
def test_a_command_answers_its_exit_code(core, running, command, code):
    held = execute(core, running, "sh", "-c", command, _preload_content=False)
    assert held.returncode is None
    held.run_forever(timeout=10)
    assert held.returncode == code


def test_output_and_errors_come_on_channels_of_their_own(core, running):
    held = execute(core, running, "sh", stdin=True, _preload_content=False)
    held.write_stdin("echo out\n")
    assert held.readline_stdout(timeout=5) == "out"
    assert not held.peek_stderr()
    held.write_stdin("echo err >&2\n")
    assert held.readline_stderr(timeout=5) == "err"
    assert not held.peek_stdout()
    held.write_stdin("exit\n")
    held.run_forever(timeout=5)
    assert json.loads(held.read_channel(ERROR_CHANNEL))["status"] == "Success"
    assert not held.is_open()


def test_a_closed_input_ends_what_reads_it(core, running):
    held = execute(core, running, "cat", stdin=True, _preload_content=False)
    assert held.subprotocol == "v5.channel.k8s.io"
    held.write_stdin("line\n")
    assert held.readline_stdout(timeout=5) == "line"
    held.close_channel(0)
    held.run_forever(timeout=10)
    assert (held.is_open(), held.returncode) == (False, 0)


def test_a_terminal_has_the_size_that_it_was_given(core, running):
    held = execute(core, running, "sh", stdin=True, stderr=False, tty=True, _preload_content=False)
    held.write_channel(4, json.dumps({"Width": 97, "Height": 31}))
    time.sleep(0.5)
    held.write_stdin("stty size; exit\n")
    held.run_forever(timeout=5)
    assert "31 97" in held.read_stdout()


def test_a_command_that_is_not_there_fails_with_its_name(core, running):
    held = execute(core, running, "no-such-command", _preload_content=False)
    held.run_forever(timeout=10)
    status = json.loads(held.read_channel(ERROR_CHANNEL))
    # How it is told is the container runtime's: as an error that names the command, or as a shell would.
    assert status["status"] == "Failure"
    codes = [cause["message"] for cause in status.get("details", {}).get("causes", []) if cause["reason"] == "ExitCode"]
    assert "no-such-command" in status["message"] or codes in (["126"], ["127"])


def test_a_command_in_a_pod_that_is_not_there_is_refused(core, running):
    with pytest.raises(ApiException) as refused:
        stream(core.connect_get_namespaced_pod_exec, "nobody", running, command=["true"], stdout=True)
    assert "404" in str(refused.value.reason)


def test_an_archive_goes_in_and_comes_out_again(core, running):
    import io
    import tarfile

    content = bytes(range(256)) * 400
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        entry = tarfile.TarInfo("data")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    held = execute(core, running, "tar", "xf", "-", "-C", "/tmp", stdin=True, binary=True, _preload_content=False)
    for start in range(0, len(packed.getvalue()), 8192):
        held.write_stdin(packed.getvalue()[start:start + 8192])
    held.close_channel(0)
    held.run_forever(timeout=20)
    assert held.returncode == 0
    told = execute(core, running, "tar", "cf", "-", "-C", "/tmp", "data", stderr=False, binary=True)
    with tarfile.open(fileobj=io.BytesIO(told)) as archive:
        assert archive.extractfile("data").read() == content


@pytest.mark.parametrize("name, terminal", [("terminal", True), ("reader", False)])
def test_what_is_attached_to_is_written_to_and_read_from(core, running, name, terminal):
    held = stream(core.connect_get_namespaced_pod_attach, name, running, container="main",
                  stdin=True, stdout=True, stderr=not terminal, tty=terminal, _preload_content=False)
    held.write_stdin("a word\n")
    told, end = "", time.monotonic() + 10
    while "heard a word" not in told and held.is_open() and time.monotonic() < end:
        told += held.read_stdout(timeout=1)
    held.close()
    assert "heard a word" in told


def received(held, length, patience=10):
    told, end = b"", time.monotonic() + patience
    while len(told) < length and time.monotonic() < end:
        if select.select([held], [], [], 0.5)[0]:
            part = held.recv(65536)
            if not part:
                break
            told += part
    return told


def test_two_ports_are_forwarded_at_a_time(core, running):
    for round in range(5):
        forward = portforward(core.connect_get_namespaced_pod_portforward, "it", running, ports="9000,9001")
        for port, answer in ((9000, b"echo:"), (9001, b"")):
            held = forward.socket(port)
            held.setblocking(True)
            held.sendall(b"line %d\n" % round)
            wanted = answer + b"line %d\n" % round
            assert received(held, len(wanted)) == wanted
            assert forward.error(port) is None
        forward.close()


def test_a_megabyte_passes_a_forwarded_port_both_ways(core, running):
    forward = portforward(core.connect_get_namespaced_pod_portforward, "it", running, ports="9001")
    held = forward.socket(9001)
    held.setblocking(True)
    content = bytes(i * 7 % 256 for i in range(1 << 20))
    for start in range(0, len(content), 1 << 16):
        held.sendall(content[start:start + (1 << 16)])
        assert received(held, 1 << 16) == content[start:start + (1 << 16)]
    forward.close()


def test_a_forwarded_port_speaks_http(core, running):
    forward = portforward(core.connect_get_namespaced_pod_portforward, "it", running, ports="8000")
    held = forward.socket(8000)
    held.setblocking(True)
    held.sendall(b"GET / HTTP/1.0\r\nHost: it\r\n\r\n")
    told = received(held, 1 << 20, patience=3)
    assert told.startswith(b"HTTP/1.1 200") or told.startswith(b"HTTP/1.0 200")
    assert told.endswith(b"hello\n")


def test_a_port_where_nobody_listens_answers_an_error(core, running):
    forward = portforward(core.connect_get_namespaced_pod_portforward, "it", running, ports="1236")
    held = forward.socket(1236)
    held.setblocking(True)
    held.sendall(b"hello")
    assert received(held, 1, patience=5) == b""
    assert forward.error(1236).startswith("error forwarding port 1236 to pod ")


def test_a_pod_is_reached_through_the_proxy(core, running):
    told = core.connect_get_namespaced_pod_proxy_with_path("it:8000", running, "index.html")
    assert told == "hello\n"


def test_a_service_is_reached_through_the_proxy(core, running):
    core.create_namespaced_service(running, {
        "metadata": {"name": "it"}, "spec": {"selector": {"app": "it"}, "ports": [{"name": "web", "port": 80, "targetPort": 8000}]}})
    end = time.monotonic() + 15
    while True:
        try:
            told = core.connect_get_namespaced_service_proxy_with_path("it:web", running, "index.html")
            break
        except ApiException as refused:
            assert refused.status == 503 and time.monotonic() < end
            time.sleep(0.1)
    assert told == "hello\n"


def test_logs_are_cut_by_lines_bytes_and_time(core, running):
    core.create_namespaced_pod(running, {
        "metadata": {"name": "lines"},
        "spec": {"restartPolicy": "Never", "containers": [
            {"name": "main", "image": "busybox", "command": ["sh", "-c", "for i in 1 2 3 4; do echo line $i; done"]}]}})
    end = time.monotonic() + 30
    while core.read_namespaced_pod("lines", running).status.phase != "Succeeded":
        assert time.monotonic() < end
        time.sleep(0.1)
    read = lambda **options: core.read_namespaced_pod_log("lines", running, **options)
    assert read() == "line 1\nline 2\nline 3\nline 4\n"
    assert read(tail_lines=2) == "line 3\nline 4\n"
    assert read(limit_bytes=9) == "line 1\nli"
    stamp, text = read(timestamps=True, tail_lines=1).split(" ", 1)
    assert stamp.endswith("Z") and text == "line 4\n"
    assert read(since_seconds=3600) == read()
    with pytest.raises(ApiException) as refused:
        read(container="other")
    assert refused.value.status == 400

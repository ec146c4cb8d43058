"""Holds queries of ours against Prometheus itself: both are given the same blocks and asked the same over HTTP.

usage: peer.py XEBEC

Prints how many answers were the same, and how many series Prometheus finds in a data directory that xebec wrote.
"""

import itertools
import json
import math
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

STEP = 15
SPAN = 6 * 3600


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def samples(begin):
    """Series as a node exporter and a server have them, with resets and gaps: lines of OpenMetrics."""
    series = []

    def add(name, labels, value, keep=lambda at: True):
        series.append((name, labels, value, keep))

    for instance, cpu, mode in itertools.product("ab", range(2), ["idle", "user", "system"]):
        rate = 1 + 3 * cpu + len(mode) + (instance == "b") * 0.37
        reset = 700 + 31 * cpu
        add("node_cpu_seconds_total", f'instance="{instance}",cpu="{cpu}",mode="{mode}"',
            lambda at, rate=rate, reset=reset: round((at % reset) * rate + math.sin(at) * 0.4 + 1, 6))
    for instance in "ab":
        add("node_memory_free_bytes", f'instance="{instance}"',
            lambda at, k=ord(instance): 4e9 + 1e9 * math.sin(at / 50 + k))
        add("node_load1", f'instance="{instance}"', lambda at, k=ord(instance): abs(math.cos(at / 30 * k)) * 4,
            lambda at, k=ord(instance): (at // 40 + k) % 5 != 0)
        add("node_temp_celsius", f'instance="{instance}"', lambda at: 20 + (at % 97) / 3 - 16)
        for at_bound, bound in enumerate(["0.1", "0.5", "1.0", "5.0", "+Inf"]):
            add("http_seconds_bucket", f'instance="{instance}",le="{bound}"',
                lambda at, n=at_bound: float(at * (n + 1) + (n > 1) * (at // 7)))
        add("http_seconds_count", f'instance="{instance}"', lambda at: float(at * 5 + at // 7))
        add("http_seconds_sum", f'instance="{instance}"', lambda at: at * 1.75)
    add("build_info", 'instance="a",version="1.2"', lambda at: 1)
    add("build_info", 'instance="b",version="1.3"', lambda at: 1)
    lines, last = [], None
    for name, labels, value, keep in sorted(series, key=lambda one: one[0]):
        if name != last:
            lines.append(f"# TYPE {name} unknown")
            last = name
        for at in range(SPAN // STEP):
            if keep(at):
                lines.append(f'{name}{{job="node",{labels}}} {value(at)!r} {begin + at * STEP}')
    return "\n".join(lines + ["# EOF", ""])


def corpus():
    """Queries that Prometheus 2.42 knows and means as later ones do."""
    gauges = ["node_memory_free_bytes", "node_load1", 'node_temp_celsius{instance="a"}', "build_info"]
    counters = ["node_cpu_seconds_total", 'node_cpu_seconds_total{mode=~"idle|user",instance!="b"}', "http_seconds_count"]
    for selector in gauges + counters:
        yield selector
        yield f"{selector} offset 10m"
        for name in ("abs ceil floor exp sqrt ln log2 log10 round sgn sort sort_desc sin cos tan asin acos atan sinh cosh tanh "
                     "asinh acosh atanh deg rad absent scalar timestamp minute hour day_of_week month year").split():
            yield f"{name}({selector})"
        for name in "sum avg min max count stddev stdvar group".split():
            yield f"{name}({selector})"
            yield f"{name} by (instance) ({selector})"
            yield f"{name} without (instance, cpu) ({selector})"
        for name in ("topk(2, {})", "bottomk by (instance) (1, {})", "quantile(0.3, {})", 'count_values("v", round({}, 100))',
                     "clamp({}, 2, 10)", "clamp_min({}, 3)", "clamp_max({}, 3)", "round({}, 0.5)", "-{}", "{} > 3",
                     "{} >= bool 3", "{} * 2 ^ 2 % 7", "1 / {}", "vector(scalar({}))", "{} and on (instance) build_info",
                     "{} unless on (instance) node_load1", "{} or build_info",
                     "{} * on (instance) group_left (version) build_info", 'label_replace({}, "x", "$1-y", "instance", "(.*)")',
                     'label_join({}, "x", "/", "instance", "job")'):
            yield name.replace("{}", selector)
        for name, window in itertools.product(
                ("avg min max sum count last stddev stdvar present absent").split(), ["1m", "7m", "1h"]):
            yield f"{name}_over_time({selector}[{window}])"
        for window in ["2m", "11m"]:
            yield f"quantile_over_time(0.7, {selector}[{window}])"
            for name in "rate irate increase delta idelta deriv changes resets".split():
                yield f"{name}({selector}[{window}])"
            yield f"predict_linear({selector}[{window}], 600)"
            yield f"sum by (instance) (rate({selector}[{window}]))"
            yield f"max_over_time(rate({selector}[{window}])[20m:1m])"
            yield f"avg_over_time({selector}[30m:2m] offset 3m)"
    for quantile in ["0", "0.5", "0.9", "0.99", "1"]:
        yield f"histogram_quantile({quantile}, rate(http_seconds_bucket[5m]))"
        yield f"histogram_quantile({quantile}, sum by (le) (rate(http_seconds_bucket[5m])))"
    for query in ["1 + 2 * 3", "time()", "pi()", '"text"', "vector(1)", "absent(nothing)", "nothing", "minute(vector(0))",
                  "rate(http_seconds_sum[5m]) / rate(http_seconds_count[5m])", "days_in_month()", "scalar(nothing)",
                  "node_load1[1m]", "node_load1 == node_load1", "sum(node_load1) > bool 1",
                  "sum(node_cpu_seconds_total) / count(node_cpu_seconds_total)", "rate(node_load1)", "sum(", "{}",
                  "node_load1 + on (job) node_load1", "topk(node_load1, 1)", "nofunction(1)", "1 and 2"]:
        yield query


def ask(base, path, params):
    url = f"{base}/api/v1/{path}?{urllib.parse.urlencode(params)}"
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        try:
            return error.code, json.loads(error.read())
        except ValueError:
            return error.code, {}


def near(one, two):
    if one == two:
        return True
    try:
        one, two = float(one), float(two)
    except (TypeError, ValueError):
        return False
    if math.isnan(one) or math.isnan(two):
        return math.isnan(one) and math.isnan(two)
    return abs(one - two) <= 1e-9 * max(abs(one), abs(two), 1e-3)


def same(one, two):
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(map(same, one, two))
    return near(one, two)


def ordered(query, data):
    """Vectors have no order but where they are sorted."""
    if isinstance(data, dict) and data.get("resultType") in ("vector", "matrix") and not query.startswith(("sort", "topk", "bottomk")):
        data["result"].sort(key=lambda series: json.dumps(series["metric"], sort_keys=True))
    return data


def serving(base, process):
    for _ in range(200):
        try:
            if ask(base, "status/buildinfo", {})[0] == 200:
                return
        except OSError:
            pass
        if process.poll() is not None:
            raise SystemExit(f"{base} ended with {process.returncode}")
        time.sleep(0.1)
    raise SystemExit(f"{base} does not serve")


def prometheus(directory, log):
    port = free_port()
    config = os.path.join(os.path.dirname(directory), "empty.yml")
    with open(config, "w", encoding="utf-8") as file:
        file.write("global: {}\n")
    process = subprocess.Popen(
        ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={directory}",
         f"--web.listen-address=127.0.0.1:{port}", "--storage.tsdb.retention.time=15d"], stdout=log, stderr=log)
    base = f"http://127.0.0.1:{port}"
    try:
        serving(base, process)
    except BaseException:
        process.terminate()
        raise
    return process, base


def main():
    xebec = sys.argv[1]
    work = tempfile.mkdtemp()
    running = []
    log = open(os.path.join(work, "log"), "w", encoding="utf-8")
    try:
        # Whole blocks of the past, evaluated between samples: later versions count the ends of ranges in another way.
        # The second is for subqueries, whose steps are whole minutes.
        begin = (int(time.time()) // 7200) * 7200 - SPAN - 7200 + 1
        data = os.path.join(work, "data.om")
        with open(data, "w", encoding="utf-8") as file:
            file.write(samples(begin))
        theirs, ours = os.path.join(work, "theirs"), os.path.join(work, "ours")
        subprocess.run(["promtool", "tsdb", "create-blocks-from", "openmetrics", "-q", data, theirs], check=True, stdout=log, stderr=log)
        shutil.copytree(theirs, os.path.join(ours, "metrics"))
        process, peer = prometheus(theirs, log)
        running.append(process)
        own = subprocess.Popen([xebec, "up", "--data", ours, "--only", "console,metrics", "--console", "127.0.0.1:0"],
                               stdout=subprocess.PIPE, stderr=log, text=True)
        running.append(own)
        if not own.stdout.readline().startswith("ready in "):
            raise SystemExit("xebec does not start")
        with open(os.path.join(ours, "endpoints.json"), encoding="utf-8") as file:
            base = "http://" + json.load(file)["prometheus"]
        passed = of = 0
        end = begin + SPAN - 900 + 7.25
        asked = [("query", {"query": query, "time": end}) for query in corpus()]
        asked += [("query_range", {"query": query, "start": end - 3600, "end": end, "step": 67}) for query in corpus()]
        for kind in ["series", "labels", "label/instance/values", "label/le/values"]:
            asked.append((kind, {"match[]": '{job="node"}', "start": begin, "end": end}))
        asked += [("format_query", {"query": query}) for query in itertools.islice(corpus(), 0, None, 9)]
        for path, params in asked:
            query = params.get("query", "")
            (code, one), (own_code, two) = ask(peer, path, params), ask(base, path, params)
            of += 1
            if code != 200 or own_code != 200:
                # Texts of errors differ from version to version.
                good = (code, one.get("errorType")) == (own_code, two.get("errorType"))
            else:
                good = same(ordered(query, one["data"]), ordered(query, two["data"]))
            passed += good
            if not good:
                print(f"{path} {params}\n  theirs {code} {json.dumps(one)[:400]}\n  ours   {own_code} {json.dumps(two)[:400]}")
        print(f"metrics-queries: {passed} of {of} passed")
        # What xebec scraped of itself, read by Prometheus out of xebec's own directory.
        wanted = {}
        for _ in range(100):
            _, answer = ask(base, "query", {"query": '{job="xebec"}'})
            wanted = {json.dumps(one["metric"], sort_keys=True) for one in answer["data"]["result"]}
            if len(wanted) > 5:
                break
            time.sleep(0.2)
        at = time.time()
        own.terminate()
        own.wait(30)
        process, peer = prometheus(os.path.join(ours, "metrics"), log)
        running.append(process)
        _, answer = ask(peer, "query", {"query": '{job="xebec"}', "time": at})
        found = {json.dumps(one["metric"], sort_keys=True) for one in answer["data"]["result"]}
        print(f"metrics-directory: {len(found & wanted)} of {len(wanted)} passed")
        if passed < of or not wanted or found < wanted:
            print(open(os.path.join(work, "log"), encoding="utf-8").read()[-3000:])
    finally:
        for process in running:
            if process.poll() is None:
                process.terminate()
                process.wait(30)
        log.close()
        shutil.rmtree(work)


if __name__ == "__main__":
    main()

"""Holds rules of ours against Prometheus itself: both scrape the same target and run the same rule files for a while.

usage: rules.py XEBEC RULES_EXAMPLE

Prints how many groups, rules, alerts and recorded series are told the same over HTTP, but for times; and how many files of
rules and of their unit tests come to the same verdict as of promtool.
"""

import glob
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

from peer import ask, free_port, same, serving

HERE = os.path.dirname(os.path.abspath(__file__))
PROMETHEUS = os.environ.get("PROMETHEUS", "prometheus")
PROMTOOL = os.environ.get("PROMTOOL", "promtool")
# Upstream's sources, if they are there: its own files are tried too.
UPSTREAM = os.environ.get("UPSTREAM", "")
RUN = 24

TARGET = """\
# TYPE requests_total counter
requests_total{path="/a",code="200"} 100
requests_total{path="/a",code="500"} 7
requests_total{path="/b",code="200"} 50
# TYPE free_bytes gauge
free_bytes{disk="x",host="db-1.example.com:9100"} 1.5e9
free_bytes{disk="y",host="[::1]:80"} 0.25
# TYPE broken gauge
broken 0
"""


class Target(http.server.BaseHTTPRequestHandler):
    begun = time.time()

    def do_GET(self):
        # One series vanishes and comes back, so that alerts are resolved and kept.
        text = TARGET + ("flapping 1\n" if time.time() - Target.begun < 8 else "")
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args):
        pass


def config(work, target, rules):
    path = os.path.join(work, "prometheus.yml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"global:\n  scrape_interval: 1s\n  evaluation_interval: 1s\n  external_labels: {{zone: z1}}\n"
                   f"rule_files: ['{rules}/*.yml']\nscrape_configs:\n- job_name: node\n"
                   f"  static_configs: [{{targets: ['{target}'], labels: {{instance: i}}}}]\n")
    return path


def without_times(value):
    """What no two runs have in common is left out."""
    if isinstance(value, dict):
        left = {"evaluationTime", "lastEvaluation", "activeAt", "keepFiringSince"}
        return {key: without_times(own) for key, own in value.items() if key not in left}
    if isinstance(value, list):
        each = [without_times(own) for own in value]
        if each and isinstance(each[0], dict) and "annotations" in each[0] and "query" not in each[0]:
            each.sort(key=lambda alert: json.dumps(alert["labels"], sort_keys=True))
        return each
    return value


def known_differently(rule):
    """The words of these errors depend on the version."""
    rule.pop("lastError", None)
    return rule


def count(name, pairs):
    passed = 0
    for what, theirs, ours in pairs:
        good = same(theirs, ours)
        passed += good
        if not good:
            print(f"{what}\n  theirs {json.dumps(theirs)[:600]}\n  ours   {json.dumps(ours)[:600]}")
    print(f"{name}: {passed} of {len(pairs)} passed")


def live(xebec, work, log, running):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Target)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    rules = os.path.join(HERE, "rules", "live")
    path = config(work, f"127.0.0.1:{server.server_port}", rules)
    port, own_port = free_port(), free_port()
    peer, base = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{own_port}"
    Target.begun = time.time() + 3
    running.append(subprocess.Popen(
        [PROMETHEUS, f"--config.file={path}", f"--storage.tsdb.path={work}/theirs", f"--web.listen-address=127.0.0.1:{port}",
         f"--web.external-url={base}"], stdout=log, stderr=log))
    running.append(subprocess.Popen(
        [xebec, "up", "--data", f"{work}/ours", "--only", "console,metrics", "--console", f"127.0.0.1:{own_port}",
         "--metrics-config", path], stdout=log, stderr=log))
    serving(peer, running[-2])
    serving(base, running[-1])
    time.sleep(RUN)
    pairs = []
    (_, theirs), (_, ours) = ask(peer, "rules", {}), ask(base, "rules", {})
    for path, params in [("rules", {"type": "alert"}), ("rules", {"type": "record"}), ("rules", {"type": "nope"})]:
        (code, one), (own, two) = ask(peer, path, params), ask(base, path, params)
        pairs.append((f"{path} {params}", [code, [group["name"] for group in one.get("data", {}).get("groups", [])]],
                      [own, [group["name"] for group in two.get("data", {}).get("groups", [])]]))
    own_groups = {(group["file"], group["name"]): group for group in ours["data"]["groups"]}
    for group in theirs["data"]["groups"]:
        other = own_groups.pop((group["file"], group["name"]), {"rules": []})
        heads = [{key: own for key, own in without_times(one).items() if key != "rules"} for one in (group, other)]
        pairs.append((group["name"], heads[0], heads[1]))
        for at, rule in enumerate(group["rules"]):
            own = other["rules"][at] if at < len(other["rules"]) else {}
            pairs.append((f"{group['name']}[{at}]", known_differently(without_times(rule)), known_differently(without_times(own))))
    pairs += [(f"{key} is ours alone", None, group) for key, group in own_groups.items()]
    (_, theirs), (_, ours) = ask(peer, "alerts", {}), ask(base, "alerts", {})
    pairs.append(("alerts", *[sorted(json.dumps(alert, sort_keys=True) for alert in without_times(one["data"]["alerts"]))
                              for one in (theirs, ours)]))
    for query in ['{__name__=~".+:.+"}', "ALERTS", "count by (alertname) (ALERTS_FOR_STATE)",
                  'count_over_time(ALERTS{alertstate="pending"}[5m]) > bool 0']:
        one, two = [sorted(json.dumps([series["metric"], series["value"][1]], sort_keys=True)
                           for series in ask(own, "query", {"query": query})[1]["data"]["result"]) for own in (peer, base)]
        pairs += [(f"{query} {key}", key in one, key in two) for key in sorted({*one, *two})]
    count("rules-live", pairs)


def words(text):
    """Verdicts without what promtool says beside them, and without paths."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(("time=", "ts=", "Unit Testing", "  WARNING"))]
    return [re.sub(r"^/?[^ ]*/([^/ ]+\.ya?ml)", r"\1", line) for line in lines]


def verdicts(example, mode, files):
    pairs = []
    for path in files:
        theirs = subprocess.run([PROMTOOL, mode, "rules", path], capture_output=True, text=True)
        ours = subprocess.run([example, mode, path], capture_output=True, text=True)
        shown = sorted(words(theirs.stdout + theirs.stderr)), sorted(words(ours.stdout + ours.stderr))
        pairs.append((f"{mode} {os.path.basename(path)}", [theirs.returncode == 0, shown[0]], [ours.returncode == 0, shown[1]]))
    return pairs


def main():
    xebec, example = sys.argv[1:]
    work = tempfile.mkdtemp()
    running = []
    log = open(os.path.join(work, "log"), "w", encoding="utf-8")
    try:
        checks = verdicts(example, "check", sorted(glob.glob(f"{HERE}/rules/files/*.yml")))
        checks += verdicts(example, "test", sorted(glob.glob(f"{HERE}/rules/tests/*.test.yml")))
        if UPSTREAM:
            names = ("unittest failing bad-input-series bad-promql bad-rules-error-test bad-rules-syntax-test long-period rules_run_fuzzy "
                     "no-test-group-interval rules_run rules_run_no_fuzzy start-time-test at-modifier-test negative-offset-test")
            data = f"{UPSTREAM}/cmd/promtool/testdata"
            checks += verdicts(example, "test", [f"{data}/{name}.yml" for name in names.split()])
            checks += verdicts(example, "check", sorted(glob.glob(f"{UPSTREAM}/model/rulefmt/testdata/*.bad.yaml")))
        count("rules-files", checks)
        live(xebec, work, log, running)
    finally:
        for process in running:
            if process.poll() is None:
                process.terminate()
                process.wait(30)
        log.close()
        shutil.rmtree(work)


main()

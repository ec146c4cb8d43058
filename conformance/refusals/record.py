"""Posts the bodies of control/apiserver/tests/data/refusals to an API server and writes what it answers beside them:
`record.py KUBECONFIG`. Each is asked several times, since upstream walks maps in an order of chance."""

import copy
import json
import pathlib
import re
import ssl
import sys
import time
import urllib.error
import urllib.request

DATA = pathlib.Path(__file__).parents[2] / "control/apiserver/tests/data/refusals"
CONFIG = pathlib.Path(sys.argv[1]).read_text()
SERVER = re.search(r'server: "?(https://[^",\s}]+)', CONFIG)[1]
TOKEN = re.search(r"token: ([^\s}]+)", CONFIG)[1]
CONTEXT = ssl._create_unverified_context()
TIMES = 10
UID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
DIFFERENCE = re.compile(r"\n[-+ @][^\n]*|\n")


def ask(method, path, body=None, media="application/json"):
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": media, "Accept": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(SERVER + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, context=CONTEXT) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def merge(target, patch):
    """A merge patch (RFC 7386)."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def told(code, answer, name):
    if code < 300:
        return {"code": 200}

    def plain(text):
        """Without identities, and without how the two objects differ."""
        return UID.sub("UID", DIFFERENCE.sub("", text or "")).replace(name, "x")

    causes = (answer.get("details") or {}).get("causes") or []
    causes = [[c.get("reason", ""), c.get("field", ""), plain(c.get("message"))] for c in causes]
    return {"code": code, "reason": answer.get("reason"), "message": plain(answer.get("message")), "causes": causes}


def asked(times, question):
    answers = [question() for _ in range(times)]
    first = answers[0]
    if all(answer == first for answer in answers):
        return first
    if any(answer["code"] != first["code"] for answer in answers):
        raise SystemExit(f"answers differ: {answers}")
    return {**first, "causes": sorted(first["causes"]), "unordered": True}


def one(case, number, bases):
    base = bases[case["of"]]
    path, given = base["path"], base["object"]["metadata"]["name"]
    body = copy.deepcopy(merge(base["object"], case.get("with", {})))
    unique = f"x-{number}"
    name = body["metadata"].get("name", "")
    if name == given == "x":
        name = body["metadata"]["name"] = unique
    shown = unique if name == unique else "\0"
    if "then" not in case:
        return asked(TIMES, lambda: told(*ask("POST", path + "?dryRun=All", body), shown))
    code, made = ask("POST", path, body)
    if code != 201:
        raise SystemExit(f"{case['name']}: {made.get('message')}")
    place = f"{path}/{name}"
    patch = "application/merge-patch+json"
    if "before" in case:
        code, made = ask("PATCH", place + "/status", case["before"], patch)
        if code != 200:
            raise SystemExit(f"{case['name']}: {made.get('message')}")
    part = f"{place}/{case['at']}" if "at" in case else place
    answer = asked(TIMES, lambda: told(*ask("PATCH", part + "?dryRun=All", case["then"], patch), shown))
    ask("DELETE", place + "?gracePeriodSeconds=0", {})
    return answer


def main():
    bases = json.loads((DATA / "bases.json").read_text())
    cases = [json.loads(line) for line in (DATA / "cases.jsonl").read_text().splitlines()]
    # Controllers make what new objects stand on.
    for _ in range(300):
        if ask("GET", "/api/v1/namespaces/default/serviceaccounts/default")[0] == 200:
            break
        time.sleep(0.1)
    with (DATA / "expected.jsonl").open("w") as out:
        for number, case in enumerate(cases):
            answer = {"name": case["name"], **one(case, number, bases)}
            out.write(json.dumps(answer, ensure_ascii=False) + "\n")
    print(f"recorded {len(cases)} answers")


main()

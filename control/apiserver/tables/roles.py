#!/usr/bin/env python3
"""Writes src/rbac/roles.tbl: the roles and bindings that every cluster has from its first moment on.

They are read from the test data of Kubernetes' own policy (the Go module k8s.io/kubernetes in the module cache, of the
version given as the only argument, such as v1.36.3), which lists them as objects. Facts alone are kept:

  ClusterRole NAME [aggregate-to-X…] [from=aggregate-to-X]   labels, and the label whose roles it is made of
  Role NAMESPACE/NAME
   VERBS GROUPS RESOURCES [NAMES]                             a rule of the role above; `-` is the core group
   VERBS path URLS                                            a rule for other paths
  ClusterRoleBinding NAME ROLE SUBJECT…
  RoleBinding NAMESPACE/NAME ROLE SUBJECT…                    ROLE is `Kind/name`, SUBJECT `Kind=name` or `Kind=ns/name`

Lists have commas between.
"""

import pathlib
import subprocess
import sys

import yaml

FILES = ["cluster-roles", "controller-roles", "namespace-roles", "cluster-role-bindings", "controller-role-bindings",
         "namespace-role-bindings"]
AGGREGATE = "rbac.authorization.k8s.io/"


def place(metadata):
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if namespace else metadata["name"]


def rule(of):
    verbs = ",".join(of["verbs"])
    if "nonResourceURLs" in of:
        return f" {verbs} path {','.join(of['nonResourceURLs'])}"
    groups = ",".join(group or "-" for group in of["apiGroups"])
    words = [verbs, groups, ",".join(of["resources"])]
    if of.get("resourceNames"):
        words.append(",".join(of["resourceNames"]))
    return " " + " ".join(words)


def subject(of):
    namespace = of.get("namespace")
    return f"{of['kind']}={namespace}/{of['name']}" if namespace else f"{of['kind']}={of['name']}"


def lines(item):
    metadata, kind = item["metadata"], item["kind"]
    if kind.endswith("Binding"):
        reference = item["roleRef"]
        subjects = [subject(of) for of in item.get("subjects") or []]
        yield " ".join([kind, place(metadata), f"{reference['kind']}/{reference['name']}", *subjects])
        return
    labels = [key.removeprefix(AGGREGATE) for key in metadata.get("labels", {}) if key.startswith(AGGREGATE)]
    words = [kind, place(metadata), *sorted(labels)]
    for selector in item.get("aggregationRule", {}).get("clusterRoleSelectors", []):
        words += [f"from={key.removeprefix(AGGREGATE)}" for key in selector["matchLabels"]]
    yield " ".join(words)
    for of in item.get("rules") or []:
        yield rule(of)


def main():
    version = sys.argv[1]
    cache = subprocess.run(["go", "env", "GOMODCACHE"], check=True, capture_output=True, text=True).stdout.strip()
    folder = pathlib.Path(cache, f"k8s.io/kubernetes@{version}", "plugin/pkg/auth/authorizer/rbac/bootstrappolicy/testdata")
    out = [f"# The roles and bindings of Kubernetes {version}; written by tables/roles.py, which says what the lines mean."]
    for name in FILES:
        for item in yaml.safe_load((folder / f"{name}.yaml").read_text())["items"]:
            out += lines(item)
    target = pathlib.Path(__file__).parent.parent / "src/rbac/roles.tbl"
    target.write_text("\n".join(out) + "\n")


main()

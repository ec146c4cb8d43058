#!/usr/bin/env python3
"""Writes src/builtin/types.tbl: the types of the built-in kinds, as facts read from the Go modules of Kubernetes.

How to run it (the tables are committed, so only a new Kubernetes version needs this):

    mkdir modules && cd modules && go mod init modules
    for m in api apiextensions-apiserver kube-aggregator apimachinery client-go; do go mod download k8s.io/$m@v0.36.3; done
    python3 generate.py "$(go env GOMODCACHE)" v0.36.3

Read: json names, patch strategies, protobuf numbers and the markers (+listType, +listMapKey, +mapType, +structType,
+default, +optional) of every types.go; generated.proto, which must agree on every number; and the list types of
client-go's apply configurations, which must agree on every list and map. Anything that disagrees fails the run.

Written, one fact a line:

    @package ALIAS OPENAPI-PREFIX GROUP VERSION
    @struct NAME [atomic]                     a message; `@object` instead of `@struct` where it has apiVersion and kind
    JSON-NAME NUMBER TYPE [FLAGS] [ATTRIBUTE…]

JSON-NAME is `+` where the message's fields stand in the parent's JSON object. TYPE is a scalar (string, bool, int32,
int64, double, bytes), a type with a JSON form of its own (quantity, int-or-string, time, micro-time, duration, raw,
json, fields, strings, props-or-array, props-or-bool, props-or-strings), a struct (of this package, or ALIAS.NAME), or
`[]` or `{}` before one of these for a list or a map from strings. FLAGS after `-`: r required, p a pointer in Go, o
omitempty, z omitzero. ATTRIBUTES: merge, merge=KEY, retain (patch strategy); set, keys=A,B (list type; atomic
otherwise); atomic or granular (map or struct); default=JSON (to the end of the line).
"""

import json
import pathlib
import re
import sys

# alias, module, directory, OpenAPI prefix, group, version
PACKAGES = [
    ("meta", "apimachinery", "pkg/apis/meta/v1", "io.k8s.apimachinery.pkg.apis.meta.v1", "meta.k8s.io", "v1"),
    ("core", "api", "core/v1", "io.k8s.api.core.v1", "", "v1"),
    ("apps", "api", "apps/v1", "io.k8s.api.apps.v1", "apps", "v1"),
    ("batch", "api", "batch/v1", "io.k8s.api.batch.v1", "batch", "v1"),
    ("discovery", "api", "discovery/v1", "io.k8s.api.discovery.v1", "discovery.k8s.io", "v1"),
    ("networking", "api", "networking/v1", "io.k8s.api.networking.v1", "networking.k8s.io", "v1"),
    ("events", "api", "events/v1", "io.k8s.api.events.v1", "events.k8s.io", "v1"),
    ("coordination", "api", "coordination/v1", "io.k8s.api.coordination.v1", "coordination.k8s.io", "v1"),
    ("rbac", "api", "rbac/v1", "io.k8s.api.rbac.v1", "rbac.authorization.k8s.io", "v1"),
    ("node", "api", "node/v1", "io.k8s.api.node.v1", "node.k8s.io", "v1"),
    ("policy", "api", "policy/v1", "io.k8s.api.policy.v1", "policy", "v1"),
    ("autoscaling1", "api", "autoscaling/v1", "io.k8s.api.autoscaling.v1", "autoscaling", "v1"),
    ("autoscaling", "api", "autoscaling/v2", "io.k8s.api.autoscaling.v2", "autoscaling", "v2"),
    ("storage", "api", "storage/v1", "io.k8s.api.storage.v1", "storage.k8s.io", "v1"),
    ("scheduling", "api", "scheduling/v1", "io.k8s.api.scheduling.v1", "scheduling.k8s.io", "v1"),
    ("admissionregistration", "api", "admissionregistration/v1", "io.k8s.api.admissionregistration.v1",
     "admissionregistration.k8s.io", "v1"),
    ("authentication", "api", "authentication/v1", "io.k8s.api.authentication.v1", "authentication.k8s.io", "v1"),
    ("authorization", "api", "authorization/v1", "io.k8s.api.authorization.v1", "authorization.k8s.io", "v1"),
    ("certificates", "api", "certificates/v1", "io.k8s.api.certificates.v1", "certificates.k8s.io", "v1"),
    ("flowcontrol", "api", "flowcontrol/v1", "io.k8s.api.flowcontrol.v1", "flowcontrol.apiserver.k8s.io", "v1"),
    ("resource", "api", "resource/v1", "io.k8s.api.resource.v1", "resource.k8s.io", "v1"),
    ("apiextensions", "apiextensions-apiserver", "pkg/apis/apiextensions/v1",
     "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1", "apiextensions.k8s.io", "v1"),
    ("apidiscovery", "api", "apidiscovery/v2", "io.k8s.api.apidiscovery.v2", "apidiscovery.k8s.io", "v2"),
    ("apidiscoverybeta", "api", "apidiscovery/v2beta1", "io.k8s.api.apidiscovery.v2beta1", "apidiscovery.k8s.io", "v2beta1"),
    ("apiregistration", "kube-aggregator", "pkg/apis/apiregistration/v1",
     "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1", "apiregistration.k8s.io", "v1"),
]

# Types whose JSON is not that of their fields.
SPECIAL = {
    "meta.Time": "time", "meta.MicroTime": "micro-time", "meta.Duration": "duration", "meta.FieldsV1": "fields",
    "meta.Verbs": "strings", "authentication.ExtraValue": "strings", "authorization.ExtraValue": "strings",
    "certificates.ExtraValue": "strings",
    "apiextensions.JSON": "json", "apiextensions.JSONSchemaPropsOrArray": "props-or-array",
    "apiextensions.JSONSchemaPropsOrBool": "props-or-bool",
    "apiextensions.JSONSchemaPropsOrStringArray": "props-or-strings",
    "k8s.io/apimachinery/pkg/api/resource.Quantity": "quantity",
    "k8s.io/apimachinery/pkg/util/intstr.IntOrString": "int-or-string",
    "k8s.io/apimachinery/pkg/runtime.RawExtension": "raw",
    "k8s.io/apimachinery/pkg/types.UID": "string",
    "k8s.io/apimachinery/pkg/types.NodeName": "string",
}
# Messages that carry nothing between clients and servers, or that have a JSON form of their own.
SKIPPED = {"meta." + name for name in ("Timestamp", "Verbs", "Time", "MicroTime", "Duration", "FieldsV1", "TypeMeta")}
SCALARS = {"string": "string", "bool": "bool", "int32": "int32", "int64": "int64", "float64": "double", "int": "int64"}


class Go:
    """One Go package: its structs and named types."""

    def __init__(self, alias, directory, path):
        self.alias, self.path = alias, path
        self.structs, self.named, self.constants = {}, {}, {}
        for file in sorted(directory.glob("*.go")):
            if not file.name.endswith("_test.go") and "generated" not in file.name:
                self.read(file.read_text())

    def read(self, text):
        imports = {}
        for name, path in re.findall(r'^\s*(?:import\s+)?(\w+)?\s*"([\w./-]+)"$', text, re.M):
            last = path.split("/")[-1]
            imports[name or last] = path
        for name, value in re.findall(r"^\s+(\w+)\s+[\w.]*\s*=\s*(\"[^\"]*\"|\d+)$", text, re.M):
            self.constants[name] = value
        markers, struct = {}, None
        for line in text.splitlines():
            stripped = line.strip()
            if stripped.startswith("//"):
                marker = re.match(r"//\s*\+(k8s:)?([\w:]+)(?:=(.*))?$", stripped)
                if marker:
                    markers.setdefault(marker[2], []).append((marker[3] or "").strip())
                continue
            if struct is not None:
                if line.startswith("}"):
                    struct = None
                elif stripped:
                    self.field(struct, stripped, imports, markers)
                    markers = {}
                # A blank line keeps the markers: some stand in a paragraph of their own.
                continue
            opened = re.match(r"^type (\w+) struct \{$", line) or re.match(r"^\t(\w+) struct \{$", line)
            named = re.match(r"^(?:type |\t)(\w+) ((?:\[\]|map\[[\w.]+\])?\*?[\w.]+)$", line)
            if opened:
                struct = {"fields": [], "markers": markers, "object": False}
                self.structs[opened[1]] = struct
                markers = {}
            elif empty := re.match(r"^type (\w+) struct ?\{\}$", line):
                self.structs[empty[1]] = {"fields": [], "markers": markers, "object": False}
                markers = {}
            elif named and line.startswith("type "):
                self.named[named[1]] = (named[2], imports, markers)
                markers = {}
            elif stripped:
                markers = {}

    def field(self, struct, line, imports, markers):
        found = re.match(r"(?:(\w+)\s+)?([\w.*\[\]]+)\s+`(.*)`", line)
        if not found:
            return
        name, kind, tags = found[1], found[2], dict(re.findall(r'(\w+):"([^"]*)"', found[3]))
        label, *options = tags.get("json", "").split(",")
        if kind.endswith("TypeMeta") and "inline" in options:
            struct["object"] = True
            return
        if tags.get("protobuf", "-") == "-":
            return
        struct["fields"].append({
            "json": label or "+", "go": name or kind.split(".")[-1], "kind": kind, "imports": imports,
            "options": options, "markers": markers, "number": int(tags["protobuf"].split(",")[1]),
            "strategy": tags.get("patchStrategy", ""), "key": tags.get("patchMergeKey", ""),
        })


def fail(why):
    sys.exit(f"generate.py: {why}")


class Tables:
    def __init__(self, cache, version):
        self.cache, self.version = pathlib.Path(cache) / "k8s.io", version
        self.packages, self.by_path = {}, {}
        for alias, module, directory, *_ in PACKAGES:
            path = f"k8s.io/{module}/{directory}"
            package = Go(alias, self.cache / f"{module}@{version}" / directory, path)
            self.packages[alias] = self.by_path[path] = package

    def resolve(self, package, kind, imports, markers):
        """The table's word for a Go type; markers of named types on the way are added to `markers`."""
        if kind.startswith("*"):
            kind = kind[1:]
        if kind == "[]byte":
            return "bytes"
        if kind.startswith("[]"):
            return "[]" + self.resolve(package, kind[2:], imports, {})
        found = re.match(r"map\[[\w.]+\](.*)", kind)
        if found:
            return "{}" + self.resolve(package, found[1], imports, {})
        if kind in SCALARS:
            return SCALARS[kind]
        if "." in kind:
            prefix, name = kind.split(".")
            path = imports.get(prefix) or fail(f"{package.path}: no import {prefix}")
            target = self.by_path.get(path)
            if target is None:
                return SPECIAL.get(f"{path}.{name}") or fail(f"{package.path}: {path}.{name} is not known")
        else:
            target, name = package, kind
        qualified = f"{target.alias}.{name}"
        if qualified in SPECIAL:
            return SPECIAL[qualified]
        if name in target.structs:
            return qualified
        if name in target.named:
            kind, imports, named_markers = target.named[name]
            for key, value in named_markers.items():
                markers.setdefault(key, value)
            return self.resolve(target, kind, imports, markers)
        fail(f"{package.path}: {kind} is not known")

    def default(self, package, value):
        found = re.match(r"ref\((?:.*\.)?(\w+)\)$", value)
        return json.dumps(json.loads(package.constants[found[1]] if found else value))

    def field_line(self, package, field):
        markers = dict(field["markers"])
        kind = self.resolve(package, field["kind"], field["imports"], markers)
        flags, attributes = "", []
        options = field["options"]
        optional = "optional" in markers or "omitempty" in options or "omitzero" in options
        required = field["json"] != "+" and ("required" in markers or not optional)
        flags += "r" if required else ""
        flags += "p" if field["kind"].startswith("*") else ""
        flags += "o" if "omitempty" in options else ""
        flags += "z" if "omitzero" in options else ""
        strategies = field["strategy"].split(",")
        if "merge" in strategies:
            attributes.append(f"merge={field['key']}" if field["key"] else "merge")
        if "retainKeys" in strategies:
            attributes.append("retain")
        list_type, keys = markers.get("listType", [""])[0], markers.get("listMapKey", [])
        if kind.startswith("[]") and not list_type and "merge" in strategies:
            # What a strategic merge patch merges and no marker speaks of is merged by apply as well.
            list_type, keys = ("map", [field["key"]]) if field["key"] else ("set", [])
        if list_type == "set":
            attributes.append("set")
        elif list_type == "map":
            attributes.append("keys=" + ",".join(dict.fromkeys(keys)))
        shape = (markers.get("mapType") or markers.get("structType") or [""])[0]
        if shape in ("atomic", "granular"):
            attributes.append(shape)
        if "default" in markers:
            attributes.append("default=" + self.default(package, markers["default"][0]))
        own = f"{package.alias}."
        written = re.sub(r"(^|\])" + re.escape(own), r"\1", kind) if own in kind else kind
        written = re.sub(r"^(\{\})" + re.escape(own), r"\1", written)
        parts = [field["json"], str(field["number"]), written]
        if flags:
            parts.append("-" + flags)
        return " ".join(parts + attributes)

    def write(self):
        lines = [f"# Written by tables/generate.py from Kubernetes {self.version}; its head says what the lines mean."]
        for alias, module, directory, prefix, group, version in PACKAGES:
            package = self.packages[alias]
            numbers = proto(self.cache / f"{module}@{self.version}" / directory / "generated.proto")
            lines.append(f"@package {alias} {prefix} {group or '-'} {version}")
            for name in sorted(package.structs):
                struct, qualified = package.structs[name], f"{alias}.{name}"
                if name not in numbers or qualified in SKIPPED or qualified in SPECIAL:
                    continue
                fields = struct["fields"]
                if {f["number"] for f in fields} != numbers[name]:
                    fail(f"{qualified}: {sorted(numbers[name])} in generated.proto are not the numbers of the tags")
                atomic = " atomic" if struct["markers"].get("structType") == ["atomic"] else ""
                atomic = " atomic" if struct["markers"].get("mapType") == ["atomic"] else atomic
                lines.append(("@object " if struct["object"] else "@struct ") + name + atomic)
                lines += [self.field_line(package, field) for field in fields]
        return "\n".join(lines) + "\n"


def proto(path):
    """The field numbers of every message."""
    messages, name = {}, None
    for line in path.read_text().splitlines():
        opened = re.match(r"^message (\w+) \{", line)
        field = re.match(r"^  (?:optional|repeated|map<).* = (\d+);", line)
        if opened:
            name = opened[1]
            messages[name] = set()
        elif field and name:
            messages[name].add(int(field[1]))
    return messages


def applied(path):
    """What the apply configurations say: (type, field) -> how the value is merged."""
    found, name, field, keys = {}, None, None, None
    for line in path.read_text().splitlines():
        text, indent = line.strip(), len(line) - len(line.lstrip())
        if line.startswith("- name: "):
            name, field = line[8:], None
        elif indent == 4 and text.startswith("- name: "):
            field, keys = (name, text[8:]), []
        elif field and indent >= 8 and text.startswith("elementRelationship: "):
            found.setdefault(field, (text.split()[1], keys))
        elif field and indent == 10 and text.startswith("- ") and field in found:
            keys.append(text[2:])
    return found


def compare(table, path):
    """Fails where the table and the apply configurations do not merge a list in the same way."""
    truth, count, prefix, name = applied(path), 0, "", ""
    for line in table.splitlines():
        words = line.split(" ")
        if words[0] == "@package":
            prefix = words[2]
        elif words[0] in ("@struct", "@object"):
            name = f"{prefix}.{words[1]}"
        elif len(words) > 2 and (name, words[0]) in truth and words[2].startswith("[]"):
            keys = next((w[5:].split(",") for w in words if w.startswith("keys=")), [])
            mine = ("associative", keys) if keys or "set" in words else ("atomic", [])
            count += 1
            if mine != truth[name, words[0]]:
                fail(f"{name}.{words[0]}: {mine} here, {truth[name, words[0]]} in the apply configurations")
    if count < 190:
        fail(f"only {count} lists were compared with the apply configurations")


def main():
    cache, version = sys.argv[1:3] if len(sys.argv) == 3 else fail("usage: generate.py MODULE-CACHE VERSION")
    tables = Tables(cache, version)
    table = tables.write()
    compare(table, tables.cache / f"client-go@{version}/applyconfigurations/internal/internal.go")
    target = pathlib.Path(__file__).parent.parent / "src/builtin/types.tbl"
    target.write_text(table)
    print(f"{target}: {len(table.splitlines())} lines, {len(table)} bytes")


if __name__ == "__main__":
    main()

//! The paths of a group version and what can be done there.

use crate::builtin;
use crate::builtin::types::{Element, Many};
use crate::resource::{Resource, Version};

use super::Dialect;
use super::json::Json;
use super::names::{self, META, Type};

/// A query parameter and its type.
type Parameter = (&'static str, &'static str);

const LIST: &[Parameter] = &[
    ("allowWatchBookmarks", "boolean"),
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("timeoutSeconds", "integer"),
    ("watch", "boolean"),
];
const WRITE: &[Parameter] =
    &[("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string")];
const PATCH: &[Parameter] =
    &[("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string"), ("force", "boolean")];
const DELETE: &[Parameter] = &[
    ("dryRun", "string"),
    ("gracePeriodSeconds", "integer"),
    ("ignoreStoreReadErrorWithClusterBreakingPotential", "boolean"),
    ("orphanDependents", "boolean"),
    ("propagationPolicy", "string"),
];
const DELETE_COLLECTION: &[Parameter] = &[
    ("continue", "string"),
    ("dryRun", "string"),
    ("fieldSelector", "string"),
    ("gracePeriodSeconds", "integer"),
    ("ignoreStoreReadErrorWithClusterBreakingPotential", "boolean"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("orphanDependents", "boolean"),
    ("propagationPolicy", "string"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("timeoutSeconds", "integer"),
];

const ANSWERS: [&str; 3] = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
const STREAMS: [&str; 2] =
    ["application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"];
const PATCHES: [&str; 4] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/apply-patch+yaml",
    "application/strategic-merge-patch+json",
];

/// One thing that can be done at a path.
struct Operation<'a> {
    method: &'static str,
    action: &'static str,
    id: String,
    parameters: &'a [Parameter],
    /// The name of the body's type.
    body: Option<String>,
    /// The name of the answer's type; text where there is none.
    answer: Option<&'a str>,
    /// The codes of the answers that succeed.
    codes: &'static [&'static str],
    kind: [&'a str; 3],
    /// The answer may be a stream of changes.
    streams: bool,
}

/// A path, and the names in it that stand for something.
struct Place<'a> {
    path: String,
    names: &'a [&'a str],
}

/// Writes the paths of one version of a resource.
pub(super) struct Paths<'a> {
    pub(super) dialect: Dialect,
    pub(super) resource: &'a Resource,
    pub(super) version: &'a Version,
    /// The names of the types of the kind and of its lists.
    pub(super) kind: String,
    pub(super) list: String,
}

/// The path under which a group version is served.
pub(super) fn root(group: &str, version: &str) -> String {
    if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") }
}

/// Writes the path of a group version's discovery.
pub(super) fn discovery(json: &mut Json<'_>, dialect: Dialect, group: &str, version: &str) {
    let operation = Operation {
        method: "get",
        action: "",
        id: format!("get{}APIResources", names::camel(group, version)),
        parameters: &[],
        body: None,
        answer: Some("io.k8s.apimachinery.pkg.apis.meta.v1.APIResourceList"),
        codes: &["200"],
        kind: ["", "", ""],
        streams: false,
    };
    json.within(&format!("{}/", root(group, version)), |json| {
        operation.write(json, dialect, &names::tag(group, version), &PATCHES);
    });
}

impl Paths<'_> {
    pub(super) fn write(&self, json: &mut Json<'_>) {
        let resource = self.resource;
        let root = root(&resource.group, &self.version.name);
        let base = if resource.namespaced() {
            if self.can("list") {
                let operation = Operation {
                    id: format!("list{}{}ForAllNamespaces", self.camel(), resource.kind),
                    ..self.listing()
                };
                self.path(json, &format!("{root}/{}", resource.plural), &[], &[operation]);
            }
            format!("{root}/namespaces/{{namespace}}/{}", resource.plural)
        } else {
            format!("{root}/{}", resource.plural)
        };
        let place: &[&str] = if resource.namespaced() { &["namespace"] } else { &[] };
        self.path(json, &base, place, &self.collection());
        let names: &[&str] = if resource.namespaced() { &["name", "namespace"] } else { &["name"] };
        let item = Place { path: format!("{base}/{{name}}"), names };
        self.path(json, &item.path, item.names, &self.item());
        let own = [&*resource.group, &*self.version.name, &*resource.kind];
        if self.version.status {
            self.part(json, &item, "status", own, &["get", "update", "patch"]);
        }
        if self.version.scale.is_some() {
            self.part(json, &item, "scale", ["autoscaling", "v1", "Scale"], &["get", "update", "patch"]);
        }
        for part in &self.version.subresources {
            let (group, version, kind) = &part.kind;
            let verbs: Vec<&str> = part.verbs.iter().map(|verb| &**verb).collect();
            self.part(json, &item, &part.name, [group, version, kind], &verbs);
        }
    }

    fn can(&self, verb: &str) -> bool {
        self.resource.verbs.iter().any(|one| &**one == verb)
    }

    fn camel(&self) -> String {
        names::camel(&self.resource.group, &self.version.name)
    }

    /// `NamespacedPod` or `Node`.
    fn subject(&self) -> String {
        format!("{}{}", if self.resource.namespaced() { "Namespaced" } else { "" }, self.resource.kind)
    }

    fn operation(&self, method: &'static str, action: &'static str, id: &str) -> Operation<'_> {
        Operation {
            method,
            action,
            id: format!("{id}{}", self.subject()),
            parameters: &[],
            body: None,
            answer: Some(&self.kind),
            codes: &["200"],
            kind: [&self.resource.group, &self.version.name, &self.resource.kind],
            streams: false,
        }
    }

    fn listing(&self) -> Operation<'_> {
        let operation = self.operation("get", "list", &format!("list{}", self.camel()));
        Operation { parameters: LIST, answer: Some(&self.list), streams: true, ..operation }
    }

    fn collection(&self) -> Vec<Operation<'_>> {
        let camel = self.camel();
        let mut found = Vec::new();
        if self.can("list") {
            found.push(self.listing());
        }
        if self.can("create") {
            let operation = self.operation("post", "post", &format!("create{camel}"));
            let body = Some(self.kind.clone());
            found.push(Operation { parameters: WRITE, body, codes: &["200", "201", "202"], ..operation });
        }
        if self.can("deletecollection") {
            let operation = self.operation("delete", "deletecollection", &format!("delete{camel}Collection"));
            found.push(Operation { parameters: DELETE_COLLECTION, ..deleting(operation) });
        }
        found
    }

    fn item(&self) -> Vec<Operation<'_>> {
        let camel = self.camel();
        let mut found = Vec::new();
        if self.can("get") {
            found.push(self.operation("get", "get", &format!("read{camel}")));
        }
        if self.can("update") {
            found.push(putting(self.operation("put", "put", &format!("replace{camel}")), &self.kind));
        }
        if self.can("delete") {
            let operation = self.operation("delete", "delete", &format!("delete{camel}"));
            found.push(Operation { parameters: DELETE, codes: &["200", "202"], ..deleting(operation) });
        }
        if self.can("patch") {
            found.push(patching(self.operation("patch", "patch", &format!("patch{camel}"))));
        }
        found
    }

    /// A subresource.
    fn part(&self, json: &mut Json<'_>, item: &Place<'_>, name: &str, kind: [&str; 3], verbs: &[&str]) {
        let built_in = names::message(kind[0], kind[1], kind[2]);
        let own = kind[2] == &*self.resource.kind;
        let document =
            if own { Some(self.kind.clone()) } else { built_in.map(|at| names::of(Type::Message(at))) };
        // What is streamed has options in the place of a document.
        let options = if name == "log" { names::message("", "v1", "PodLogOptions") } else { built_in };
        let streamed = name == "log" || kind[2].ends_with("Options");
        let parameters =
            if streamed { options.map(option_parameters).unwrap_or_default() } else { Vec::new() };
        let camel = self.camel();
        let ending = names::capital(name);
        let mut found = Vec::new();
        for verb in verbs {
            let (method, action, word) = match *verb {
                "get" => ("get", "get", "read"),
                "create" => ("post", "post", "create"),
                "update" => ("put", "put", "replace"),
                "patch" => ("patch", "patch", "patch"),
                "delete" => ("delete", "delete", "delete"),
                _ => continue,
            };
            let connect = streamed && name != "log";
            let (action, id) = match connect {
                true => ("connect", format!("connect{camel}{}", names::capital(method))),
                false => (action, format!("{word}{camel}")),
            };
            let mut operation = Operation { kind, ..self.operation(method, action, &id) };
            operation.id += &ending;
            operation.answer = if streamed { None } else { document.as_deref() };
            operation.parameters = &parameters;
            found.push(match (method, document.as_deref()) {
                ("patch", Some(_)) if !streamed => patching(operation),
                ("put", Some(document)) if !streamed => putting(operation, document),
                ("post", Some(document)) if !streamed => Operation {
                    body: Some(document.to_owned()),
                    parameters: WRITE,
                    codes: &["200", "201", "202"],
                    ..operation
                },
                _ => operation,
            });
        }
        self.path(json, &format!("{}/{name}", item.path), item.names, &found);
    }

    fn path(&self, json: &mut Json<'_>, path: &str, place: &[&str], operations: &[Operation<'_>]) {
        if operations.is_empty() {
            return;
        }
        let tag = names::tag(&self.resource.group, &self.version.name);
        // A strategic merge needs Go's struct tags, which custom resources do not have.
        let patches = if self.resource.custom { &PATCHES[..3] } else { &PATCHES };
        json.within(path, |json| {
            for operation in operations {
                operation.write(json, self.dialect, &tag, patches);
            }
            json.key("parameters");
            json.list(|json| {
                for name in place {
                    parameter(json, self.dialect, name, "path", "string");
                }
                parameter(json, self.dialect, "pretty", "query", "string");
            });
        });
    }
}

fn putting<'a>(operation: Operation<'a>, body: &str) -> Operation<'a> {
    Operation { parameters: WRITE, body: Some(body.to_owned()), codes: &["200", "201"], ..operation }
}

fn patching(operation: Operation<'_>) -> Operation<'_> {
    Operation { parameters: PATCH, body: Some(format!("{META}Patch")), codes: &["200", "201"], ..operation }
}

fn deleting(operation: Operation<'_>) -> Operation<'_> {
    let answer = Some("io.k8s.apimachinery.pkg.apis.meta.v1.Status");
    Operation { body: Some(format!("{META}DeleteOptions")), answer, ..operation }
}

/// The fields of an options type, which are query parameters.
fn option_parameters(at: usize) -> Vec<Parameter> {
    let rows = builtin::types().messages[at].fields.iter();
    rows.filter_map(|row| {
        let kind = match (row.kind.many, row.kind.of) {
            (Many::One, Element::Bool) => "boolean",
            (Many::One, Element::Int32 | Element::Int64) => "integer",
            (Many::One | Many::List, Element::String | Element::Time) => "string",
            _ => return None,
        };
        Some((row.json, kind))
    })
    .collect()
}

fn parameter(json: &mut Json<'_>, dialect: Dialect, name: &str, place: &str, kind: &str) {
    json.object(|json| {
        json.entry("name", name);
        json.entry("in", place);
        if place == "path" {
            json.key("required");
            json.flag(true);
        }
        let typed = |json: &mut Json<'_>| {
            json.entry("type", kind);
            json.key("uniqueItems");
            json.flag(true);
        };
        match dialect {
            Dialect::V2 => typed(json),
            Dialect::V3 => json.within("schema", typed),
        }
    });
}

impl Operation<'_> {
    fn write(&self, json: &mut Json<'_>, dialect: Dialect, tag: &str, patches: &[&str]) {
        let consumed = if self.method == "patch" { patches } else { &["*/*"] };
        json.within(self.method, |json| {
            json.texts("tags", [tag]);
            json.entry("operationId", &self.id);
            if dialect == Dialect::V2 {
                json.texts("consumes", consumed.iter().copied());
                json.texts("produces", self.produced());
                json.texts("schemes", ["https"]);
            }
            json.key("parameters");
            json.list(|json| {
                if let (Dialect::V2, Some(body)) = (dialect, &self.body) {
                    json.object(|json| {
                        json.entry("name", "body");
                        json.entry("in", "body");
                        json.key("required");
                        json.flag(self.method != "delete");
                        json.within("schema", |json| dialect.point(json, body));
                    });
                }
                for (name, kind) in self.parameters {
                    parameter(json, dialect, name, "query", kind);
                }
            });
            if let (Dialect::V3, Some(body)) = (dialect, &self.body) {
                json.within("requestBody", |json| content(json, dialect, consumed, body));
            }
            self.answers(json, dialect);
            if !self.action.is_empty() {
                json.entry("x-kubernetes-action", self.action);
                let [group, version, kind] = self.kind;
                json.within("x-kubernetes-group-version-kind", |json| {
                    json.entry("group", group);
                    json.entry("kind", kind);
                    json.entry("version", version);
                });
            }
        });
    }

    fn produced(&self) -> Vec<&'static str> {
        match (&self.answer, self.streams) {
            (None, _) => vec!["text/plain"],
            (Some(_), false) => ANSWERS.to_vec(),
            (Some(_), true) => ANSWERS.into_iter().chain(STREAMS).collect(),
        }
    }

    fn answers(&self, json: &mut Json<'_>, dialect: Dialect) {
        json.within("responses", |json| {
            for code in self.codes {
                json.within(code, |json| {
                    json.entry(
                        "description",
                        match *code {
                            "201" => "Created",
                            "202" => "Accepted",
                            _ => "OK",
                        },
                    );
                    match (dialect, self.answer) {
                        (Dialect::V2, Some(answer)) => {
                            json.within("schema", |json| dialect.point(json, answer))
                        }
                        (Dialect::V2, None) => json.within("schema", |json| json.entry("type", "string")),
                        (Dialect::V3, Some(answer)) => content(json, dialect, &self.produced(), answer),
                        (Dialect::V3, None) => json.within("content", |json| {
                            json.within("text/plain", |json| {
                                json.within("schema", |json| json.entry("type", "string"));
                            });
                        }),
                    }
                });
            }
            json.within("401", |json| json.entry("description", "Unauthorized"));
        });
    }
}

fn content(json: &mut Json<'_>, dialect: Dialect, media: &[&str], name: &str) {
    json.within("content", |json| {
        for media in media {
            json.within(media, |json| json.within("schema", |json| dialect.point(json, name)));
        }
    });
}

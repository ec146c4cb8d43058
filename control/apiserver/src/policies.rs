//! What is told of validating policies in their status: expressions that do not fit the kinds that they are for.

use serde_json::{Value, json};
use xebec_admission::type_check;
use xebec_machinery::openapi::Documents;
use xebec_machinery::resource::Resource;
use xebec_machinery::status::Status;
use xebec_store::{EventKind, ListRequest};

use crate::api::Api;
use crate::backoff::Backoff;
use crate::follow::Followed;
use crate::storage::{self, Stored};
use crate::{key, object};

const GROUP: &str = "admissionregistration.k8s.io";
const PLURAL: &str = "validatingadmissionpolicies";
/// How deep the schema of a built-in kind is followed; only schemas of schemas go on without an end.
const DEEPEST: usize = 24;

/// The validating policies.
struct Policies<'a>(&'a Api);

impl Followed for Policies<'_> {
    const NAME: &'static str = "the admission policies";

    async fn follow(&mut self, backoff: &mut Backoff) -> Result<(), Status> {
        let api = self.0;
        let served = api.catalog().served();
        let Some(policies) = served.find(GROUP, PLURAL) else { return Ok(()) };
        let prefix = key::prefix(GROUP, PLURAL, None);
        let at = api.storage().revision();
        let mut watch = api.storage().watch(policies, &prefix, Some(at))?;
        let list = ListRequest { prefix: &prefix, at: Some(at), ..ListRequest::default() };
        for entry in api.storage().list(policies, &list)?.items {
            api.check_types(policies, &storage::decode(&entry)?).await?;
        }
        backoff.reset();
        while let Some(event) = api.next_event(&mut watch, policies).await? {
            if let EventKind::Put { entry } = &event.kind {
                api.check_types(policies, &storage::decode(entry)?).await?;
            }
        }
        Ok(())
    }
}

impl Api {
    /// Checks the types of policies whenever one is written, until the API stops.
    pub async fn serve_policies(&self) {
        self.keep_following(Policies(self)).await;
    }

    async fn check_types(&self, policies: &Resource, stored: &Stored) -> Result<(), Status> {
        let generation = |path: &str| object::at_path(&stored.object, path).and_then(Value::as_i64);
        let (wanted, observed) =
            (generation(".metadata.generation"), generation(".status.observedGeneration"));
        if wanted == observed || object::deleting(&stored.object) {
            return Ok(());
        }
        let warnings = type_check::warnings(self, &stored.object);
        let checked = if warnings.is_empty() { json!({}) } else { json!({"expressionWarnings": warnings}) };
        let mut new = stored.object.clone();
        let status = object::section_mut(&mut new, "status");
        status.insert("observedGeneration".to_owned(), wanted.into());
        status.insert("typeChecking".to_owned(), checked);
        self.storage().settle(policies, stored, new).await.map(drop)
    }

    /// The schema of a kind, as it is published, with all that it refers to in its place.
    pub(crate) fn whole_schema(&self, group: &str, version: &str, kind: &str) -> Option<Value> {
        let served = self.catalog().served();
        let published = |resource: &Resource, version: &str| self.published(resource, version);
        let documents = Documents::new(served.resources()).with_published(&published);
        let document = documents.v3(group, version)?;
        let document: Value = serde_json::from_slice(&document).ok()?;
        let schemas = document.get("components")?.get("schemas")?;
        let is_meant = |schema: &Value| {
            let kinds = schema.get("x-kubernetes-group-version-kind").and_then(Value::as_array);
            kinds
                .into_iter()
                .flatten()
                .any(|own| own["group"] == group && own["version"] == version && own["kind"] == kind)
        };
        let (_, found) = schemas.as_object()?.iter().find(|(_, schema)| is_meant(schema))?;
        Some(resolve(found, schemas, 0))
    }
}

/// A schema with everything that it refers to in its place.
fn resolve(schema: &Value, schemas: &Value, depth: usize) -> Value {
    const PREFIX: &str = "#/components/schemas/";
    let anything = || json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    if depth > DEEPEST {
        return anything();
    }
    let reference = schema.get("$ref").or_else(|| schema.get("allOf")?.get(0)?.get("$ref"));
    if let Some(name) = reference.and_then(Value::as_str) {
        let name = name.strip_prefix(PREFIX).unwrap_or(name);
        if name.ends_with(".IntOrString") {
            return json!({"x-kubernetes-int-or-string": true});
        }
        return schemas.get(name).map_or_else(anything, |found| resolve(found, schemas, depth + 1));
    }
    let mut resolved = schema.clone();
    if let Some(fields) = resolved.get_mut("properties").and_then(Value::as_object_mut) {
        for field in fields.values_mut() {
            *field = resolve(field, schemas, depth + 1);
        }
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(own) = resolved.get_mut(inner).filter(|own| own.is_object()) {
            *own = resolve(own, schemas, depth + 1);
        }
    }
    if resolved.get("type").is_none() {
        return anything();
    }
    resolved
}

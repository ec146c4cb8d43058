//! The two ways in which an object is written: apply and update.

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::conflict::Conflict;
use super::difference::difference;
use super::element::equal;
use super::fields::FieldSet;
use super::managed::{Managed, Manager, Operation, Owned};
use super::merge::{Emptied, merge, remove};
use super::shape::{Type, owned, reconcile, validate, with_named_fields};
use super::{ApplyRequest, Context, Error, UpdateRequest};

mod last_applied;

/// What became of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// The object as it is to be stored, `managedFields` included.
    pub object: Value,
    /// Whether anything but `managedFields` is other than before.
    pub changed: bool,
}

/// Fields that belong to the server, or that say what object it is; nobody owns them.
static STRIPPED: LazyLock<FieldSet> = LazyLock::new(|| {
    FieldSet::of_fields(&[
        &["apiVersion"],
        &["kind"],
        &["metadata"],
        &["metadata", "name"],
        &["metadata", "namespace"],
        &["metadata", "creationTimestamp"],
        &["metadata", "selfLink"],
        &["metadata", "uid"],
        &["metadata", "clusterName"],
        &["metadata", "generation"],
        &["metadata", "managedFields"],
        &["metadata", "resourceVersion"],
    ])
});

/// Who owns what there was before anybody applied.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Applies what a manager wants of an object.
///
/// ```
/// use serde_json::json;
/// use xebec_machinery::apply::{ApplyRequest, Context, FieldSet, apply};
/// use xebec_machinery::builtin;
///
/// let context = Context {
///     api_version: "apps/v1",
///     kind: "Deployment",
///     node: builtin::kind_node("apps", "v1", "Deployment").expect("a built-in kind"),
///     versions: &["apps/v1".to_owned()],
///     reset: &FieldSet::of_fields(&[&["status"]]),
///     subresource: None,
///     manager: "me",
///     now: "2026-01-01T00:00:00Z",
/// };
/// let wanted = |replicas| json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": replicas}});
/// let mine = apply(&ApplyRequest { context, live: None, applied: &wanted(1), force: false })?.object;
///
/// let you = Context { manager: "you", ..context };
/// let request = ApplyRequest { context: you, live: Some(&mine), applied: &wanted(2), force: false };
/// let refused = apply(&request).expect_err("it is mine").to_string();
/// assert_eq!(refused, "Apply failed with 1 conflict: conflict with \"me\": .spec.replicas");
/// # Ok::<(), xebec_machinery::apply::Error>(())
/// ```
pub fn apply(request: &ApplyRequest<'_>) -> Result<Applied, Error> {
    let ApplyRequest { context, live, applied, force } = *request;
    check_kind(&context, applied)?;
    if managed_fields(applied).is_some_and(|entries| !entries.is_null()) {
        return Err(Error::ManagedFieldsApplied);
    }
    let (live, entries) = match live {
        Some(live) => without_managed_fields(live.clone()),
        None => (context.empty(), None),
    };
    let mut managed = Managed::from_value(entries.as_ref())?;
    let ty = Type::root(context.node);
    validate(ty, applied, false).map_err(|error| context.typed("patch", applied, &error))?;
    validate(ty, &live, true).map_err(|error| context.typed("live", &live, &error))?;
    if managed.0.is_empty() {
        let before = Context { manager: BEFORE_FIRST_APPLY, ..context };
        managed = before.track(&context.empty(), &live, managed);
    }
    let merged = match context.merge(&live, applied, managed.clone(), force) {
        Err(Error::Conflict(conflicts)) if context.manager == last_applied::KUBECTL => {
            // kubectl takes over what it owned by client-side apply.
            let own = last_applied::fields(&context, &live);
            let others: Vec<_> =
                conflicts.into_iter().filter(|conflict| !own.contains(&conflict.path)).collect();
            if !others.is_empty() {
                return Err(Error::Conflict(others));
            }
            context.merge(&live, applied, managed, true)
        }
        merged => merged,
    };
    let (mut object, managed) = merged?;
    let changed = !equal(&live, &object);
    if context.manager == last_applied::KUBECTL {
        last_applied::refresh(&mut object, applied);
    }
    set_managed_fields(&mut object, managed.to_value());
    Ok(Applied { object, changed })
}

/// Keeps the books for a write that is no apply: the object as it is to be stored, with `managedFields` brought up to date.
///
/// The entries are taken from the new object, so that clients can edit them; an empty list clears them, and where the new
/// object has none that can be read, or is written through a subresource, those of the stored object stand.
pub fn update(request: UpdateRequest<'_>) -> Value {
    let UpdateRequest { context, live, new } = request;
    let (mut new, entries) = without_managed_fields(new);
    let of_live = || {
        let entries = live.and_then(managed_fields);
        Managed::from_value(entries).unwrap_or_default()
    };
    let managed = match entries {
        _ if context.subresource.is_some() => of_live(),
        Some(entries) if is_reset(&entries) => Managed::default(),
        entries => match Managed::from_value(entries.as_ref()) {
            Ok(managed) if !managed.0.is_empty() => managed,
            _ => of_live(),
        },
    };
    // What was never tracked, or was cleared, is tracked again from the next apply on.
    if managed.0.is_empty() && live.is_some() {
        return new;
    }
    let old = live.map(|live| without_managed_fields(live.clone()).0).unwrap_or_else(|| context.empty());
    let ty = Type::root(context.node);
    let entries = if validate(ty, &old, true).and_then(|()| validate(ty, &new, true)).is_ok() {
        context.track(&old, &new, managed).to_value()
    } else {
        // Validation tells the client what is wrong; ownership must not get lost by the way.
        live.and_then(managed_fields).cloned()
    };
    set_managed_fields(&mut new, entries);
    new
}

impl Context<'_> {
    /// An object of the kind that says nothing.
    fn empty(&self) -> Value {
        json!({"apiVersion": self.api_version, "kind": self.kind})
    }

    fn manager(&self, operation: Operation) -> Manager {
        Manager {
            name: if self.manager.is_empty() { "unknown" } else { self.manager }.to_owned(),
            operation,
            api_version: match operation {
                Operation::Apply => String::new(),
                Operation::Update => self.api_version.to_owned(),
            },
            subresource: self.subresource.unwrap_or_default().to_owned(),
        }
    }

    fn owned(&self, fields: FieldSet, time: Option<String>) -> Owned {
        Owned { fields, api_version: self.api_version.to_owned(), time }
    }

    /// A value that does not fit the schema, in upstream's words.
    fn typed(&self, which: &str, object: &Value, error: &Error) -> Error {
        let text = |name: &str| {
            let text = object.get("metadata").and_then(|metadata| metadata.get(name)).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        let kind = group_version_kind(self.api_version, self.kind);
        Error::Type(format!(
            "failed to create typed {which} object ({}/{}; {kind}): {error}",
            text("namespace"),
            text("name"),
        ))
    }

    /// Drops what is owned in versions that are no longer served and fits the rest to the schema of today.
    fn current(&self, managed: Managed) -> Managed {
        let ty = Type::root(self.node);
        let mut entries = managed.0;
        entries.retain(|_, owned| self.versions.contains(&owned.api_version));
        for owned in entries.values_mut() {
            owned.fields = reconcile(ty, std::mem::take(&mut owned.fields));
        }
        Managed(entries)
    }

    /// Ownership after a write that made `new` of `old`.
    fn track(&self, old: &Value, new: &Value, managed: Managed) -> Managed {
        let ty = Type::root(self.node);
        let mut managed = self.current(managed);
        let changes = difference(ty, old, new).without(self.reset);
        for owned in managed.0.values_mut() {
            owned.fields = std::mem::take(&mut owned.fields)
                .difference(&changes.modified)
                .difference(&changes.added)
                .difference(&changes.removed);
        }
        managed.0.retain(|_, owned| !owned.fields.is_empty());
        let taken = changes.modified.union(changes.added).difference(&STRIPPED);
        if !taken.is_empty() {
            let manager = self.manager(Operation::Update);
            let before = managed.0.remove(&manager).map(|owned| owned.fields).unwrap_or_default();
            managed.0.insert(manager, self.owned(before.union(taken), Some(self.now.to_owned())));
        }
        managed.cap_updaters();
        managed
    }

    /// The live object with what is applied merged in, and who owns what then.
    fn merge(
        &self,
        live: &Value,
        applied: &Value,
        managed: Managed,
        force: bool,
    ) -> Result<(Value, Managed), Error> {
        let ty = Type::root(self.node);
        let manager = self.manager(Operation::Apply);
        let mut managed = self.current(managed);
        let merged = merge(ty, Some(live), Some(applied)).unwrap_or_else(|| self.empty());
        let last = managed.0.remove(&manager);
        let wanted = owned(ty, applied).below.recursive_difference(self.reset);
        let (last, time) = last.map(|last| (last.fields, last.time)).unwrap_or_default();
        managed.0.insert(manager.clone(), self.owned(wanted, time));
        let gone = abandoned(ty, &merged, &managed, &last);
        let without = |emptied| remove(ty, &merged, &gone, emptied).unwrap_or_else(|| json!({}));
        // Who owns a list or object that is emptied by this goes on owning it, so for the books it is still there.
        let changes = difference(ty, live, &without(Emptied::Null)).without(self.reset);
        let object = without(Emptied::Gone);
        let taken = changes.modified.union(changes.added);
        let mut conflicts = Vec::new();
        for (other, owned) in managed.0.iter_mut().filter(|(other, _)| **other != manager) {
            let contested = owned.fields.intersection(&taken);
            conflicts.extend(Conflict::all(other, &contested));
            owned.fields =
                std::mem::take(&mut owned.fields).difference(&contested).difference(&changes.removed);
        }
        if !force && !conflicts.is_empty() {
            return Err(Error::Conflict(conflicts));
        }
        if let Some(owned) = managed.0.get_mut(&manager) {
            owned.fields = std::mem::take(&mut owned.fields).difference(&STRIPPED);
            if !equal(live, &object) {
                owned.time = Some(self.now.to_owned());
            }
        }
        managed.0.retain(|_, owned| !owned.fields.is_empty());
        Ok((object, managed))
    }
}

/// What the manager applied last time (`last`), does not apply now, and nobody else owns.
fn abandoned(ty: Type<'_>, merged: &Value, managed: &Managed, last: &FieldSet) -> FieldSet {
    if last.is_empty() {
        return FieldSet::default();
    }
    let named = |set: FieldSet| with_named_fields(Some(ty), set);
    let fields = |value: Option<&Value>| value.map(|value| named(owned(ty, value).below)).unwrap_or_default();
    let last = named(last.clone());
    let everyone = managed.0.values().fold(FieldSet::default(), |all, one| all.union(one.fields.clone()));
    let all = fields(Some(merged));
    // Without all that was applied last time; then with what of it somebody owns.
    let without = remove(ty, merged, &last, Emptied::Null);
    let kept = fields(without.as_ref()).union(named(everyone));
    let owned_only = remove(ty, merged, &all.clone().difference(&kept), Emptied::Null);
    // What nobody owns goes only where this manager had applied it.
    all.difference(&fields(owned_only.as_ref())).intersection(&last)
}

fn check_kind(context: &Context<'_>, applied: &Value) -> Result<(), Error> {
    let text = |name: &str| applied.get(name).and_then(Value::as_str).unwrap_or_default();
    if text("apiVersion") == context.api_version && text("kind") == context.kind {
        return Ok(());
    }
    Err(Error::Kind(group_version_kind(text("apiVersion"), text("kind"))))
}

/// `apps/v1, Kind=Deployment`; the core group is empty: `/v1, Kind=Pod`.
fn group_version_kind(api_version: &str, kind: &str) -> String {
    let slash = if api_version.contains('/') { "" } else { "/" };
    format!("{slash}{api_version}, Kind={kind}")
}

fn managed_fields(object: &Value) -> Option<&Value> {
    object.get("metadata")?.get("managedFields")
}

fn without_managed_fields(mut object: Value) -> (Value, Option<Value>) {
    let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
    let entries = metadata.and_then(|metadata| metadata.remove("managedFields"));
    (object, entries)
}

fn set_managed_fields(object: &mut Value, entries: Option<Value>) {
    let Value::Object(fields) = object else { return };
    let Some(entries) = entries else { return };
    let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
    if metadata.is_null() {
        *metadata = json!({});
    }
    if let Value::Object(metadata) = metadata {
        metadata.insert("managedFields".to_owned(), entries);
    }
}

/// An empty list, or one entry that says nothing, clears what is there.
fn is_reset(entries: &Value) -> bool {
    let blank = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        _ => false,
    };
    match entries {
        Value::Array(entries) => match entries.as_slice() {
            [] => true,
            [Value::Object(entry)] => entry.values().all(blank),
            _ => false,
        },
        _ => false,
    }
}

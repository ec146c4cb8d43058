//! `metadata.managedFields`: who owns which fields, since when, and by what kind of request.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Error;
use super::fields::FieldSet;
use super::time;

/// By which kind of request a manager came to own fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Server-side apply.
    Apply,
    /// Every other write.
    Update,
}

impl Operation {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// Who owns fields. An updater of another version is another manager; an applier is the same in all versions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Manager {
    /// The name that the client gave itself.
    pub name: String,
    /// How it came to own the fields.
    pub operation: Operation,
    /// The version in which it wrote; empty for appliers.
    pub api_version: String,
    /// The subresource that it wrote through; empty for the object itself.
    pub subresource: String,
}

/// As it stands in the text of a conflict.
impl std::fmt::Display for Manager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", Value::from(self.name.as_str()))?;
        if !self.subresource.is_empty() {
            write!(f, " with subresource {}", Value::from(self.subresource.as_str()))?;
        }
        if self.operation == Operation::Update {
            write!(f, " using {}", self.api_version)?;
        }
        Ok(())
    }
}

/// What one manager owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owned {
    pub(super) fields: FieldSet,
    /// The version whose fields these are.
    pub(super) api_version: String,
    /// When it last took a field or gave one up.
    pub(super) time: Option<String>,
}

/// What every manager owns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Managed(pub(super) BTreeMap<Manager, Owned>);

/// Updates of more managers than this are gathered under [`ANCIENT`].
const UPDATERS_MAX: usize = 10;
/// The manager of the updates of those that came long before.
const ANCIENT: &str = "ancient-changes";

impl Managed {
    /// Reads `metadata.managedFields`.
    pub(super) fn from_value(entries: Option<&Value>) -> Result<Self, Error> {
        let entries = match entries {
            None | Some(Value::Null) => return Ok(Self::default()),
            Some(Value::Array(entries)) => entries,
            Some(_) => return Err(Error::ManagedFields("expected a list".to_owned())),
        };
        let mut managed = BTreeMap::new();
        for (index, entry) in entries.iter().enumerate() {
            let (manager, owned) =
                read(entry).map_err(|why| Error::ManagedFields(format!("entry {index}: {why}")))?;
            managed.insert(manager, owned);
        }
        Ok(Self(managed))
    }

    /// The list as it stands in an object; nothing where nobody owns anything.
    pub(super) fn to_value(&self) -> Option<Value> {
        if self.0.is_empty() {
            return None;
        }
        let mut entries: Vec<_> = self.0.iter().collect();
        entries.sort_by_key(|(manager, owned)| {
            let seconds = owned.time.as_deref().and_then(time::seconds).unwrap_or_default();
            (manager.operation, seconds, &manager.name, &owned.api_version, &manager.subresource)
        });
        Some(entries.into_iter().map(|(manager, owned)| write(manager, owned)).collect())
    }

    /// Gathers the oldest updates under one manager a version, where there are too many.
    pub(super) fn cap_updaters(&mut self) {
        let mut updaters: Vec<Manager> =
            self.0.keys().filter(|manager| manager.operation == Operation::Update).cloned().collect();
        let Some(mut surplus) = updaters.len().checked_sub(UPDATERS_MAX).filter(|surplus| *surplus > 0)
        else {
            return;
        };
        updaters.sort_by_cached_key(|manager| {
            let since = self.0.get(manager).and_then(|owned| owned.time.as_deref());
            (since.and_then(time::seconds).unwrap_or_default(), manager.clone())
        });
        // The first of a version alone needs no gathering: it is gathered when a second one follows.
        let mut first_of_version: BTreeMap<String, Manager> = BTreeMap::new();
        for manager in updaters {
            if surplus == 0 {
                return;
            }
            let Some(version) = self.0.get(&manager).map(|owned| owned.api_version.clone()) else { continue };
            let Some(first) = first_of_version.get(&version) else {
                first_of_version.insert(version, manager);
                continue;
            };
            let ancient = Manager {
                name: ANCIENT.to_owned(),
                operation: Operation::Update,
                api_version: version,
                subresource: String::new(),
            };
            if !self.0.contains_key(&ancient)
                && let Some(owned) = self.0.remove(first)
            {
                self.0.insert(ancient.clone(), owned);
            }
            // Clients may set times, so that what was gathered before is not always the oldest.
            let taken = if manager == ancient { self.0.remove(first) } else { self.0.remove(&manager) };
            if let (Some(taken), Some(gathered)) = (taken, self.0.get_mut(&ancient)) {
                gathered.fields = std::mem::take(&mut gathered.fields).union(taken.fields);
                gathered.time = taken.time;
            }
            surplus -= 1;
        }
    }
}

fn read(entry: &Value) -> Result<(Manager, Owned), String> {
    let Value::Object(fields) = entry else { return Err(format!("expected an object, found {entry}")) };
    let text = |name: &str| match fields.get(name) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(format!("{name} must be a string")),
    };
    let operation = match text("operation")?.as_str() {
        "Apply" => Operation::Apply,
        "Update" => Operation::Update,
        _ => return Err("operation must be `Apply` or `Update`".to_owned()),
    };
    let api_version = text("apiVersion")?;
    if api_version.is_empty() {
        return Err("apiVersion must not be empty".to_owned());
    }
    match text("fieldsType")?.as_str() {
        "FieldsV1" => {}
        "" => return Err("missing fieldsType".to_owned()),
        other => return Err(format!("invalid fieldsType {other:?}")),
    }
    let owned = match fields.get("fieldsV1") {
        None | Some(Value::Null) => FieldSet::default(),
        Some(set) => FieldSet::from_value(set).map_err(|error| error.to_string())?,
    };
    let time = Some(text("time")?).filter(|time| time::seconds(time).is_some());
    let of_updater = |version: &str| match operation {
        Operation::Update => version.to_owned(),
        Operation::Apply => String::new(),
    };
    let manager = Manager {
        name: text("manager")?,
        operation,
        api_version: of_updater(&api_version),
        subresource: text("subresource")?,
    };
    Ok((manager, Owned { fields: owned, api_version, time }))
}

fn write(manager: &Manager, owned: &Owned) -> Value {
    let mut entry = Map::new();
    if !manager.name.is_empty() {
        entry.insert("manager".to_owned(), json!(manager.name));
    }
    entry.insert("operation".to_owned(), json!(manager.operation.as_str()));
    entry.insert("apiVersion".to_owned(), json!(owned.api_version));
    if let Some(time) = &owned.time {
        entry.insert("time".to_owned(), json!(time));
    }
    entry.insert("fieldsType".to_owned(), json!("FieldsV1"));
    entry.insert("fieldsV1".to_owned(), owned.fields.to_value());
    if !manager.subresource.is_empty() {
        entry.insert("subresource".to_owned(), json!(manager.subresource));
    }
    Value::Object(entry)
}

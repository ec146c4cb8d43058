//! The way of a request through the stages of admission: as what they see it, and what becomes of their changes.

use std::borrow::Cow;

use http::Uri;
use serde_json::{Map, Value, json};
use xebec_admission::{Case, Companions, Operation, Request};
use xebec_machinery::status::Status;

use crate::api::Api;
use crate::call::Call;
use crate::strategy::Part;
use crate::subresource::scale_of;
use crate::world;
use crate::{object, relay};

/// What the stages judge: the object of a request as they see it, and the one that it replaces.
pub(crate) struct Admission<'a> {
    api: &'a Api,
    call: &'a Call,
    part: Part,
    request: Request,
    old: Option<Cow<'a, Value>>,
}

impl Api {
    /// The admission of a write to a part of an object.
    pub(crate) fn admission<'a>(
        &'a self,
        call: &'a Call,
        operation: Operation,
        part: Part,
        old: Option<&'a Value>,
    ) -> Admission<'a> {
        let subresource = part.subresource().unwrap_or_default();
        let old = old.map(|old| seen(call, part, old));
        Admission { api: self, call, part, request: request(call, operation, subresource), old }
    }

    /// Lets what is sent to a subresource that stores nothing of it, such as `pods/binding`, pass all stages.
    pub(crate) async fn admit(
        &self,
        call: &Call,
        operation: Operation,
        mut body: Value,
    ) -> Result<Value, Status> {
        let subresource = call.request.subresource.clone().unwrap_or_default();
        let request = request(call, operation, &subresource);
        let companions = Companions::default();
        let case =
            Case { request: &request, old: None, world: self, notes: &call.notes, companions: &companions };
        self.chain().mutate(case, &mut body).await?;
        self.chain().validate(case, &body).await?;
        Ok(body)
    }
}

impl Api {
    /// Lets a connection to an object, such as `pods/exec`, pass all stages.
    pub(crate) async fn admit_connection(&self, call: &Call, uri: &Uri) -> Result<(), Status> {
        let options = connection(call, uri);
        self.admit(call, Operation::Connect, options).await.map(drop)
    }
}

/// What a connection asks for, as an object: the parameters of its query, by the types that its kind gives them.
fn connection(call: &Call, uri: &Uri) -> Value {
    let subresource = call.request.subresource.as_deref().unwrap_or_default();
    let kind = world::served(&call.resource, call.version(), subresource).kind;
    let mut options = Map::new();
    options.insert("kind".to_owned(), kind.kind.clone().into());
    options.insert("apiVersion".to_owned(), kind.api_version().into());
    let rest = relay::rest_of(uri.path()).trim_matches('/');
    if subresource == "proxy" && !rest.is_empty() {
        let rest = percent_encoding::percent_decode_str(rest).decode_utf8_lossy();
        options.insert("path".to_owned(), rest.into());
    }
    for pair in uri.query().unwrap_or_default().split('&') {
        let (name, text) = pair.split_once('=').unwrap_or((pair, ""));
        let text = text.replace('+', " ");
        let text = percent_encoding::percent_decode_str(&text).decode_utf8_lossy().into_owned();
        let list = |options: &mut Map<String, Value>, value: Value| {
            if let Value::Array(list) = options.entry(name).or_insert_with(|| json!([])) {
                list.push(value);
            }
        };
        match name {
            "stdin" | "stdout" | "stderr" | "tty" => {
                let is_true = matches!(&*text, "1" | "t" | "T" | "true" | "TRUE" | "True");
                options.insert(name.to_owned(), is_true.into());
            }
            "container" => drop(options.insert(name.to_owned(), text.into())),
            "command" => list(&mut options, text.into()),
            "ports" => text
                .split(',')
                .filter_map(|port| port.parse::<i32>().ok())
                .for_each(|port| list(&mut options, port.into())),
            _ => {}
        }
    }
    options.into()
}

impl Admission<'_> {
    fn case<'a>(&'a self, companions: &'a Companions) -> Case<'a> {
        Case {
            request: &self.request,
            old: self.old.as_deref(),
            world: self.api,
            notes: &self.call.notes,
            companions,
        }
    }

    /// The admission of something that is not stored.
    pub(crate) fn dry(mut self, dry_run: bool) -> Self {
        self.request.dry_run |= dry_run;
        self
    }

    /// Lets the stages change the new object, which is null where there is none. Says whether they did.
    pub(crate) async fn mutate(&self, new: &mut Value) -> Result<bool, Status> {
        if self.part == Part::Binding {
            return Ok(false);
        }
        let companions = Companions::default();
        let case = self.case(&companions);
        if self.part == Part::Scale {
            let mut scale = seen(self.call, self.part, new).into_owned();
            let before = replicas(&scale);
            self.api.chain().mutate(case, &mut scale).await?;
            let after = replicas(&scale);
            if let (true, Some(own)) = (before != after, &self.call.version().scale) {
                object::set_path(new, &own.spec_replicas, after);
                return Ok(true);
            }
            return Ok(false);
        }
        // Of an object that is new, nobody asks.
        let before = self.old.is_some().then(|| new.clone());
        self.api.chain().mutate(case, new).await?;
        Ok(before.is_none_or(|before| before != *new))
    }

    /// Lets the stages judge the object as it is to be stored, and gives what is to be stored with it.
    pub(crate) async fn judge(&mut self, new: &Value) -> Result<Companions, Status> {
        let companions = Companions::default();
        if self.part == Part::Binding {
            return Ok(companions);
        }
        if self.request.name.is_empty() {
            // It has been chosen by now.
            self.request.name = object::name(new).to_owned();
        }
        let shown = seen(self.call, self.part, new);
        self.api.chain().validate(self.case(&companions), &shown).await?;
        Ok(companions)
    }
}

fn replicas(scale: &Value) -> Value {
    object::at_path(scale, ".spec.replicas").cloned().unwrap_or_else(|| json!(0))
}

/// An object as the stages see it: the part that is written, where that is an object of its own.
fn seen<'a>(call: &Call, part: Part, whole: &'a Value) -> Cow<'a, Value> {
    match (&call.version().scale, part) {
        (Some(scale), Part::Scale) => Cow::Owned(scale_of(whole, scale)),
        _ => Cow::Borrowed(whole),
    }
}

fn request(call: &Call, operation: Operation, subresource: &str) -> Request {
    let served = world::served(&call.resource, call.version(), subresource);
    // A namespace counts as within itself.
    let itself = (&*call.resource.group, &*call.resource.plural) == ("", "namespaces");
    let namespace = if itself { call.name() } else { call.namespace().unwrap_or_default() };
    Request {
        operation,
        kind: served.kind,
        resource: served.resource,
        subresource: subresource.to_owned(),
        namespace: namespace.to_owned(),
        name: call.name().to_owned(),
        user: call.user.clone(),
        dry_run: call.options().dry_run,
        options: options(call, operation),
    }
}

/// The options of an operation as an object.
fn options(call: &Call, operation: Operation) -> Value {
    let kind = match operation {
        Operation::Create => "CreateOptions",
        Operation::Update if call.request.verb == crate::request::Verb::Patch => "PatchOptions",
        Operation::Update => "UpdateOptions",
        Operation::Delete => "DeleteOptions",
        Operation::Connect => return Value::Null,
    };
    let mut options = Map::new();
    options.insert("kind".to_owned(), kind.into());
    options.insert("apiVersion".to_owned(), "meta.k8s.io/v1".into());
    if call.options().dry_run {
        options.insert("dryRun".to_owned(), json!(["All"]));
    }
    if let (true, Some(manager)) = (operation != Operation::Delete, &call.options().field_manager) {
        options.insert("fieldManager".to_owned(), manager.clone().into());
    }
    if call.options().force {
        options.insert("force".to_owned(), true.into());
    }
    options.into()
}

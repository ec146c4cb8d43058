//! Creating, replacing and patching objects.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use xebec_admission::Operation;
use xebec_machinery::resource::Resource;
use xebec_machinery::status::{Qualified, Reason, Status};

use crate::api::Api;
use crate::call::Call;
use crate::catalog::Pass;
use crate::codec::Decoded;
use crate::definitions::definition_of;
use crate::labour::HEAVY;
use crate::storage::{self, Stored, is_conflict};
use crate::strategy::{self, Part};
use crate::{intake, key, object};

/// How often a write that met another one is tried again before the client is told of the conflict.
const ATTEMPTS: usize = 16;

/// For how long a change is made again that met others: each time one of them came through, so all do in the end.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether the books of who owns which field are still to be kept, or the write has kept them already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Books {
    Open,
    Closed,
}

/// What a write came to.
#[derive(Debug)]
pub struct Written {
    /// The object as it is now, in the client's version.
    pub object: Value,
    /// Whether the object was made by this write.
    pub created: bool,
    /// What the client should know, one `Warning` header each.
    pub warnings: Vec<String>,
}

impl Written {
    /// The same with the warnings that came before.
    pub(crate) fn after(mut self, mut earlier: Vec<String>) -> Self {
        earlier.append(&mut self.warnings);
        Self { warnings: earlier, ..self }
    }
}

/// Who replaces an object with one of another identity means one that is no more. Upstream tells where it keeps it.
pub(crate) fn check_uid(call: &Call, old: &Value, new: &Value) -> Result<(), Status> {
    let (uid, there) = (object::meta(new, "uid"), object::meta(old, "uid"));
    if uid.is_empty() || uid == there {
        return Ok(());
    }
    let why = format!(
        "StorageError: invalid object, Code: 4, Key: {}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: \
         UID in precondition: {uid}, UID in object meta: {there}",
        key::upstream(&call.resource, call.namespace(), call.name())
    );
    Err(Status::conflict(call.qualified(), call.name(), &why))
}

/// What judging an object takes. Rules in CEL may take their time, which is not that of other requests.
fn weight(call: &Call) -> usize {
    let has_rules = call.version().structural.as_ref().is_some_and(|structural| structural.rules().is_some());
    let has_selectors = &*call.resource.group == "resource.k8s.io";
    if has_rules || has_selectors { HEAVY } else { call.weight }
}

impl Api {
    /// Makes an object.
    pub async fn create(&self, call: &Call, body: Decoded) -> Result<Written, Status> {
        let mut new = body.object;
        intake::check_type(call, &mut new)?;
        let warnings = intake::admit_fields(call, &mut new, (body.doubled, body.form))?;
        intake::check_place(call, &mut new, None)?;
        let written = self.create_prepared(call, new, Books::Open).await?;
        Ok(written.after(warnings))
    }

    /// Makes an object whose fields were admitted.
    pub(crate) async fn create_prepared(
        &self,
        call: &Call,
        mut new: Value,
        books: Books,
    ) -> Result<Written, Status> {
        drop(self.pass(&call.resource).await?);
        let mut admission = self.admission(call, Operation::Create, Part::Main, None);
        strategy::draft(call, &mut new)?;
        if books == Books::Open {
            let track = || strategy::track(call, None, &mut new, Part::Main);
            self.labour().done(call.weight, track).await?;
        }
        admission.mutate(&mut new).await?;
        let generated = object::name(&new).is_empty();
        let mut attempts = 0;
        loop {
            let mut candidate = new.clone();
            strategy::prepare_create(call, &mut candidate)?;
            let allotment = self.allocate(call, None, &mut candidate)?;
            let refused = self.check_devices(call, None, &candidate, Part::Main)?;
            let judge = || strategy::validate_create(call, &candidate, refused);
            let warnings = self.labour().done(weight(call), judge).await?;
            self.admit_definition(call, None, &candidate)?;
            self.check_grants(call, None, &candidate)?;
            self.check_signer(call, None, &candidate, Part::Main)?;
            let companions = admission.judge(&candidate).await?;
            self.settle_version(&call.resource, &mut candidate).await?;
            if call.options().dry_run {
                if let Some(old) =
                    self.storage().find(&call.resource, call.namespace(), object::name(&candidate))?
                {
                    return Err(Status::already_exists(call.qualified(), object::name(&old.object)));
                }
                return self.made(call, candidate, warnings).await;
            }
            attempts += 1;
            match self.store_new(call, candidate, allotment, companions.objects()).await {
                Ok(stored) => return self.made(call, stored.object, warnings).await,
                // A generated name that is taken is drawn again, as upstream does.
                Err(status) if generated && status.reason == Reason::AlreadyExists && attempts < 8 => {}
                // What goes with the object was changed by someone else.
                Err(status) if is_conflict(&status) && attempts < ATTEMPTS => {}
                Err(status) => return Err(status),
            }
        }
    }

    /// Leave to store a new object, which definitions that go do not give.
    pub(crate) async fn pass(&self, resource: &Resource) -> Result<Option<Pass<'_>>, Status> {
        if !resource.custom {
            return Ok(None);
        }
        let pass = self.catalog().pass(&definition_of(resource)).await;
        pass.map(Some).ok_or_else(|| {
            let qualified = Qualified::new(&resource.group, &resource.plural);
            let mut status = Status::method_not_allowed(qualified, "create");
            status.message = "create not allowed while custom resource definition is terminating".to_owned();
            status
        })
    }

    async fn made(&self, call: &Call, stored: Value, warnings: Vec<String>) -> Result<Written, Status> {
        Ok(Written { object: self.present(call, stored).await?, created: true, warnings })
    }

    /// Replaces an object, or a part of it.
    pub async fn update(&self, call: &Call, part: Part, body: Decoded) -> Result<Written, Status> {
        let mut new = body.object;
        intake::check_type(call, &mut new)?;
        let warnings = intake::admit_fields(call, &mut new, (body.doubled, body.form))?;
        intake::check_identity(call, &mut new)?;
        if part == Part::Main && call.resource.made_by_put && !self.is_there(call)? {
            check_uid(call, &Value::Null, &new)?;
            self.check_creation(call)?;
            let mut absent = new.clone();
            // Of an object that is not there, every version is as good.
            object::meta_mut(&mut absent).remove("resourceVersion");
            match self.create_prepared(call, absent, Books::Open).await {
                // Someone made it in between: replace that.
                Err(status) if status.reason == Reason::AlreadyExists => {}
                outcome => return Ok(outcome?.after(warnings)),
            }
        }
        let changed = self
            .change(call, part, Books::Open, |old| {
                strategy::check_conditional(call, &new)?;
                check_uid(call, old, &new)?;
                Ok(new.clone())
            })
            .await?;
        Ok(changed.after(warnings))
    }

    /// Reads an object, changes it and writes it, again and again while others write in between. The change gets the
    /// object as the client sees it. A `resourceVersion` in its result must be the current one. Gives the new object
    /// back as the client sees it, with what is to be said of parts that did not change.
    pub(crate) async fn change<F>(
        &self,
        call: &Call,
        part: Part,
        books: Books,
        mut change: F,
    ) -> Result<Written, Status>
    where
        F: FnMut(&Value) -> Result<Value, Status> + Send,
    {
        let began = Instant::now();
        loop {
            let current = self.storage().get(&call.resource, call.namespace(), call.name())?;
            let old = self.present(call, current.object.clone()).await?;
            let new = self.labour().done(call.weight, || change(&old)).await?;
            match self.replace(call, (part, books), &current, old, new).await {
                Err(status)
                    if is_conflict(&status)
                        && began.elapsed() < PATIENCE
                        && (storage::is_companions(&status) || self.moved(call, &current)?) => {}
                outcome => return outcome,
            }
        }
    }

    /// Whether there is an object that the call names.
    pub(crate) fn is_there(&self, call: &Call) -> Result<bool, Status> {
        Ok(self.storage().find(&call.resource, call.namespace(), call.name())?.is_some())
    }

    /// Whether someone wrote the object since it was read.
    fn moved(&self, call: &Call, seen: &Stored) -> Result<bool, Status> {
        let now = self.storage().find(&call.resource, call.namespace(), call.name())?;
        Ok(now.is_none_or(|now| now.revision != seen.revision))
    }

    async fn replace(
        &self,
        call: &Call,
        (part, books): (Part, Books),
        current: &Stored,
        old: Value,
        mut new: Value,
    ) -> Result<Written, Status> {
        let wanted = object::meta(&new, "resourceVersion");
        if !wanted.is_empty() && wanted != object::meta(&old, "resourceVersion") {
            return Err(Status::modified(call.qualified(), call.name()));
        }
        strategy::prepare_update(call, &old, &mut new, part)?;
        if books == Books::Open {
            let track = || strategy::track(call, Some(&old), &mut new, part);
            self.labour().done(call.weight, track).await?;
        }
        let before = Arc::new(old);
        let mut admission = self.admission(call, Operation::Update, part, Some(&before));
        if admission.mutate(&mut new).await? {
            strategy::prepare_update(call, &before, &mut new, part)?;
        }
        let allotment = self.allocate(call, Some(&before), &mut new)?;
        object::set_meta(&mut new, "resourceVersion", object::meta(&before, "resourceVersion"));
        let refused = self.check_devices(call, Some(&before), &new, part)?;
        let judge = || strategy::validate_update(call, &before, &new, part, refused);
        let warnings = self.labour().done(weight(call), judge).await?;
        self.admit_definition(call, Some(&before), &new)?;
        self.check_grants(call, Some(&before), &new)?;
        self.check_signer(call, Some(&before), &new, part)?;
        let companions = admission.judge(&new).await?;
        let done = |object: Value| Ok(Written { object, created: false, warnings });
        if new == *before || call.options().dry_run {
            return done(new);
        }
        let gone = strategy::finished_deleting(&new);
        self.settle_version(&call.resource, &mut new).await?;
        let stored = if gone {
            self.take_away(call, new, &current.object, current.revision).await?
        } else {
            self.store_changed(call, new, current.revision, allotment, companions.objects()).await?
        };
        done(self.present(call, stored.object).await?)
    }
}

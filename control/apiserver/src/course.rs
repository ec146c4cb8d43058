//! What becomes known of a request on its way, which the audit log is told at its end: also when that is no answer.

use std::sync::{Arc, OnceLock};

use tokio::runtime::Handle;
use xebec_admission::Notes;
use xebec_machinery::status::{Reason, Status};

use crate::api::Api;
use crate::audit::{Audit, Event, Stage};
use crate::bodies::Room;
use crate::fairness::{Exempt, Place, Seat};
use crate::transcription::Form;

/// The code of a request whose client did not wait for its answer. HTTP has none, since nobody gets it.
const LEFT: u16 = 499;

/// What becomes known of a request on its way.
pub(crate) struct Course {
    pub(crate) notes: Arc<Notes>,
    pub(crate) event: Event,
    /// In which bytes its answer goes out.
    pub(crate) form: Form,
    /// Which requests it is one of; nothing where it goes without a seat.
    pub(crate) place: Option<Place>,
    /// Held until the answer is made, and if that is large, until it is sent.
    pub(crate) seat: Option<Seat>,
    /// Where its body is held.
    pub(crate) room: Option<Room>,
    /// Whether another server answers it, at once.
    pub(crate) is_passed_on: bool,
    /// Whether it goes without a seat.
    pub(crate) is_exempt: bool,
    log: Arc<OnceLock<Audit>>,
    api: Api,
    is_told: bool,
}

impl Course {
    pub(crate) fn begin(head: &mut http::request::Parts, log: Arc<OnceLock<Audit>>, api: Api) -> Self {
        let is_exempt = head.extensions.get::<Exempt>().is_some();
        let (notes, event) = (Arc::default(), Event::begin(head));
        let form = Form::asked(head);
        Self {
            notes,
            event,
            form,
            place: None,
            seat: None,
            room: None,
            is_passed_on: false,
            is_exempt,
            log,
            api,
            is_told: false,
        }
    }

    /// Tells the audit log how it ended, if there is one.
    pub(crate) async fn tell(&mut self, stage: Stage, code: u16, failure: Option<&Status>) {
        if let Some(audit) = self.log.get() {
            audit.tell(&self.event, stage, code, failure).await;
        }
        self.is_told = true;
    }
}

impl Drop for Course {
    /// Tells of a request that broke off: what was begun of it may have been done all the same.
    fn drop(&mut self) {
        if self.is_told || self.log.get().is_none() {
            return;
        }
        let (stage, code, why) = match std::thread::panicking() {
            true => (Stage::Panic, 500, "the server failed"),
            false => (Stage::Complete, LEFT, "the client left before it was answered"),
        };
        let (log, event) = (self.log.clone(), std::mem::take(&mut self.event));
        if Handle::try_current().is_err() {
            tracing::error!(url = event.url, why, "a request broke off where the audit log cannot be told");
            return;
        }
        self.api.tasks().spawn(async move {
            if let Some(audit) = log.get() {
                audit.tell(&event, stage, code, Some(&Status::new(Reason::Unknown, why))).await;
            }
        });
    }
}

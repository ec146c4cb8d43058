//! Loops that follow something stored until the API stops, whatever goes wrong in between.

use std::sync::Arc;

use xebec_machinery::resource::Resource;
use xebec_machinery::status::Status;
use xebec_store::{Error, Event, Watch};

use crate::api::Api;
use crate::backoff::Backoff;
use crate::storage;

/// Something stored that is followed.
pub(crate) trait Followed {
    /// What it is, for people.
    const NAME: &'static str;

    /// Follows it until the API stops, or it cannot be followed. Resets the pause before the next attempt once it has been
    /// read.
    fn follow(&mut self, backoff: &mut Backoff) -> impl Future<Output = Result<(), Status>> + Send;
}

impl Api {
    /// Follows something until the API stops. An attempt that fails is told, and begun anew after a pause.
    pub(crate) async fn keep_following<F: Followed>(&self, mut followed: F) {
        let mut backoff = Backoff::default();
        while let Err(error) = followed.follow(&mut backoff).await {
            tracing::warn!(%error, "lost sight of {}; reading again", F::NAME);
            if !backoff.wait(self.shutdown()).await {
                return;
            }
        }
    }

    /// Waits for what is written next; nothing when the API stops. Errors speak of the resource. Whoever stops waiting
    /// has missed nothing.
    pub(crate) async fn next_event(
        &self,
        watch: &mut Watch,
        resource: &Resource,
    ) -> Result<Option<Arc<Event>>, Status> {
        let event = tokio::select! {
            () = self.shutdown().cancelled() => return Ok(None),
            event = watch.next() => event,
        };
        match event {
            Ok(event) => Ok(Some(event)),
            Err(Error::Closed) => Ok(None),
            Err(error) => Err(storage::refusal(&error, resource, "")),
        }
    }

    /// Waits until something is written, and passes over all that was; whether to go on, which is over when the API stops.
    pub(crate) async fn changed(&self, watch: &mut Watch, resource: &Resource) -> Result<bool, Status> {
        if self.next_event(watch, resource).await?.is_none() {
            return Ok(false);
        }
        while watch.try_next().map_err(|error| storage::refusal(&error, resource, ""))?.is_some() {}
        Ok(true)
    }
}

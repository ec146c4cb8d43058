//! Writes that have something to follow: once begun they are finished, whatever becomes of the client.
//!
//! A write that waits for the disk is committed also when its client leaves. What has to follow, such as keeping the
//! address of a service, must not be lost with the request then, so both are done in a task that the API owns.

use std::future::Future;

use serde_json::Value;
use xebec_admission::companions::Companion;
use xebec_machinery::status::Status;
use xebec_store::Revision;

use crate::api::Api;
use crate::call::Call;
use crate::service_address::Allotment;
use crate::storage::Stored;

impl Api {
    /// Runs to its end what must not stop half way.
    pub(crate) async fn finish<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Status>> + Send + 'static,
    ) -> Result<T, Status> {
        let done = self.tasks().spawn(work).await;
        done.unwrap_or_else(|error| Err(Status::internal(&format!("the request broke off: {error}"))))
    }

    /// Stores a new object and what goes with it.
    pub(crate) async fn store_new(
        &self,
        call: &Call,
        new: Value,
        allotment: Allotment,
        mut with: Vec<Companion>,
    ) -> Result<Stored, Status> {
        with.extend(allotment.companion());
        if !call.resource.custom && allotment.is_empty() {
            return self.storage().create_with(&call.resource, new, &with).await;
        }
        let (api, resource) = (self.clone(), call.resource.clone());
        self.finish(async move {
            let pass = api.pass(&resource).await?;
            let stored = api.storage().create_with(&resource, new, &with).await?;
            drop(pass);
            allotment.settle();
            Ok(stored)
        })
        .await
    }

    /// Stores an object in the place of what it was at `expected`, and what goes with it.
    pub(crate) async fn store_changed(
        &self,
        call: &Call,
        new: Value,
        expected: Revision,
        allotment: Allotment,
        mut with: Vec<Companion>,
    ) -> Result<Stored, Status> {
        with.extend(allotment.companion());
        if allotment.is_empty() {
            return self.storage().update_with(&call.resource, new, expected, &with).await;
        }
        let (storage, resource) = (self.storage().clone(), call.resource.clone());
        self.finish(async move {
            let stored = storage.update_with(&resource, new, expected, &with).await?;
            allotment.settle();
            Ok(stored)
        })
        .await
    }

    /// Takes an object away that was `held` in the store at `expected`, and gives it back as it last was.
    pub(crate) async fn take_away(
        &self,
        call: &Call,
        last: Value,
        held: &Value,
        expected: Revision,
    ) -> Result<Stored, Status> {
        let allotment = self.release(call, held)?;
        if allotment.is_empty() {
            return self.storage().delete(&call.resource, last, expected).await;
        }
        let with: Vec<Companion> = allotment.companion().collect();
        let (storage, resource) = (self.storage().clone(), call.resource.clone());
        self.finish(async move {
            let stored = storage.delete_with(&resource, last, expected, &with).await?;
            allotment.settle();
            Ok(stored)
        })
        .await
    }
}

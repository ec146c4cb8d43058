//! ServiceCIDRs: the ranges that services get their addresses from (KEP-1880).
//!
//! The range that the API was started with stands as `kubernetes`. Further ones serve once they are seen here, and go once no
//! service has an address in them that no other range holds.

use std::time::Duration;

use serde_json::{Value, json};
use xebec_machinery::resource::Resource;
use xebec_machinery::status::Status;
use xebec_store::ListRequest;

use crate::api::Api;
use crate::backoff::Backoff;
use crate::call::timestamp;
use crate::cluster_ip::Range;
use crate::follow::Followed;
use crate::storage::{self, Stored};
use crate::{key, object};

const GROUP: &str = "networking.k8s.io";
const PLURAL: &str = "servicecidrs";
const DEFAULT: &str = "kubernetes";
const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";
/// How often a range that is to go is looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

struct Ranges<'a>(&'a Api);

impl Followed for Ranges<'_> {
    const NAME: &'static str = "the ranges of services' addresses";

    async fn follow(&mut self, backoff: &mut Backoff) -> Result<(), Status> {
        let api = self.0;
        let served = api.catalog().served();
        let Some(resource) = served.find(GROUP, PLURAL) else { return Ok(()) };
        let prefix = key::prefix(GROUP, PLURAL, None);
        let mut watch = api.storage().watch(resource, &prefix, Some(api.storage().revision()))?;
        loop {
            api.ensure_service_cidr().await?;
            let is_waiting = api.settle_ranges(resource).await?;
            backoff.reset();
            tokio::select! {
                () = tokio::time::sleep(LOOK_AGAIN), if is_waiting => {}
                goes_on = api.changed(&mut watch, resource) => if !goes_on? {
                    return Ok(());
                },
            }
        }
    }
}

impl Api {
    /// Keeps the ranges of services' addresses in step with the ServiceCIDRs, until the API stops.
    pub async fn serve_ranges(&self) {
        self.keep_following(Ranges(self)).await;
    }

    /// Makes the range that the API was started with an object.
    pub(crate) async fn ensure_service_cidr(&self) -> Result<(), Status> {
        let call = self.own_call(GROUP, "v1", PLURAL, None)?;
        if self.storage().find(&call.resource, None, DEFAULT)?.is_some() {
            return Ok(());
        }
        let range = self.cluster_ips().range().to_string();
        let object = json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "ServiceCIDR",
            "metadata": {"name": DEFAULT},
            "spec": {"cidrs": [range]},
        });
        self.ensure(&call, object).await
    }

    /// Has addresses given from the ranges that stand, and tells in each what it is; whether one is still to go.
    async fn settle_ranges(&self, resource: &Resource) -> Result<bool, Status> {
        let prefix = key::prefix(GROUP, PLURAL, None);
        let page =
            self.storage().list(resource, &ListRequest { prefix: &prefix, ..ListRequest::default() })?;
        let all = page.items.iter().map(storage::decode).collect::<Result<Vec<Stored>, Status>>()?;
        let standing = all.iter().filter(|stored| !object::deleting(&stored.object));
        self.cluster_ips().set_ranges(standing.flat_map(|stored| ranges_of(&stored.object)).collect());
        let mut is_waiting = false;
        for stored in all {
            let mut new = stored.object.clone();
            if !object::deleting(&new) {
                keep(&mut new);
            } else if ranges_of(&new).into_iter().any(|range| self.cluster_ips().depend_on(range)) {
                is_waiting = true;
                refuse_to_go(&mut new);
            } else {
                let kept = object::meta_list(&new, "finalizers").into_iter().filter(|own| *own != FINALIZER);
                let kept: Vec<String> = kept.map(str::to_owned).collect();
                object::set_meta(&mut new, "finalizers", kept);
            }
            self.storage().settle(resource, &stored, new).await?;
        }
        Ok(is_waiting)
    }
}

/// The ranges of an object that can serve here.
fn ranges_of(object: &Value) -> Vec<Range> {
    let all = object::at_path(object, ".spec.cidrs").and_then(Value::as_array);
    all.into_iter().flatten().filter_map(|text| text.as_str()?.parse().ok()).collect()
}

fn keep(object: &mut Value) {
    let mut finalizers: Vec<String> =
        object::meta_list(object, "finalizers").into_iter().map(str::to_owned).collect();
    if !finalizers.iter().any(|own| own == FINALIZER) {
        finalizers.push(FINALIZER.to_owned());
        object::set_meta(object, "finalizers", finalizers);
    }
    let (status, reason, message) = if ranges_of(object).is_empty() {
        ("False", "Unsupported", "only IPv4 ranges with a prefix of 8 to 30 bits serve here")
    } else if object::name(object) == DEFAULT {
        ("True", "", "Kubernetes default Service CIDR is ready")
    } else {
        ("True", "", "Kubernetes Service CIDR is ready")
    };
    tell(object, status, reason, message);
}

fn refuse_to_go(object: &mut Value) {
    let message = "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR";
    tell(object, "False", "Terminating", message);
}

fn tell(object: &mut Value, status: &str, reason: &str, message: &str) {
    let condition = json!({"type": "Ready", "status": status, "reason": reason, "message": message});
    object::set_condition(object, condition, &timestamp(jiff::Timestamp::now()));
}

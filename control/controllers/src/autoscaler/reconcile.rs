//! The loop of HorizontalPodAutoscalers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v1::Scale;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DynamicObject, ListParams, Patch};
use kube::core::GroupVersionKind;
use kube::runtime::controller::Action;
use kube::{Api, ResourceExt as _};
use serde_json::json;

use super::limits::History;
use super::metrics;
use super::status::set;
use super::weighing::weigh;
use crate::Error;
use crate::drive::drive;
use crate::owner::{changing, is_ending, write_status};
use crate::rights::{READ, Right};
use crate::run::World;
use crate::time::time;

const MANAGER: &str = "horizontal-pod-autoscaler";

type Histories = Arc<Mutex<HashMap<String, History>>>;

/// What it may do.
pub(crate) const RIGHTS: &[Right] = &[
    Right::to(READ, "autoscaling", &["horizontalpodautoscalers"]),
    Right::to(&["patch"], "autoscaling", &["horizontalpodautoscalers/status"]),
    Right::to(&["get", "patch"], "*", &["*/scale"]),
    Right::to(&["list"], "", &["pods"]),
    Right::to(&["list"], "metrics.k8s.io", &["pods"]),
];

/// Runs until the world ends.
pub(crate) async fn run(world: Arc<World>) {
    let histories = Histories::default();
    let pass = move |scaler, world| reconcile(scaler, world, histories.clone());
    drive(world, |_| futures::stream::pending(), pass).await;
}

async fn reconcile(
    scaler: Arc<HorizontalPodAutoscaler>,
    world: Arc<World>,
    histories: Histories,
) -> Result<Action, Error> {
    let namespace = scaler
        .namespace()
        .ok_or(Error::Incomplete { kind: "HorizontalPodAutoscaler", field: "namespace" })?;
    let scalers: Api<HorizontalPodAutoscaler> = Api::namespaced(world.client.clone(), &namespace);
    let uid = scaler.uid().unwrap_or_default();
    let found = scalers.get_opt(&scaler.name_any()).await?;
    let Some(scaler) = found.filter(|found| !is_ending(found)) else {
        histories.lock().unwrap_or_else(PoisonError::into_inner).remove(&uid);
        return Ok(Action::await_change());
    };
    let again = Action::requeue(world.settings.autoscaling_period);
    let voice = world.events.about(MANAGER, &scaler);
    let now = Timestamp::now();
    let mut status = scaler.status.clone().unwrap_or_default();
    status.observed_generation = scaler.metadata.generation;

    let workload = Workload::find(&world, &namespace, &scaler).await;
    let (workload, scale) = match workload {
        Ok(found) => found,
        Err(error) => {
            let text = error.text();
            voice.warning("FailedGetScale", text.clone());
            let text = format!("the HPA controller was unable to get the target's current scale: {text}");
            set(&mut status, "AbleToScale", false, "FailedGetScale", text, now);
            write_status(&scalers, &scaler, scaler.status.as_ref(), &status).await?;
            return Ok(again);
        }
    };
    let text = "the HPA controller was able to get the target's current scale".to_owned();
    set(&mut status, "AbleToScale", true, "SucceededGetScale", text, now);
    let current = scale.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
    let existing = scale.status.as_ref().map_or(0, |status| status.replicas);
    status.current_replicas = Some(existing);
    let proposed = if current == 0 && scaler.spec.min_replicas != Some(0) {
        let text = "scaling is disabled since the replica count of the target is zero".to_owned();
        set(&mut status, "ScalingActive", false, "ScalingDisabled", text, now);
        None
    } else {
        let selector = scale.status.as_ref().and_then(|status| status.selector.clone()).unwrap_or_default();
        let pods: Api<Pod> = Api::namespaced(world.client.clone(), &namespace);
        let pods = pods.list(&ListParams::default().labels(&selector)).await?.items;
        let all = metrics::read(&world.client, &namespace).await.map_err(|error| error.text());
        let weighed = weigh(&scaler, &pods, &all, current, now);
        for (reason, text) in &weighed.warnings {
            voice.warning(reason, text.clone());
        }
        if let Some((holds, reason, text)) = weighed.active {
            set(&mut status, "ScalingActive", holds, reason, text, now);
        }
        status.current_metrics = (!weighed.told.is_empty()).then_some(weighed.told);
        weighed.replicas
    };
    let wanted = proposed.map(|proposed| {
        let mut histories = histories.lock().unwrap_or_else(PoisonError::into_inner);
        histories.entry(uid.clone()).or_default().limit(&scaler, current, proposed, now)
    });
    status.desired_replicas = wanted.as_ref().map_or(current, |wanted| wanted.replicas);
    if let Some(wanted) = wanted {
        if let Some(down) = wanted.steadied {
            let (reason, than) =
                if down { ("ScaleDownStabilized", "higher") } else { ("ScaleUpStabilized", "lower") };
            let which = if down { "highest" } else { "lowest" };
            let text = format!(
                "recent recommendations were {than} than current one, applying the {which} recent recommendation"
            );
            set(&mut status, "AbleToScale", true, reason, text, now);
        } else {
            let text = "recommended size matches current size".to_owned();
            set(&mut status, "AbleToScale", true, "ReadyForNewScale", text, now);
        }
        match wanted.limit {
            Some((reason, text)) => set(&mut status, "ScalingLimited", true, reason, text.to_owned(), now),
            None => {
                let text = "the desired count is within the acceptable range".to_owned();
                set(&mut status, "ScalingLimited", false, "DesiredWithinRange", text, now);
            }
        }
        if wanted.replicas != current {
            workload.set_size(&scale, wanted.replicas).await?;
            let text =
                format!("the HPA controller was able to update the target scale to {}", wanted.replicas);
            set(&mut status, "AbleToScale", true, "SucceededRescale", text, now);
            status.last_scale_time = Some(time(now));
            let way = if wanted.replicas > current { "above" } else { "below" };
            voice.normal(
                "SuccessfulRescale",
                format!("New size: {}; reason: metrics {way} target", wanted.replicas),
            );
            let mut histories = histories.lock().unwrap_or_else(PoisonError::into_inner);
            histories.entry(uid).or_default().note_change(now, wanted.replicas.saturating_sub(current));
        }
    }
    write_status(&scalers, &scaler, scaler.status.as_ref(), &status).await?;
    Ok(again)
}

/// What is scaled.
struct Workload {
    api: Api<DynamicObject>,
    name: String,
}

impl Workload {
    async fn find(
        world: &World,
        namespace: &str,
        scaler: &HorizontalPodAutoscaler,
    ) -> Result<(Self, Scale), Error> {
        let target = &scaler.spec.scale_target_ref;
        let api_version = target.api_version.as_deref().unwrap_or("v1");
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let kind = GroupVersionKind::gvk(group, version, &target.kind);
        let (resource, _) = kube::discovery::pinned_kind(&world.client, &kind).await?;
        let api: Api<DynamicObject> = Api::namespaced_with(world.client.clone(), namespace, &resource);
        let scale = api.get_scale(&target.name).await?;
        Ok((Self { api, name: target.name.clone() }, scale))
    }

    /// Sets the size, unless somebody did since.
    async fn set_size(&self, scale: &Scale, replicas: i32) -> Result<(), Error> {
        let meta = json!({"resourceVersion": scale.metadata.resource_version});
        let patch = Patch::Merge(json!({"metadata": meta, "spec": {"replicas": replicas}}));
        self.api.patch_scale(&self.name, &changing(), &patch).await?;
        Ok(())
    }
}

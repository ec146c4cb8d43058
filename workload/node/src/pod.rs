//! The life of one pod on this machine: from its images to its end, and what the API is told of it on the way.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, EphemeralContainer, Pod, PodSpec};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, ResourceExt as _};
use serde_json::json;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use xebec_container::ContainerId;

use crate::adoption::{Leftovers, Past};
use crate::agent::Node;
use crate::duration::seconds;
use crate::event::{Kind, Source, pod_reference};
use crate::place::Place;
use crate::scheduler::PREEMPTION;
use crate::slot::{BackOff, Role, Slot};
use crate::state::{Failure, PodState, Progress};
use crate::volumes;

/// The first and the longest pause before a pod that has ended is deleted again.
const DELETE_AGAIN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
/// How long the API may take to hear of a pod's end.
const LAST_WORD: Duration = Duration::from_secs(2);

/// One pod and what is known of it.
pub(crate) struct Life {
    pub(crate) node: Arc<Node>,
    /// The pod as it was when its life began.
    pub(crate) pod: Pod,
    /// The pod as it is now: labels, annotations and others' conditions change.
    pub(crate) latest: watch::Sender<Arc<Pod>>,
    pub(crate) folder: PathBuf,
    /// What an earlier process left of it.
    pub(crate) past: Past,
    state: Mutex<PodState>,
    changed: Notify,
    /// The pod is to go.
    stop: CancellationToken,
    /// Its containers are to end.
    pub(crate) halt: CancellationToken,
    /// When the last container must have ended, and by which grace period, from when that is known.
    deadline: Mutex<Option<(Instant, Duration)>>,
}

impl Life {
    pub(crate) fn new(node: Arc<Node>, pod: Pod, leftovers: Leftovers) -> Arc<Self> {
        let spec = pod.spec.clone().unwrap_or_default();
        let past = Past::of(&pod, leftovers);
        let init_list = spec.init_containers.unwrap_or_default();
        let progress = |(at, container): (usize, &Container), role: Role| {
            let waits = role != Role::Main || !init_list.is_empty();
            let reason = if waits { "PodInitializing" } else { "ContainerCreating" };
            let image = container.image.as_deref().unwrap_or_default();
            let mut own = Progress::new(&container.name, image, reason);
            past.fill(&mut own, &role.place(at));
            own.sidecar = role == Role::Sidecar;
            own
        };
        let init = init_list.iter().enumerate();
        let state = PodState {
            address: None,
            host: node.options.address.to_string(),
            started: past.started.unwrap_or_else(Timestamp::now),
            init: init.map(|own| progress(own, Role::of_init(own.1))).collect(),
            containers: spec.containers.iter().enumerate().map(|own| progress(own, Role::Main)).collect(),
            guests: Vec::new(),
            failure: None,
            over: false,
        };
        let folder = node.pod_folder(&pod);
        let stop = CancellationToken::new();
        let halt = stop.child_token();
        Arc::new(Self {
            node,
            latest: watch::Sender::new(Arc::new(pod.clone())),
            pod,
            folder,
            past,
            state: Mutex::new(state),
            changed: Notify::new(),
            stop,
            halt,
            deadline: Mutex::default(),
        })
    }

    /// The pod was changed by others.
    pub(crate) fn update(&self, pod: Pod) {
        self.latest.send_replace(Arc::new(pod));
        self.changed.notify_one();
    }

    /// The pod is to go.
    pub(crate) fn end(&self) {
        self.stop.cancel();
    }

    /// Whether nothing of it runs any more.
    pub(crate) fn is_over(&self) -> bool {
        self.look(|state| state.over)
    }

    /// Deletes the pod because of a taint of the node.
    pub(crate) async fn evict(&self) {
        let (namespace, name) = (self.pod.namespace().unwrap_or_default(), self.pod.name_any());
        let message = format!("Marking for deletion Pod {namespace}/{name}");
        let object = pod_reference(&self.pod, None);
        self.node.events.note(Source::TaintEviction, object, Kind::Normal, "TaintManagerEviction", message);
        let why = "Taint manager: deleting due to NoExecute taint";
        self.disrupt("DeletionByTaintManager", why).await;
    }

    /// Deletes the pod so that a more important one has room.
    pub(crate) async fn make_room(&self, other: &Pod) {
        let object = pod_reference(&self.pod, None);
        let uid = other.uid().unwrap_or_default();
        let message = format!("Preempted by pod {uid} on node {}", self.node.options.name);
        self.node.events.note(Source::Scheduler, object, Kind::Normal, "Preempted", message);
        let scheduler = other.spec.as_ref().and_then(|spec| spec.scheduler_name.clone());
        let scheduler = scheduler.unwrap_or_else(|| "default-scheduler".to_owned());
        let why = format!("{scheduler}: preempting to accommodate a higher priority pod");
        self.disrupt(PREEMPTION, &why).await;
    }

    /// Deletes the pod, and says before why.
    async fn disrupt(&self, reason: &str, message: &str) {
        let name = self.pod.name_any();
        let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let patch = json!({"status": {"conditions": [{
            "type": "DisruptionTarget", "status": "True", "reason": reason, "message": message,
            "lastTransitionTime": now,
        }]}});
        let told = self.api().patch_status(&name, &PatchParams::default(), &Patch::Strategic(patch)).await;
        let preconditions = Preconditions { uid: self.pod.uid(), resource_version: None };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match told.map(drop).and(self.api().delete(&name, &parameters).await.map(drop)) {
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
            Err(error) => tracing::warn!(pod = name, %error, "a pod that must leave cannot be deleted"),
            Ok(()) => {}
        }
    }

    pub(crate) fn spec(&self) -> Option<&PodSpec> {
        self.pod.spec.as_ref()
    }

    pub(crate) fn uid(&self) -> String {
        self.pod.uid().unwrap_or_default()
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut PodState)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_one();
    }

    pub(crate) fn look<T>(&self, look: impl FnOnce(&PodState) -> T) -> T {
        look(&self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes an event about the pod, or about the part of it that `field` names.
    pub(crate) fn note(&self, field: Option<String>, kind: Kind, reason: &'static str, message: String) {
        self.node.events.note(Source::Kubelet, pod_reference(&self.pod, field), kind, reason, message);
    }

    /// How long a container may take to end when the pod ends: what is left of the pod's whole time.
    pub(crate) fn grace(&self) -> Duration {
        let now = self.latest.borrow().clone();
        let given = now.metadata.deletion_grace_period_seconds;
        let spec = self.spec().and_then(|spec| spec.termination_grace_period_seconds);
        let whole = seconds(given.or(spec).unwrap_or(30));
        let mut deadline = self.deadline.lock().unwrap_or_else(PoisonError::into_inner);
        shorten(&mut deadline, whole, Instant::now()).saturating_duration_since(Instant::now())
    }

    /// Waits until the pod's time is up, which may become shorter meanwhile.
    pub(crate) async fn time_is_up(&self) {
        let mut latest = self.latest.subscribe();
        loop {
            let left = self.grace();
            tokio::select! {
                () = tokio::time::sleep(left) => return,
                Ok(()) = latest.changed() => {}
            }
        }
    }

    /// Runs the pod until it has ended or is told to stop, and tells the API how it goes.
    pub(crate) async fn run(self: Arc<Self>) {
        let telling = tokio::spawn(self.clone().tell());
        let mut work = std::pin::pin!(self.clone().work());
        tokio::select! {
            () = &mut work => {}
            () = self.too_long() => work.await,
            () = self.overflows() => work.await,
        }
        self.change(|state| {
            state.over = !self.node.shutdown.is_cancelled();
            // What a pod that did not run again still waited for comes no more.
            if state.over && state.failure.is_none() {
                // What has brought the pod up did so for good.
                let sidecars = state.init.iter_mut().filter(|own| own.sidecar);
                state.containers.iter_mut().chain(sidecars).for_each(|own| own.ready = false);
            }
        });
        self.past.clear().await;
        self.leave_network().await;
        self.stop.cancelled().await;
        telling.abort();
        // Whoever waits for the pod's end hears of it before the pod is gone.
        let _ = tokio::time::timeout(LAST_WORD, self.tell_once(&mut None)).await;
        self.clean().await;
    }

    /// Ends the containers when the pod has run for as long as it may, which may be said while it runs.
    async fn too_long(&self) {
        let mut latest = self.latest.subscribe();
        loop {
            let limit =
                latest.borrow_and_update().spec.as_ref().and_then(|spec| spec.active_deadline_seconds);
            let run = Timestamp::now().duration_since(self.look(|state| state.started));
            let left = seconds(limit.unwrap_or(0)).saturating_sub(run.try_into().unwrap_or_default());
            tokio::select! {
                () = tokio::time::sleep(left), if limit.is_some() => break,
                Ok(()) = latest.changed() => {}
            }
        }
        let message = "Pod was active on the node longer than the specified deadline".to_owned();
        self.note(None, Kind::Normal, "DeadlineExceeded", message.clone());
        self.change(|state| state.failure = Some(Failure { reason: "DeadlineExceeded", message }));
        self.halt.cancel();
    }

    /// Ends the containers when one of the pod's directories holds more than it may.
    async fn overflows(&self) {
        let (volume, limit) = volumes::overflow(self).await;
        let message = format!("Usage of EmptyDir volume {volume:?} exceeds the limit {limit:?}. ");
        self.note(None, Kind::Warning, "Evicted", message.clone());
        self.change(|state| state.failure = Some(Failure { reason: "Evicted", message }));
        self.halt.cancel();
    }

    async fn work(self: Arc<Self>) {
        if self.halt.is_cancelled() && !self.past.has_containers() {
            return;
        }
        let init: Vec<Container> =
            self.spec().and_then(|spec| spec.init_containers.clone()).unwrap_or_default();
        let main: Vec<Container> = self.spec().map(|spec| spec.containers.clone()).unwrap_or_default();
        let (mains_stop, sidecars_stop) = (self.halt.clone(), CancellationToken::new());
        let slots = init
            .into_iter()
            .enumerate()
            .map(|(at, container)| (Role::of_init(&container), at, container))
            .chain(main.into_iter().enumerate().map(|(at, container)| (Role::Main, at, container)))
            .map(|(role, at, container)| {
                let stop = if role == Role::Sidecar { &sidecars_stop } else { &mains_stop };
                Slot::new(self.clone(), role, at, container, stop.clone())
            });
        let slots: Vec<Slot> = slots.collect();
        let Some(place) = Place::find(&self, &slots).await else { return };
        let _fresh = place.keep_fresh(&self);

        let guests_stop = self.halt.child_token();
        let guests = tokio::spawn(self.clone().guests(place.clone(), guests_stop.clone()));
        let mut sidecars = JoinSet::new();
        let mut mains = Vec::new();
        let mut is_up = true;
        for slot in slots {
            if !is_up {
                break;
            }
            match slot.role() {
                Role::Main | Role::Guest | Role::Volume => mains.push(slot),
                Role::Init => is_up = slot.run(&place).await && !self.halt.is_cancelled(),
                Role::Sidecar => {
                    let (up, place) = (slot.up(), place.clone());
                    sidecars.spawn(async move { slot.run(&place).await });
                    tokio::select! {
                        () = up.cancelled() => {}
                        () = self.halt.cancelled() => is_up = false,
                    }
                }
            }
        }
        if is_up {
            let mut running = JoinSet::new();
            for slot in mains {
                let place = place.clone();
                running.spawn(async move { slot.run(&place).await });
            }
            while running.join_next().await.is_some() {}
        }
        if !sidecars.is_empty() {
            sidecars_stop.cancel();
            while sidecars.join_next().await.is_some() {}
        }
        guests_stop.cancel();
        let _ended = guests.await;
    }

    /// Runs the containers that join the pod while it runs, each from when it is asked for until it or the pod ends.
    async fn guests(self: Arc<Self>, place: Place, stop: CancellationToken) {
        let mut latest = self.latest.subscribe();
        let mut running = JoinSet::new();
        let mut begun = 0;
        loop {
            let pod = latest.borrow_and_update().clone();
            let all =
                pod.spec.as_ref().and_then(|spec| spec.ephemeral_containers.as_deref()).unwrap_or_default();
            // They come one behind the other, and none goes.
            for (at, own) in all.iter().enumerate().skip(begun) {
                let mut progress =
                    Progress::new(&own.name, own.image.as_deref().unwrap_or_default(), "ContainerCreating");
                self.past.fill(&mut progress, &Role::Guest.place(at));
                self.change(|state| state.guests.push(progress));
                let slot = Slot::new(self.clone(), Role::Guest, at, as_container(own), stop.clone());
                let place = place.clone();
                running.spawn(async move { slot.run(&place).await });
            }
            begun = begun.max(all.len());
            tokio::select! {
                () = stop.cancelled() => break,
                changed = latest.changed() => if changed.is_err() { break },
            }
        }
        while running.join_next().await.is_some() {}
    }

    /// Tells the API about each change, the newest state in place of those that came too fast.
    async fn tell(self: Arc<Self>) {
        let mut told = None;
        self.changed.notify_one();
        loop {
            self.changed.notified().await;
            match self.tell_once(&mut told).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::warn!(pod = self.pod.name_any(), %error, "cannot write a pod's status; trying again");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    self.changed.notify_one();
                }
            }
        }
    }

    /// Writes the pod's status, if it differs from what was told. False when there is no such pod any more.
    async fn tell_once(
        &self,
        told: &mut Option<k8s_openapi::api::core::v1::PodStatus>,
    ) -> Result<bool, kube::Error> {
        let pods = self.api();
        let Some(current) = pods.get_opt(&self.pod.name_any()).await? else { return Ok(false) };
        if current.uid() != self.pod.uid() {
            return Ok(false);
        }
        let status = self.look(|state| state.status(&current, Timestamp::now()));
        if told.as_ref() == Some(&status) {
            return Ok(true);
        }
        let patch = json!({"metadata": {"uid": self.pod.uid()}, "status": status});
        let parameters = PatchParams { field_manager: Some("kubelet".into()), ..PatchParams::default() };
        match pods.patch_status(&self.pod.name_any(), &parameters, &Patch::Merge(patch)).await {
            Ok(_) => *told = Some(status),
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(false),
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    fn api(&self) -> Api<Pod> {
        Api::namespaced(self.node.client.clone(), &self.pod.namespace().unwrap_or_default())
    }

    /// Gives the pod's address back.
    async fn leave_network(&self) {
        self.node.release(&self.pod);
        if let (Ok(containers), Ok(id)) = (self.node.containers(), pod_id(&self.pod)) {
            let (network, pod) = (containers.network.clone(), id.clone());
            if let Ok(Err(error)) = tokio::task::spawn_blocking(move || network.detach(&pod)).await {
                tracing::warn!(pod = self.pod.name_any(), %error, "cannot take a pod's network away");
            }
            if let Err(error) = containers.runtime.remove_user_namespace(&id).await {
                tracing::warn!(pod = self.pod.name_any(), %error, "cannot let go of a pod's identities");
            }
        }
    }

    /// Takes away what the pod had on this machine, and then the pod, if it was deleted.
    async fn clean(&self) {
        if let Err(error) = self.node.remove_folder(&self.folder).await {
            tracing::warn!(pod = self.pod.name_any(), %error, "cannot take a pod's directory away");
        }
        if self.node.shutdown.is_cancelled() {
            return;
        }
        let preconditions = Preconditions { uid: self.pod.uid(), resource_version: None };
        let parameters = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(preconditions),
            ..DeleteParams::default()
        };
        let mut back_off = BackOff::new(DELETE_AGAIN);
        loop {
            match self.api().delete(&self.pod.name_any(), &parameters).await {
                // Gone, or another pod of that name by now.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => return,
                Err(error) => {
                    tracing::warn!(pod = self.pod.name_any(), %error, "cannot finish a pod's deletion; trying again");
                }
                Ok(_) => return,
            }
            tokio::select! {
                () = tokio::time::sleep(back_off.pause()) => {}
                () = self.node.shutdown.cancelled() => return,
            }
        }
    }
}

/// An ephemeral container as what it has in common with others.
fn as_container(own: &EphemeralContainer) -> Container {
    let own = own.clone();
    Container {
        name: own.name,
        image: own.image,
        image_pull_policy: own.image_pull_policy,
        command: own.command,
        args: own.args,
        working_dir: own.working_dir,
        env: own.env,
        env_from: own.env_from,
        volume_mounts: own.volume_mounts,
        security_context: own.security_context,
        termination_message_path: own.termination_message_path,
        termination_message_policy: own.termination_message_policy,
        stdin: own.stdin,
        tty: own.tty,
        ..Container::default()
    }
}

/// When a pod must have ended that is given `whole` at `now`: a shorter time than the last one counts from then on, a longer
/// one does not.
fn shorten(deadline: &mut Option<(Instant, Duration)>, whole: Duration, now: Instant) -> Instant {
    let first = (now + whole, whole);
    let (until, last) = deadline.get_or_insert(first);
    if whole < *last {
        *until = first.0.min(*until);
        *last = whole;
    }
    *until
}

/// What containers and networks know a pod by.
pub(crate) fn pod_id(pod: &Pod) -> Result<ContainerId, crate::Error> {
    Ok(pod.uid().unwrap_or_default().parse::<ContainerId>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shorter_time_to_end_counts_from_when_it_is_given_and_a_longer_one_never() {
        let (begun, second) = (Instant::now(), Duration::from_secs(1));
        let mut deadline = None;
        assert_eq!(shorten(&mut deadline, 30 * second, begun), begun + 30 * second);
        assert_eq!(shorten(&mut deadline, 30 * second, begun + 5 * second), begun + 30 * second);
        assert_eq!(shorten(&mut deadline, 60 * second, begun + 5 * second), begun + 30 * second);
        assert_eq!(shorten(&mut deadline, 2 * second, begun + 10 * second), begun + 12 * second);
        assert_eq!(shorten(&mut deadline, 2 * second, begun + 11 * second), begun + 12 * second);
        assert_eq!(shorten(&mut deadline, Duration::ZERO, begun + 11 * second), begun + 11 * second);
    }
}

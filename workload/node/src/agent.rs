//! The agent: sees which pods are to run here, and starts and ends their lives.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Node as NodeObject, Pod};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use xebec_container::{Container, ContainerId, PodNetwork, Runtime};
use xebec_oci::Store;
use xebec_oci::client::ClientOptions;
use xebec_wasm::{Host, Names};

use crate::adoption::{Leftovers, Name};
use crate::event::{Kind, Recorder, Source, pod_reference};
use crate::pod::{Life, pod_id};
use crate::pull::Pulls;
use crate::scheduler::{Devices, Load, Plan, Refusal, Storage};
use crate::volumes::Holders;
use crate::{Error, adoption, heartbeat, litter, scheduler, security, taint, volumes};

/// What containers have to end in when the node ends; then they are killed.
const SHUTDOWN: Duration = Duration::from_secs(5);
/// How long pods may take to be gone when the node ends; then what is left of them is cleared away without them.
const DRAIN: Duration = Duration::from_secs(8);
/// The same from when the node is to end at once.
const HASTE: Duration = Duration::from_secs(1);
/// How long events may take to be written when the node ends.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How many loopback addresses there are for pods.
const LOOPBACKS: u32 = 1 << 14;

/// What runs containers, where the machine lets it.
#[derive(Clone)]
pub struct Containers {
    /// Makes and watches them.
    pub runtime: Arc<Runtime>,
    /// Gives their pods addresses.
    pub network: Arc<PodNetwork>,
}

/// Cluster DNS as pods see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterDns {
    /// Where it is asked, at port 53.
    pub server: Ipv4Addr,
    /// The domain that the names of services end in.
    pub domain: String,
}

/// Gives the names that components of a namespace know beside the machine's.
pub type NamesOf = Arc<dyn Fn(&str) -> Arc<dyn Names> + Send + Sync>;

/// Comes back once what a pod of this address sends and gets is filtered as it has to be. Pods start after that.
pub type Covers = Arc<dyn Fn(Pod, Ipv4Addr) -> BoxFuture<'static, ()> + Send + Sync>;

/// What the node is made of.
pub struct Options {
    /// The node's name.
    pub name: String,
    /// The node's address.
    pub address: Ipv4Addr,
    /// Where the addresses of pods without a network namespace begin: 2^14 loopback addresses that no one else uses.
    pub loopback: Ipv4Addr,
    /// Where pods keep their files.
    pub folder: PathBuf,
    /// The images.
    pub store: Arc<Store>,
    /// Where the images' registry is reached: names that begin with it mean what is in `store`.
    pub registry: Option<SocketAddr>,
    /// How other registries are reached.
    pub registries: ClientOptions,
    /// What runs components.
    pub host: Host,
    /// What runs containers, or why they cannot run here.
    pub containers: Result<Containers, String>,
    /// Cluster DNS. Without, pods look names up as the machine does.
    pub dns: Option<ClusterDns>,
    /// The names of services, for components, which have no network of their own.
    pub names: Option<NamesOf>,
    /// Who filters what pods send and get, if anybody does.
    pub covers: Option<Covers>,
    /// Given when the node that ends is to end at once, with no more time for its pods.
    pub hurry: CancellationToken,
}

/// The node as its pods see it.
pub(crate) struct Node {
    pub(crate) client: Client,
    pub(crate) options: Options,
    pub(crate) shutdown: CancellationToken,
    /// When containers that have not ended are killed, from when the node ends.
    deadline: OnceLock<Instant>,
    pub(crate) events: Recorder,
    pub(crate) pulls: Pulls,
    addresses: Mutex<BTreeMap<u32, String>>,
    /// Which pods have which persistent volumes.
    pub(crate) holders: Holders,
}

impl Node {
    pub(crate) fn containers(&self) -> Result<&Containers, Error> {
        self.options.containers.as_ref().map_err(|why| Error::Unprivileged(why.clone()))
    }

    /// Comes when the node that ends has no more time for containers.
    pub(crate) async fn ends_pods(&self) {
        self.shutdown.cancelled().await;
        let deadline = *self.deadline.get_or_init(|| Instant::now() + SHUTDOWN);
        tokio::select! {
            () = self.options.hurry.cancelled() => {}
            () = tokio::time::sleep_until(deadline) => {}
        }
    }

    pub(crate) fn pod_folder(&self, pod: &Pod) -> PathBuf {
        self.options.folder.join(pod.uid().unwrap_or_default())
    }

    /// A loopback address for a pod, its own until it is released.
    pub(crate) fn loopback(&self, pod: &Pod) -> Ipv4Addr {
        let uid = pod.uid().unwrap_or_default();
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let own = addresses.iter().find(|(_, owner)| **owner == uid).map(|(number, _)| *number);
        // Addresses are not used again at once: what is known of them elsewhere may be old.
        let next = addresses.last_key_value().map_or(1, |(number, _)| number + 1);
        let free = || (1..LOOPBACKS).find(|number| !addresses.contains_key(number)).unwrap_or(1);
        let number = own.unwrap_or(if next < LOOPBACKS { next } else { free() });
        addresses.insert(number, uid);
        Ipv4Addr::from(u32::from(self.options.loopback) + number)
    }

    pub(crate) fn release(&self, pod: &Pod) {
        let uid = pod.uid().unwrap_or_default();
        self.holders.release(&uid);
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, owner| *owner != uid);
    }

    /// Removes a pod's directory with all that was mounted there.
    pub(crate) async fn remove_folder(&self, folder: &Path) -> Result<(), Error> {
        let path = folder.to_owned();
        let removed = tokio::task::spawn_blocking(move || volumes::remove(&path)).await?;
        removed.map_err(|source| Error::File { path: folder.to_owned(), source })
    }
}

struct Running {
    life: Arc<Life>,
    task: JoinHandle<()>,
}

/// The pods of this machine, as the API tells of them.
struct Agent {
    node: Arc<Node>,
    lives: HashMap<String, Running>,
    /// What an earlier process left and nobody has claimed yet, by the pods' uids.
    leftovers: HashMap<String, Vec<(Name, Container)>>,
    /// While all pods are listed: the uids of those that were seen.
    listing: Option<HashSet<String>>,
    is_listed: bool,
    /// Pods that others put here, which cannot be judged before it is known what else is here.
    early: Vec<Pod>,
    /// The node as the API has it.
    object: Option<NodeObject>,
    /// Pods that wait for a place, and those that have got one which the watch has not told of yet.
    pending: BTreeMap<String, Pod>,
    assumed: HashMap<String, Load>,
    /// When pods must leave the node because of its taints.
    evictions: HashMap<String, Instant>,
    /// What is known of the volumes that pods wait for.
    storage: Storage,
    /// What is known of the devices that pods wait for.
    devices: Devices,
    /// What takes away the remains of an earlier run.
    cleaning: Option<AbortOnDropHandle<()>>,
}

/// Runs the pods of this machine until `shutdown` is cancelled, and ends them then.
pub async fn run(client: Client, options: Options, shutdown: CancellationToken) {
    let (events, writing) = Recorder::start(client.clone(), options.name.clone());
    let node = Arc::new(Node {
        client: client.clone(),
        options,
        shutdown: shutdown.clone(),
        deadline: OnceLock::new(),
        events,
        pulls: Pulls::default(),
        addresses: Mutex::default(),
        holders: Holders::default(),
    });
    let (storage, devices, known) = scheduler::follow(client.clone());
    let beating = AbortOnDropHandle::new(tokio::spawn(heartbeat::beat(node.clone())));
    let sweeping = AbortOnDropHandle::new(tokio::spawn(litter::sweep(node.clone())));
    let mut agent = Agent {
        leftovers: adoption::leftovers(&node.options).await,
        node,
        lives: HashMap::new(),
        listing: None,
        is_listed: false,
        early: Vec::new(),
        object: None,
        pending: BTreeMap::new(),
        assumed: HashMap::new(),
        evictions: HashMap::new(),
        storage,
        devices,
        cleaning: None,
    };
    let only = watcher::Config::default().fields(&format!("metadata.name={}", agent.node.options.name));
    let nodes: Api<NodeObject> = Api::all(client.clone());
    let mut objects = Box::pin(watcher::watcher(nodes, only).default_backoff().applied_objects());
    let pods: Api<Pod> = Api::all(client);
    // Who owns which field is none of the node's business.
    let lean = |pod: &mut Pod| pod.metadata.managed_fields = None;
    let events = watcher::watcher(pods, watcher::Config::default()).default_backoff().modify(lean);
    let mut events = Box::pin(events);
    loop {
        let due = agent.evictions.values().min().copied();
        tokio::select! {
            () = shutdown.cancelled() => break,
            event = events.next() => match event {
                None => break,
                Some(Err(error)) => tracing::warn!(%error, "lost sight of the pods; looking again"),
                Some(Ok(event)) => agent.take(event).await,
            },
            Some(object) = objects.next() => match object {
                Err(error) => tracing::warn!(%error, "lost sight of the node; looking again"),
                Ok(object) => agent.node_changed(object),
            },
            () = known.changed() => {}
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                agent.evict().await;
            }
        }
        agent.schedule().await;
    }
    drop((beating, sweeping));
    agent.end().await;
    // What is noted by now is written, if that is quick.
    let _ = tokio::time::timeout(LAST_WORDS, writing).await;
}

impl Agent {
    async fn take(&mut self, event: watcher::Event<Pod>) {
        match event {
            watcher::Event::Init => {
                self.listing = Some(HashSet::new());
                self.early.clear();
            }
            watcher::Event::InitApply(pod) => {
                if let (Some(seen), Some(uid)) = (&mut self.listing, pod.uid()) {
                    seen.insert(uid);
                }
                self.apply(pod).await;
            }
            watcher::Event::InitDone => {
                // What is no longer there was deleted while nobody looked.
                let there = self.listing.take().unwrap_or_default();
                self.pending.retain(|uid, _| there.contains(uid));
                self.assumed.retain(|uid, _| there.contains(uid));
                for (_, running) in self.lives.iter().filter(|(uid, _)| !there.contains(*uid)) {
                    running.life.end();
                }
                if !std::mem::replace(&mut self.is_listed, true) {
                    for pod in std::mem::take(&mut self.early) {
                        self.apply(pod).await;
                    }
                    self.clear_leftovers(&there);
                }
            }
            watcher::Event::Apply(pod) => self.apply(pod).await,
            watcher::Event::Delete(pod) => {
                let uid = pod.uid().unwrap_or_default();
                self.pending.remove(&uid);
                self.assumed.remove(&uid);
                if let Some(running) = self.lives.get(&uid) {
                    running.life.update(pod);
                    running.life.end();
                }
            }
        }
        let evictions = &mut self.evictions;
        self.lives.retain(|uid, running| {
            let stays = !running.task.is_finished();
            if !stays {
                evictions.remove(uid);
            }
            stays
        });
    }

    async fn apply(&mut self, pod: Pod) {
        let uid = pod.uid().unwrap_or_default();
        let assigned = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
        let ending = pod.metadata.deletion_timestamp.is_some();
        self.pending.remove(&uid);
        if assigned.is_empty() {
            if !ending && scheduler::is_ours(&pod) {
                self.pending.insert(uid, pod);
            }
            return;
        }
        let is_ours = self.assumed.remove(&uid).is_some();
        if assigned != self.node.options.name {
            return;
        }
        if let Some(running) = self.lives.get(&uid) {
            running.life.update(pod);
            if ending {
                running.life.end();
            }
            return;
        }
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        let over = matches!(phase, Some("Succeeded" | "Failed"));
        if over && !ending {
            return;
        }
        let is_new = !ending && pod.status.as_ref().is_none_or(|status| status.start_time.is_none());
        if is_new && let Some(name) = security::forbidden_sysctl(&pod) {
            let message = format!("forbidden sysctl: {name:?} not allowlisted");
            return scheduler::reject(&self.node, &pod, "SysctlForbidden", &message).await;
        }
        if is_new && !self.is_listed {
            self.early.push(pod);
            return;
        }
        if let Some(object) = self.object.as_ref().filter(|_| is_new && !is_ours)
            && let Err((reason, message)) = scheduler::admit(&pod, object, &self.load())
        {
            return scheduler::reject(&self.node, &pod, &reason, &message).await;
        }
        let leftovers = Leftovers {
            containers: self.leftovers.remove(&uid).unwrap_or_default(),
            has_network: self.has_network(&pod),
        };
        let life = Life::new(self.node.clone(), pod, leftovers);
        if ending {
            life.end();
        }
        self.lives.insert(uid, Running { life: life.clone(), task: tokio::spawn(life.run()) });
        self.plan_evictions();
    }

    fn node_changed(&mut self, object: NodeObject) {
        self.object = Some(object);
        self.plan_evictions();
    }

    /// What the pods ask for that are here or have got a place.
    fn load(&self) -> Load {
        let mut load = Load::default();
        for running in self.lives.values().filter(|running| !running.life.is_over()) {
            load.add(&Load::of(&running.life.latest.borrow()));
        }
        self.assumed.values().for_each(|own| load.add(own));
        load
    }

    /// Puts the pods that wait on this node, as far as it takes them, the most important first.
    async fn schedule(&mut self) {
        // Before all pods are listed, it is not known what room there is.
        let is_due = self.is_listed && !self.pending.is_empty();
        let Some(object) = self.object.clone().filter(|_| is_due) else { return };
        let mut load = self.load();
        let mut pending: Vec<(String, Pod)> = std::mem::take(&mut self.pending).into_iter().collect();
        pending.sort_by_key(|(_, pod)| {
            (Reverse(scheduler::priority(pod)), pod.metadata.creation_timestamp.clone())
        });
        for (uid, pod) in pending {
            if scheduler::is_gated(&pod) {
                let message = "Scheduling is blocked due to non-empty scheduling gates";
                scheduler::refuse(&self.node, &pod, "SchedulingGated", message).await;
                self.pending.insert(uid, pod);
                continue;
            }
            match self.plan(&pod, &object, &load) {
                Ok(Plan::Refuse(reason)) => {
                    self.refuse(&pod, &Refusal::of_node(&[reason], false)).await;
                    self.pending.insert(uid, pod);
                }
                Ok(Plan::Wait(steps)) => {
                    for step in steps {
                        if let Err(error) = scheduler::take(&self.node, &step).await {
                            tracing::warn!(pod = pod.name_any(), %error, "cannot get a pod its volumes");
                        }
                    }
                    self.pending.insert(uid, pod);
                }
                Ok(Plan::Ready) => {
                    if self.has_devices(&pod, &object).await && scheduler::bind(&self.node, &pod).await {
                        load.add(&Load::of(&pod));
                        self.assumed.insert(uid, Load::of(&pod));
                    } else {
                        self.pending.insert(uid, pod);
                    }
                }
                Err(refusal) => {
                    self.refuse(&pod, &refusal).await;
                    if refusal.is_full && self.make_room(&pod, &object).await {
                        // What others make free for it is not given to less important ones.
                        load.add(&Load::of(&pod));
                    }
                    self.pending.insert(uid, pod);
                }
            }
        }
    }

    /// What is to be done about a pod that waits.
    fn plan(&self, pod: &Pod, object: &NodeObject, load: &Load) -> Result<Plan, Refusal> {
        let Some(claims) = self.storage.claims(pod)? else { return Ok(Plan::Wait(Vec::new())) };
        scheduler::judge(pod, object, load)?;
        Ok(self.storage.plan(&claims, object, load))
    }

    /// Whether the claims of a pod have the devices that they ask for; gives them what they lack.
    async fn has_devices(&self, pod: &Pod, object: &NodeObject) -> bool {
        let settled = self.devices.settle(&self.node, pod, object).await;
        if let Err(refusal) = &settled {
            self.refuse(pod, refusal).await;
        }
        settled == Ok(true)
    }

    /// Ends less important pods so that this one fits. Tells whether it will.
    async fn make_room(&self, pod: &Pod, object: &NodeObject) -> bool {
        let running: Vec<&Arc<Life>> =
            self.lives.values().map(|running| &running.life).filter(|life| !life.is_over()).collect();
        let pods: Vec<Arc<Pod>> = running.iter().map(|life| life.latest.borrow().clone()).collect();
        let is_below = |other: &Pod| scheduler::priority(other) < scheduler::priority(pod);
        if pods.iter().any(|other| is_below(other) && scheduler::is_making_room(other)) {
            return true;
        }
        if !scheduler::may_preempt(pod) {
            return false;
        }
        let mut others = Load::default();
        self.assumed.values().for_each(|own| others.add(own));
        let pods: Vec<&Pod> = pods.iter().map(Arc::as_ref).collect();
        let Some(victims) = scheduler::victims(pod, object, &pods, &others) else { return false };
        scheduler::nominate(&self.node, pod).await;
        let names: Vec<_> = victims.iter().map(|victim| victim.uid()).collect();
        for life in running.into_iter().filter(|life| names.contains(&life.pod.uid())) {
            life.make_room(pod).await;
        }
        true
    }

    async fn refuse(&self, pod: &Pod, refusal: &scheduler::Refusal) {
        let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let mut told = conditions.filter(|own| own.type_ == "PodScheduled");
        if told.any(|own| own.message.as_ref() == Some(&refusal.message)) {
            return;
        }
        let object = pod_reference(pod, None);
        let message = refusal.message.clone();
        self.node.events.note(Source::Scheduler, object, Kind::Warning, "FailedScheduling", message);
        scheduler::refuse(&self.node, pod, refusal.reason, &refusal.message).await;
    }

    /// Finds out which pods must leave because of the node's taints, and when.
    fn plan_evictions(&mut self) {
        let taints = self.object.as_ref().and_then(|object| object.spec.as_ref()?.taints.clone());
        let taints = taints.unwrap_or_default();
        let now = Instant::now();
        let mut evictions = HashMap::new();
        for (uid, running) in self.lives.iter().filter(|(_, running)| !running.life.is_over()) {
            if let Some(stay) = taint::stay(&running.life.pod, &taints) {
                // What began to run out goes on to do so.
                let due = now + stay;
                evictions.insert(uid.clone(), self.evictions.get(uid).map_or(due, |old| due.min(*old)));
            }
        }
        self.evictions = evictions;
    }

    /// Deletes the pods whose time here is over.
    async fn evict(&mut self) {
        let now = Instant::now();
        let due: Vec<String> =
            self.evictions.iter().filter(|(_, at)| **at <= now).map(|(uid, _)| uid.clone()).collect();
        for uid in due {
            let Some(running) = self.lives.get(&uid) else {
                self.evictions.remove(&uid);
                continue;
            };
            // Another attempt comes later if this one fails.
            self.evictions.insert(uid, now + Duration::from_secs(10));
            running.life.evict().await;
        }
    }

    fn has_network(&self, pod: &Pod) -> bool {
        let (Ok(containers), Ok(id)) = (self.node.containers(), pod_id(pod)) else { return false };
        containers.network.pods().contains_key(&id)
    }

    /// Takes away what an earlier process left of pods that are no more. What that is is found out at once; to take it away
    /// may take long, and the other pods do not wait for it.
    fn clear_leftovers(&mut self, there: &HashSet<String>) {
        let left: Vec<Container> = std::mem::take(&mut self.leftovers)
            .into_values()
            .flatten()
            .map(|(_, container)| container)
            .collect();
        let is_gone = |pod: &ContainerId| !self.lives.contains_key(pod.as_str());
        let own = self.node.containers().ok();
        let networks: Vec<_> =
            own.into_iter().flat_map(|own| own.network.pods().into_keys()).filter(&is_gone).collect();
        let users: Vec<_> =
            own.into_iter().flat_map(|own| own.runtime.user_namespaces()).filter(&is_gone).collect();
        let folders = std::fs::read_dir(&self.node.options.folder).into_iter().flatten().flatten();
        let folders: Vec<_> = folders
            .filter(|entry| !there.contains(&*entry.file_name().to_string_lossy()))
            .map(|entry| entry.path())
            .collect();
        let node = self.node.clone();
        self.cleaning = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            futures::future::join_all(left.into_iter().map(adoption::delete)).await;
            if let Ok(containers) = node.containers() {
                let network = containers.network.clone();
                let detached = tokio::task::spawn_blocking(move || {
                    networks.iter().filter_map(|pod| network.detach(pod).err()).next()
                });
                if let Ok(Some(error)) = detached.await {
                    tracing::warn!(%error, "cannot take away the network of a pod of an earlier run");
                }
                for pod in users {
                    if let Err(error) = containers.runtime.remove_user_namespace(&pod).await {
                        tracing::warn!(%error, "cannot let go of the identities of a pod of an earlier run");
                    }
                }
            }
            for folder in folders {
                if let Err(error) = node.remove_folder(&folder).await {
                    tracing::warn!(%error, "cannot clean up the directory of a pod of an earlier run");
                }
            }
        })));
    }

    async fn end(self) {
        match self.lives.values().filter(|running| !running.life.is_over()).count() {
            0 => {}
            1 => tracing::info!("stopping 1 pod …"),
            count => tracing::info!("stopping {count} pods …"),
        }
        for running in self.lives.values() {
            running.life.end();
        }
        let late = async {
            tokio::select! {
                () = tokio::time::sleep(DRAIN) => {}
                () = async {
                    self.node.options.hurry.cancelled().await;
                    tokio::time::sleep(HASTE).await;
                } => {}
            }
        };
        let mut tasks: Vec<_> = self.lives.into_values().map(|running| running.task).collect();
        let cleaning = async {
            if let Some(cleaning) = self.cleaning {
                let _cleaned = cleaning.await;
            }
        };
        let all_ended = tokio::select! {
            _ = futures::future::join(futures::future::join_all(&mut tasks), cleaning) => true,
            () = late => false,
        };
        if !all_ended {
            let left: Vec<_> = tasks.into_iter().filter(|task| !task.is_finished()).collect();
            tracing::warn!("{} pods did not end in time; their containers are killed", left.len());
            for task in &left {
                task.abort();
            }
            // One that was aborted makes nothing any more.
            for task in left {
                let _aborted = task.await;
            }
        }
        adoption::clear(&self.node.options).await;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests;

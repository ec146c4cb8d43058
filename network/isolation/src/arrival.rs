//! Pods that are about to start, which the API does not know the addresses of yet.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use tokio::sync::{mpsc, oneshot};

use crate::world::keep_what_matters;

/// How long a pod waits until it is covered.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a pod that was announced may take until the API tells its address.
pub(crate) const FORGET: Duration = Duration::from_secs(60);
/// How many pods may wait to be heard.
const ROOM: usize = 64;

/// A pod with the address that it gets.
pub(crate) struct Arrival {
    pod: Pod,
    address: Ipv4Addr,
    covered: oneshot::Sender<()>,
}

/// Where pods are announced before they start.
#[derive(Clone)]
pub struct Arrivals(mpsc::Sender<Arrival>);

/// The pods that are announced, to be given to who covers them.
pub struct Expected(pub(crate) mpsc::Receiver<Arrival>);

/// Both ends.
#[must_use]
pub fn arrivals() -> (Arrivals, Expected) {
    let (sender, receiver) = mpsc::channel(ROOM);
    (Arrivals(sender), Expected(receiver))
}

impl Arrivals {
    /// Comes back once what a pod of this address sends and gets is filtered as policies say, or when that takes too long: it
    /// is then covered as soon as it can be. Where nobody covers pods it comes back at once.
    pub async fn cover(&self, mut pod: Pod, address: Ipv4Addr) {
        keep_what_matters(&mut pod);
        let name = pod.name_any();
        let (covered, done) = oneshot::channel();
        let announced = async {
            if self.0.send(Arrival { pod, address, covered }).await.is_ok() {
                // Whoever is gone covers nobody.
                _ = done.await;
            }
        };
        if tokio::time::timeout(PATIENCE, announced).await.is_err() {
            tracing::warn!(pod = name, "a pod starts before NetworkPolicies are known to hold for it");
        }
    }
}

struct Announced {
    pod: Arc<Pod>,
    address: Ipv4Addr,
    at: Instant,
}

/// The pods that were announced and are not known otherwise yet, by their identity.
#[derive(Default)]
pub(crate) struct Waiting {
    pods: BTreeMap<String, Announced>,
    /// Those who wait to be covered.
    asking: Vec<oneshot::Sender<()>>,
}

impl Waiting {
    pub(crate) fn add(&mut self, arrival: Arrival) {
        let Arrival { pod, address, covered } = arrival;
        // An address is its last holder's.
        self.pods.retain(|_, other| other.address != address);
        let uid = pod.uid().unwrap_or_default();
        self.pods.insert(uid, Announced { pod: Arc::new(pod), address, at: Instant::now() });
        self.asking.push(covered);
    }

    /// All of them are covered.
    pub(crate) fn answer(&mut self) {
        for covered in self.asking.drain(..) {
            // One that waited too long has gone on.
            _ = covered.send(());
        }
    }

    /// Whether there are any.
    pub(crate) fn is_empty(&self) -> bool {
        self.pods.is_empty()
    }

    /// Forgets those that the API tells the addresses of, and those that never came.
    pub(crate) fn forget(&mut self, known: &[Arc<Pod>]) {
        let told: BTreeSet<String> = known
            .iter()
            .filter(|pod| pod.status.as_ref().is_some_and(|status| status.pod_ip.is_some()))
            .filter_map(|pod| pod.uid())
            .collect();
        self.pods.retain(|uid, own| !told.contains(uid) && own.at.elapsed() < FORGET);
    }

    /// Each with its address. The labels are those of the pods that are known, which may be newer.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Arc<Pod>, Ipv4Addr)> {
        self.pods.iter().map(|(uid, own)| (uid.as_str(), &own.pod, own.address))
    }
}

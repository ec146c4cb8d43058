//! Claims of storage and of devices: which volume or devices one may have, of which class it is, and which pods use it.
//!
//! What comes in: claims, volumes, what drivers offer, classes and pods as values. What goes out: answers, which whoever binds claims and whoever
//! places pods must give alike, each from what it saw. The rules are those of Kubernetes. Nothing here knows a client, a
//! clock or a disk.

pub mod allocation;
pub mod class;
pub mod device;
pub mod matching;
pub mod pod;

/// Said of a claim whose binding was done once.
pub const COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// Said of a claim or volume whose other half was chosen for it and not by the user.
pub const BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
/// The node of whose pod a claim's volume is to be made.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// Who made a volume.
pub const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
/// Who is to make a volume for a claim, by its name now and the one from before.
pub const PROVISIONER: [&str; 2] =
    ["volume.kubernetes.io/storage-provisioner", "volume.beta.kubernetes.io/storage-provisioner"];
/// The only kind of access that one pod has alone.
pub const ONE_POD: &str = "ReadWriteOncePod";

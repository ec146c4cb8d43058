//! Linux containers of OCI images.
//!
//! In come an image in a content store and what to run of it; out come a process in namespaces and control groups of its
//! own, its log in the form that Kubernetes reads, and how it ended. Beside it lives the pod network: a bridge, a network
//! namespace and an address for each pod. The crate knows neither pods as objects nor clients; whoever uses it decides
//! what runs, when and how often. It follows the OCI runtime specification 1.0 through libcontainer.
//!
//! The program that uses it must have a hidden subcommand that ends in [`monitor`].

mod attachment;
mod cgroup;
mod config;
mod entry;
mod error;
mod exec;
mod log;
mod monitor;
mod namespace;
mod netlink;
mod network;
mod privilege;
mod process;
mod program;
mod rootfs;
mod runtime;
mod spec;
mod stage;
mod terminal;
mod tree;
mod user;
mod user_namespace;

pub use attachment::{AttachedInput, AttachedOutput, Attachment, Streams};
pub use cgroup::Usage;
pub use config::{DEFAULT_CAPABILITIES, all_capabilities};
pub use error::Error;
pub use exec::{Exec, ExecOutput};
pub use log::{Stream, rfc3339};
pub use monitor::monitor;
pub use network::{PodAddress, PodNetwork, Range};
pub use privilege::{Privilege, check};
pub use runtime::{Container, Image, MonitorCommand, Runtime, Status};
pub use rustix::process::Signal;
pub use spec::{ContainerId, ContainerSpec, Exit, Mount, Network, Resources, Stdin};
pub use terminal::{Terminal, TerminalSize};
pub use user_namespace::{IDENTITIES, UserNamespace};

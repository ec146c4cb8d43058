//! PersistentVolumes and the claims on them: who gets which, who is asked to make one, and what becomes of a volume whose
//! claim is gone.
//!
//! [`claim`] and [`volume`] say what is to be done about one object as functions of what there is, and the loops do it: the
//! volume is written first, so that whatever a crash leaves behind is a volume that says whose it is. Whoever makes volumes
//! is told by annotations of the claim and answers with a volume; nothing here knows a disk.

pub mod claim;
mod reconcile;
pub mod volume;

pub(crate) use reconcile::{RIGHTS, run};

/// What the names of provisioners begin with that Kubernetes has built in, or once had.
const BUILT_IN: &str = "kubernetes.io/";

/// Something to tell the users of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Whether it needs a look.
    pub is_warning: bool,
    /// In one word.
    pub reason: &'static str,
    /// In full.
    pub message: String,
}

impl Told {
    fn normal(reason: &'static str, message: impl Into<String>) -> Self {
        Self { is_warning: false, reason, message: message.into() }
    }

    fn warning(reason: &'static str, message: impl Into<String>) -> Self {
        Self { is_warning: true, reason, message: message.into() }
    }
}

//! Fields that an apply would take from others, and the words in which it is said.

use super::element::Element;
use super::fields::{FieldSet, path_text};
use super::managed::Manager;
use crate::status::Cause;

/// A field that another manager owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Who owns it.
    pub manager: Manager,
    /// The field.
    pub path: Vec<Element>,
}

impl Conflict {
    /// One conflict for each field of a set.
    pub(super) fn all(manager: &Manager, fields: &FieldSet) -> Vec<Self> {
        fields.paths().into_iter().map(|path| Self { manager: manager.clone(), path }).collect()
    }

    /// The cause in the answer.
    pub(super) fn cause(&self) -> Cause {
        Cause {
            reason: "FieldManagerConflict".to_owned(),
            message: format!("conflict with {}", self.manager),
            field: path_text(&self.path),
        }
    }
}

/// The message of an apply that failed. Conflicts with one manager stand together.
pub(super) fn message(conflicts: &[Conflict]) -> String {
    if let [one] = conflicts {
        return format!(
            "Apply failed with 1 conflict: conflict with {}: {}",
            one.manager,
            path_text(&one.path)
        );
    }
    let mut lines = Vec::new();
    let mut last = None;
    for conflict in conflicts {
        if last != Some(&conflict.manager) {
            lines.push(format!("conflicts with {}:", conflict.manager));
            last = Some(&conflict.manager);
        }
        lines.push(format!("- {}", path_text(&conflict.path)));
    }
    format!("Apply failed with {} conflicts: {}", conflicts.len(), lines.join("\n"))
}

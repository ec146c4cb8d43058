//! All groups together, as a configuration asks for them, and what is to be done when it changes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use xebec_promql::parser::ParserOptions;

use crate::file::{self, UnknownFields};
use crate::group::Group;

/// More groups than these are refused.
pub const MOST_GROUPS: usize = 100_000;

/// What becomes of groups when the configuration changes.
#[derive(Debug, Default)]
pub struct Change {
    /// All groups from now on, by file and name.
    pub groups: Vec<Arc<Group>>,
    /// Those of them that are new, each with the group that it replaces: that one has to stop before the new one takes
    /// over its state and begins.
    pub begun: Vec<(Arc<Group>, Option<Arc<Group>>)>,
    /// Groups that are gone: they have to stop, and their series to end.
    pub gone: Vec<Arc<Group>>,
}

/// Reads the groups of files. All that is wrong is told.
pub fn load(
    files: &[PathBuf],
    usual_interval: i64,
    restores: bool,
    options: ParserOptions,
) -> Result<Vec<Group>, Vec<String>> {
    let mut groups = Vec::new();
    let mut errors = Vec::new();
    for path in files {
        match load_file(path, usual_interval, restores, options) {
            Ok(found) => groups.extend(found),
            Err(found) => errors.extend(found),
        }
        if groups.len() > MOST_GROUPS {
            errors.push(format!("rule_files: there are over {MOST_GROUPS} groups: leave files out"));
            break;
        }
    }
    if errors.is_empty() { Ok(groups) } else { Err(errors) }
}

fn load_file(
    path: &Path,
    usual_interval: i64,
    restores: bool,
    options: ParserOptions,
) -> Result<Vec<Group>, Vec<String>> {
    let shown = path.display().to_string();
    let read = file::load(path, UnknownFields::Refused, options)?;
    let each = read.iter().map(|group| Group::new(&shown, group, usual_interval, restores));
    each.collect::<Result<_, String>>().map_err(|why| vec![format!("{shown}: {why}")])
}

/// What becomes of the groups that run when these are to run.
pub fn change(running: &[Arc<Group>], wanted: Vec<Group>) -> Change {
    let mut known: HashMap<String, Arc<Group>> =
        running.iter().map(|group| (group.key(), Arc::clone(group))).collect();
    let mut change = Change::default();
    for group in wanted {
        match known.remove(&group.key()) {
            Some(same) if same.is_same(&group) => change.groups.push(same),
            before => {
                let group = Arc::new(group);
                change.groups.push(Arc::clone(&group));
                change.begun.push((group, before));
            }
        }
    }
    change.groups.sort_by(|one, two| (&one.file, &one.name).cmp(&(&two.file, &two.name)));
    change.gone = known.into_values().collect();
    change
}

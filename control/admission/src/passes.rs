//! The two passes over the mutating stages: what changed the object late lets those before it look again, once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

/// Which pass it is, and who has to run again in the second one.
#[derive(Debug, Default)]
pub struct Passes {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    is_second: bool,
    is_wanted: bool,
    stages: BTreeMap<&'static str, Stage>,
}

/// What a stage that calls others (webhooks, policies) remembers of them.
#[derive(Debug, Default)]
struct Stage {
    /// Those that ran and want to see what is changed after them.
    ran: BTreeSet<String>,
    /// Those whose object was changed after they ran.
    due: BTreeSet<String>,
    /// The object as the stage left it.
    left: Option<Value>,
}

impl Stage {
    fn let_run_again(&mut self) {
        self.due.append(&mut self.ran);
    }
}

impl Passes {
    /// Begins a stage's turn. Whoever ran in its last turn runs again, if others have changed the object since.
    pub fn enter(&self, stage: &'static str, object: &Value) {
        self.with(|state| {
            let is_second = state.is_second;
            let stage = state.stages.entry(stage).or_default();
            if is_second && stage.left.as_ref().is_some_and(|left| left != object) {
                stage.let_run_again();
            }
        });
    }

    /// Whether one of those that a stage calls has its turn.
    pub fn has_turn(&self, stage: &'static str, who: &str) -> bool {
        self.with(|state| {
            !state.is_second || state.stages.get(stage).is_some_and(|stage| stage.due.contains(who))
        })
    }

    /// Notes that one of those that a stage calls ran: whether it changed the object, and whether it wants to run again
    /// where others do after it.
    pub fn ran(&self, stage: &'static str, who: &str, has_changed: bool, wants_again: bool) {
        self.with(|state| {
            state.is_wanted |= has_changed;
            let stage = state.stages.entry(stage).or_default();
            if has_changed {
                stage.let_run_again();
            }
            if wants_again {
                stage.ran.insert(who.to_owned());
            }
        });
    }

    /// Ends a stage's turn.
    pub fn leave(&self, stage: &'static str, object: &Value) {
        self.with(|state| state.stages.entry(stage).or_default().left = Some(object.clone()));
    }

    /// Begins the second pass, if it is wanted and has not been yet.
    pub(crate) fn again(&self) -> bool {
        self.with(|state| {
            let begins = state.is_wanted && !state.is_second;
            state.is_second = true;
            begins
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn those_before_a_change_run_again_and_the_others_do_not() {
        let passes = Passes::default();
        assert!(passes.has_turn("hooks", "first"));
        passes.ran("hooks", "first", false, true);
        passes.ran("hooks", "never", false, false);
        passes.ran("hooks", "second", true, true);
        passes.leave("hooks", &json!(1));
        assert!(passes.again());
        passes.enter("hooks", &json!(1));
        let turns = ["first", "never", "second"].map(|who| passes.has_turn("hooks", who));
        assert_eq!(turns, [true, false, false]);
        assert!(!passes.again(), "there is no third pass");
    }

    #[test]
    fn what_others_changed_in_the_second_pass_is_seen_by_all_that_want_it() {
        let passes = Passes::default();
        passes.ran("hooks", "only", true, true);
        passes.leave("hooks", &json!(1));
        assert!(passes.again());
        passes.enter("hooks", &json!(2));
        assert!(passes.has_turn("hooks", "only"));
    }

    #[test]
    fn nothing_runs_again_where_nothing_was_changed() {
        let passes = Passes::default();
        passes.ran("hooks", "only", false, true);
        assert!(!passes.again());
    }
}

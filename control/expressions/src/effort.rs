//! A bound on what an evaluation copies and compares. Costs follow the reference implementation, which counts some work by
//! the size of its input alone; this bound keeps such work from filling the memory or never ending.

use std::cell::Cell;

use crate::value::{Evaluated, EvaluationError};

/// What one evaluation may spend: a comparison is one.
const MOST: u64 = 4_000_000;
/// What an element costs that is put into a new list.
const PER_ELEMENT: u64 = 4;
/// How many bytes of new text cost one.
const BYTES_PER_UNIT: usize = 4;

thread_local! {
    static LEFT: Cell<u64> = const { Cell::new(MOST) };
}

/// Runs an evaluation with a bound of its own.
pub(crate) fn bounded<T>(run: impl FnOnce() -> T) -> T {
    let before = LEFT.replace(MOST);
    let result = run();
    LEFT.set(before);
    result
}

fn spend(units: u64) -> Evaluated<()> {
    match LEFT.get().checked_sub(units) {
        Some(left) => {
            LEFT.set(left);
            Ok(())
        }
        None => Err(EvaluationError::over_limit()),
    }
}

/// One value is looked at.
pub(crate) fn look() -> Evaluated<()> {
    spend(1)
}

/// A list of that many elements is made.
pub(crate) fn make_list(elements: usize) -> Evaluated<()> {
    spend((elements as u64).saturating_mul(PER_ELEMENT))
}

/// Text of that many bytes is made.
pub(crate) fn make_text(bytes: usize) -> Evaluated<()> {
    spend((bytes / BYTES_PER_UNIT) as u64)
}

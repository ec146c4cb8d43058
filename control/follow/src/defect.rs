//! Work that must not take others down with it.

use std::fmt;
use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;

/// What some work panicked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defect(String);

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a defect: {}; everything else is looked after, and this again later. Please report it",
            self.0
        )
    }
}

impl std::error::Error for Defect {}

/// What comes of some work, or the defect that it met: one object that breaks a pass must not end all passes.
///
/// # Errors
/// Where the work panics.
pub async fn caught<T>(work: impl Future<Output = T>) -> Result<T, Defect> {
    // What a pass leaves half done it also leaves half done when its connection breaks.
    AssertUnwindSafe(work).catch_unwind().await.map_err(|panic| {
        let text = panic.downcast_ref::<&str>().copied().map(str::to_owned);
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        Defect(text.unwrap_or_else(|| "no reason was given".to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pass_that_panics_is_a_pass_that_failed() {
        let Err(defect) = caught(async { Vec::<u8>::new()[3] }).await else {
            panic!("there is no fourth byte")
        };
        let text = defect.to_string();
        assert!(text.starts_with("a defect: index out of bounds"), "{text}");
        assert_eq!(caught(std::future::ready(7)).await, Ok(7));
    }
}

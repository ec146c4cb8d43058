//! A bar on the terminal for what takes over a second; nothing elsewhere.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use xebec_oci::Digest;
use xebec_oci::client::{Progress, Watcher};

/// What takes less time is not worth a bar.
const PATIENCE: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(100);

/// A bar that shows itself when the work takes long, and goes when it is dropped.
pub(crate) struct Bar {
    bar: ProgressBar,
    showing: Option<tokio::task::JoinHandle<()>>,
}

impl Bar {
    /// Of work that goes by this name.
    pub(crate) fn new(what: &str) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        bar.set_message(what.to_owned());
        set_style(&bar, "{spinner} {msg} {elapsed}");
        let showing = std::io::stderr().is_terminal().then(|| {
            let bar = bar.clone();
            tokio::spawn(async move {
                tokio::time::sleep(PATIENCE).await;
                bar.set_draw_target(ProgressDrawTarget::stderr());
                bar.enable_steady_tick(TICK);
            })
        });
        Self { bar, showing }
    }

    /// Goes on to work of another name.
    pub(crate) fn turn_to(&self, what: &str) {
        self.bar.set_message(what.to_owned());
    }

    /// What moves the bar as blobs come and go.
    pub(crate) fn watcher(&self) -> Watcher {
        let bar = self.bar.clone();
        let tally = Mutex::new(Tally::default());
        Arc::new(move |progress| {
            let (bytes, total) = tally.lock().unwrap_or_else(PoisonError::into_inner).add(progress);
            if bar.length() != Some(total) {
                set_style(&bar, "{spinner} {msg} {wide_bar} {binary_bytes}/{binary_total_bytes}");
                bar.set_length(total);
            }
            bar.set_position(bytes);
        })
    }
}

fn set_style(bar: &ProgressBar, template: &str) {
    // The templates above are well formed; a bar of the library's own style would do as well.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(showing) = &self.showing {
            showing.abort();
        }
        self.bar.finish_and_clear();
    }
}

/// How far the blobs are that were heard of.
#[derive(Default)]
struct Tally(HashMap<Digest, (u64, u64)>);

impl Tally {
    fn add(&mut self, progress: Progress) -> (u64, u64) {
        self.0.insert(progress.digest, (progress.bytes.min(progress.total), progress.total));
        self.0.values().fold((0, 0), |sum, blob| (sum.0 + blob.0, sum.1 + blob.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_that_goes_on_counts_once_and_never_past_its_end() {
        let mut tally = Tally::default();
        let (first, second) = (Digest::of(b"1"), Digest::of(b"2"));
        assert_eq!(tally.add(Progress { digest: first, bytes: 10, total: 100 }), (10, 100));
        assert_eq!(tally.add(Progress { digest: second, bytes: 50, total: 50 }), (60, 150));
        assert_eq!(tally.add(Progress { digest: first, bytes: 101, total: 100 }), (150, 150));
    }
}

//! The owner of tasks that serve a connection beside its own: they are counted, and cut together.

use std::fmt;
use std::future::Future;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A set of tasks; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Tasks {
    running: TaskTracker,
    cut: CancellationToken,
}

impl Tasks {
    /// Runs a task until it ends or the set is cut.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let cut = self.cut.clone();
        self.running.spawn(async move {
            // A cut drops the task where it stands.
            let _ = cut.run_until_cancelled(task).await;
        });
    }

    /// Ends all tasks now.
    pub(crate) fn cut(&self) {
        self.cut.cancel();
    }

    /// A set within this one: cut with it, or alone.
    pub(crate) fn child(&self) -> Self {
        Self { running: self.running.clone(), cut: self.cut.child_token() }
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks").field("running", &self.running.len()).finish()
    }
}

impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, future: F) {
        self.spawn(async move {
            future.await;
        });
    }
}

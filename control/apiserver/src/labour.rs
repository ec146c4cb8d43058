//! Work that keeps a processor busy for long, such as reading a large body or running dear rules: few do it at once, and
//! beside the threads that serve everybody.

use std::num::NonZero;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;

/// Work on bodies below this many bytes is done at once.
const LIGHT: usize = 16 * 1024;
/// The weight of work that is long whatever the size of the body.
pub(crate) const HEAVY: usize = usize::MAX;

/// Who may work for long, and how many at once.
#[derive(Debug)]
pub(crate) struct Labour {
    places: Semaphore,
}

impl Default for Labour {
    /// Half of the processors, so that the others are there for those who want little.
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self { places: Semaphore::new((processors / 2).max(1)) }
    }
}

impl Labour {
    /// Does the work; that for a body of many bytes in its turn and beside the threads that serve.
    pub(crate) async fn done<T>(&self, weight: usize, work: impl FnOnce() -> T) -> T {
        if weight < LIGHT {
            return work();
        }
        // Nobody closes it; then there would be no turns to wait for.
        let _place = self.places.acquire().await;
        match Handle::current().runtime_flavor() {
            RuntimeFlavor::MultiThread => tokio::task::block_in_place(work),
            _ => work(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn long_work_is_done_by_few_and_keeps_nobody_waiting() {
        let (labour, at_work, most) = (
            Arc::new(Labour { places: Semaphore::new(2) }),
            Arc::new(AtomicUsize::new(0)),
            Arc::new(AtomicUsize::new(0)),
        );
        let mut workers = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (labour, at_work, most) = (labour.clone(), at_work.clone(), most.clone());
            workers.spawn(async move {
                let work = || {
                    most.fetch_max(at_work.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(100));
                    at_work.fetch_sub(1, Ordering::SeqCst);
                };
                labour.done(HEAVY, work).await;
            });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        let begun = Instant::now();
        tokio::spawn(async {}).await.unwrap();
        labour.done(1, || ()).await;
        assert!(begun.elapsed() < Duration::from_millis(100), "{:?}", begun.elapsed());
        while let Some(ended) = workers.join_next().await {
            ended.unwrap();
        }
        assert_eq!(most.load(Ordering::SeqCst), 2);
    }
}

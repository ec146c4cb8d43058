//! The parts of a running platform, ended in order: first those that ask others, then those that are asked.

use std::time::Duration;

use anyhow::anyhow;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

/// What clients have to end in after they were asked to: the node ends its pods, the gateway its requests. The node keeps
/// a shorter time of its own, and clears away then what is left of its pods.
const CLIENTS_GRACE: Duration = Duration::from_secs(20);
/// What servers have to end in, when only users are left to ask them.
const SERVERS_GRACE: Duration = Duration::from_secs(6);

/// What parts have to end in when they are asked to do it at once.
const HASTE: Duration = Duration::from_secs(4);

/// Parts that are asked to end together.
pub(crate) struct Stage {
    stop: CancellationToken,
    running: JoinSet<&'static str>,
    grace: Duration,
}

impl Stage {
    fn new(grace: Duration) -> Self {
        Self { stop: CancellationToken::new(), running: JoinSet::new(), grace }
    }

    /// Given when the parts of this stage are to end.
    pub(crate) fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Runs a part that ends after [`stop`](Self::stop) was given.
    pub(crate) fn spawn(&mut self, name: &'static str, part: impl Future<Output = ()> + Send + 'static) {
        self.running.spawn(async move {
            part.await;
            name
        });
    }

    /// Waits for a part to end; for ever where there is none.
    async fn ended(&mut self) -> Result<&'static str, JoinError> {
        match self.running.join_next().await {
            Some(ended) => ended,
            None => std::future::pending().await,
        }
    }

    async fn end(mut self, hurry: &CancellationToken) {
        self.stop.cancel();
        let all = async {
            while let Some(ended) = self.running.join_next().await {
                if let Err(error) = ended {
                    tracing::error!(%error, "a part failed while it ended");
                }
            }
        };
        let in_haste = async {
            hurry.cancelled().await;
            tokio::time::sleep(HASTE).await;
        };
        tokio::select! {
            () = all => {}
            () = in_haste => tracing::warn!("parts were still busy when all was to end at once"),
            () = tokio::time::sleep(self.grace) => {
                tracing::warn!("parts were still busy after {} s and were cut off", self.grace.as_secs());
            }
        }
    }
}

/// All that runs.
pub(crate) struct Parts {
    /// What asks the servers: controllers, gateway, node.
    pub(crate) clients: Stage,
    /// What is asked: the API and the registry.
    pub(crate) servers: Stage,
}

impl Parts {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self { clients: Stage::new(CLIENTS_GRACE), servers: Stage::new(SERVERS_GRACE) }
    }

    /// Waits until a part ends though nobody asked it to, and says which.
    pub(crate) async fn ended_early(&mut self) -> anyhow::Error {
        let ended = tokio::select! {
            ended = self.clients.ended() => ended,
            ended = self.servers.ended() => ended,
        };
        match ended {
            Ok(part) => anyhow!("{part} ended on its own; its log lines above say why"),
            Err(error) => anyhow::Error::new(error).context("a part failed"),
        }
    }

    /// Ends them all: in order, or at once when `hurry` is given.
    pub(crate) async fn end(self, hurry: &CancellationToken) {
        self.clients.end(hurry).await;
        self.servers.end(hurry).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[tokio::test]
    async fn servers_end_after_the_last_client() {
        let mut parts = Parts::new();
        let order = Arc::new(Mutex::new(Vec::new()));
        let last = |stop: CancellationToken, name, needs| {
            let order = order.clone();
            async move {
                stop.cancelled().await;
                tokio::time::sleep(Duration::from_millis(needs)).await;
                order.lock().unwrap().push(name);
            }
        };
        let Parts { clients, servers } = &mut parts;
        servers.spawn("server", last(servers.stop(), "server", 0));
        clients.spawn("slow", last(clients.stop(), "slow", 50));
        clients.spawn("fast", last(clients.stop(), "fast", 0));
        parts.end(&CancellationToken::new()).await;
        assert_eq!(*order.lock().unwrap(), ["fast", "slow", "server"]);
    }

    #[tokio::test]
    async fn a_part_that_ends_on_its_own_is_named() {
        let mut parts = Parts::new();
        let stop = parts.clients.stop();
        parts.clients.spawn("lasting", async move { stop.cancelled().await });
        parts.servers.spawn("short", async {});
        assert!(parts.ended_early().await.to_string().starts_with("short ended on its own"));
        parts.end(&CancellationToken::new()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn parts_that_are_busy_are_cut_off_soon_when_all_is_to_end_at_once() {
        let mut parts = Parts::new();
        parts.clients.spawn("busy", std::future::pending());
        let (hurry, begun) = (CancellationToken::new(), tokio::time::Instant::now());
        hurry.cancel();
        parts.end(&hurry).await;
        assert!(begun.elapsed() < CLIENTS_GRACE / 2, "{:?}", begun.elapsed());
    }
}

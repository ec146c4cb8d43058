//! All controllers together.

use std::sync::Arc;

use kube::Client;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{deployment, endpoints, garbage, namespace, replica_set};

/// What every controller has.
pub(crate) struct World {
    pub(crate) client: Client,
    pub(crate) shutdown: CancellationToken,
}

/// Runs all controllers of the built-in kinds until `shutdown` is cancelled.
pub async fn run(client: Client, shutdown: CancellationToken) {
    let world = Arc::new(World { client, shutdown });
    let mut running = JoinSet::new();
    running.spawn(replica_set::run(world.clone()));
    running.spawn(deployment::run(world.clone()));
    running.spawn(endpoints::run(world.clone()));
    running.spawn(namespace::run(world.clone()));
    running.spawn(garbage::run(world));
    while let Some(ended) = running.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a controller failed and is no longer running; restart to bring it back");
        }
    }
}

use super::*;
use crate::config::{Domain, HostMatch, Protocol};
use crate::pool::Pool;
use crate::traffic::Traffic;

#[tokio::test]
async fn a_connection_takes_little_memory_beside_its_buffers() {
    let limits = Arc::new(Limits::default());
    let tasks = Tasks::default();
    let pool = Arc::new(Pool::new(&limits, tasks.child()));
    let hosts = vec![crate::config::VirtualHost { host: HostMatch::Any, routes: Vec::new() }];
    let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let state = State::new(Protocol::Http(vec![Domain::any(hosts)]), None, &Traffic::default());
    let shared = Shared {
        forwarder: Arc::new(Forwarder::new(&limits, pool, tasks.child(), None)),
        limits,
        state: Arc::new(RwLock::new(Arc::new(state))),
        stop: CancellationToken::new(),
        tasks,
    };
    let (stream, _peer) = tokio::io::duplex(1);
    let size = size_of_val(&shared.serve(other(stream), address));
    assert!(size <= 9 * 1024, "{size} bytes");
}

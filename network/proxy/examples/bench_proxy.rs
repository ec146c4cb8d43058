//! The engine on one thread in front of one endpoint: `bench_proxy LISTEN UPSTREAM`. `bench/proxy/run` compares it to
//! its peers.

use std::net::SocketAddr;
use std::process::ExitCode;

use xebec_proxy::config::{
    Action, Backend, Config, Domain, HostMatch, Listener, Protocol, Route, RouteMatch, VirtualHost,
};
use xebec_proxy::proxy::{Limits, Proxy};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<SocketAddr>());
    let (Some(Ok(address)), Some(Ok(upstream)), None) =
        (arguments.next(), arguments.next(), arguments.next())
    else {
        eprintln!("usage: bench_proxy LISTEN UPSTREAM, each as ADDRESS:PORT");
        return ExitCode::from(2);
    };
    match serve(address, upstream) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench_proxy: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(address: SocketAddr, upstream: SocketAddr) -> Result<(), Box<dyn std::error::Error>> {
    let backends = vec![Backend::new("upstream", 1, vec![upstream])];
    let routes = vec![Route::new("all", RouteMatch::default(), Action::Forward(backends))];
    let hosts = vec![VirtualHost { host: HostMatch::Any, routes }];
    let protocol = Protocol::Http(vec![Domain::any(hosts)]);
    let config = Config { listeners: vec![Listener { address, protocol }] };
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let mut proxy = Proxy::new(Limits::default());
        for listener in proxy.apply(config).await.listeners {
            println!("{}", listener?);
        }
        std::future::pending::<()>().await;
        Ok(())
    })
}

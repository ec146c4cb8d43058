//! Serves one component: `serve FILE.wasm [ADDRESS] [--reuse]`. Ends with its standard input.

use std::{env, error::Error, fs, io::Read as _, process::ExitCode, sync::Arc, time::Instant};

use sha2::{Digest as _, Sha256};
use tokio::{net::TcpListener, task::spawn_blocking};
use tokio_util::sync::CancellationToken;
use xebec_wasm::{Host, HostOptions, Stream, WorkloadOptions};

fn main() -> ExitCode {
    let (flags, arguments): (Vec<String>, Vec<String>) =
        env::args().skip(1).partition(|arg| arg.starts_with('-'));
    let Some(file) = arguments.first() else {
        eprintln!("usage: serve FILE.wasm [ADDRESS] [--reuse]");
        return ExitCode::from(2);
    };
    let address = arguments.get(1).map_or("127.0.0.1:8080", String::as_str);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(serve(file, address, flags.iter().any(|flag| flag == "--reuse"))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{file}: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(file: &str, address: &str, reuse: bool) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let bytes = fs::read(file)?;
    let cache = env::temp_dir().join("xebec-wasm-example");
    let host = Host::new(HostOptions::new(cache))?;
    let digest = format!("sha256:{:x}", Sha256::digest(&bytes));
    let compiled = spawn_blocking({
        let host = host.clone();
        move || host.compile(&digest, &bytes)
    })
    .await??;
    let options = WorkloadOptions {
        reuse,
        output: Arc::new(|stream: Stream, line: &str| match stream {
            Stream::Stdout => println!("{line}"),
            Stream::Stderr => eprintln!("{line}"),
        }),
        ..WorkloadOptions::default()
    };
    let workload = host.serve(&compiled, options).await?;
    let listener = TcpListener::bind(address).await?;
    eprintln!("ready on {} in {:?}", listener.local_addr()?, start.elapsed());
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        stop.cancel();
    });
    workload.serve(listener, shutdown).await;
    Ok(())
}

//! Runs one command to its end, with its exit code: `run FILE.wasm [ARGUMENT…]`.

use std::{env, error::Error, fs, process::ExitCode, sync::Arc};

use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;
use xebec_wasm::{Exit, Host, HostOptions, Stream, WorkloadOptions};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let Some(file) = args.first() else {
        eprintln!("usage: run FILE.wasm [ARGUMENT…]");
        return Ok(ExitCode::from(2));
    };
    let bytes = fs::read(file)?;
    let host = Host::new(HostOptions::new(env::temp_dir().join("xebec-wasm-example")))?;
    let command = host.compile(&format!("sha256:{:x}", Sha256::digest(&bytes)), &bytes)?;
    let options = WorkloadOptions {
        args,
        time_limit: None,
        output: Arc::new(|stream: Stream, line: &str| match stream {
            Stream::Stdout => println!("{line}"),
            Stream::Stderr => eprintln!("{line}"),
        }),
        ..WorkloadOptions::default()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match runtime.block_on(host.run_command(&command, options, CancellationToken::new()))? {
        Exit::Code(code) => Ok(u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from)),
        Exit::Cancelled | Exit::TimeIsOver => Ok(ExitCode::FAILURE),
    }
}

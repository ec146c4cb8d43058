//! The WebAssembly component host.
//!
//! In come the bytes of a component and what it may have: arguments, environment, directories, memory, time. Out comes
//! a running workload: an HTTP service that answers requests, or a command that runs to its end. A component is
//! compiled once, ahead of time, and its code kept on disk by digest; each request then gets a fresh instance, unless
//! the workload asks for reuse, in microseconds.
//!
//! It follows the Component Model and WASI 0.2 and 0.3: a component that exports `wasi:http/incoming-handler@0.2` or
//! `wasi:http/handler@0.3` is served, one that exports `wasi:cli/run` is run. It knows nothing of pods, images or
//! Kubernetes: who starts a workload brings the bytes, listens for it, and takes its lines of output.
//!
//! ```no_run
//! use tokio_util::sync::CancellationToken;
//! use xebec_wasm::{Host, HostOptions, Stream, WorkloadOptions};
//!
//! # async fn run(digest: &str, bytes: Vec<u8>) -> Result<(), Box<dyn std::error::Error>> {
//! let host = Host::new(HostOptions::new("cache"))?;
//! let compiled = host.compile(digest, &bytes)?;
//! let options = WorkloadOptions {
//!     env: vec![("VERSION".into(), "v1".into())],
//!     output: std::sync::Arc::new(|_: Stream, line: &str| println!("{line}")),
//!     ..WorkloadOptions::default()
//! };
//! let workload = host.serve(&compiled, options).await?;
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! workload.serve(listener, CancellationToken::new()).await;
//! # Ok(())
//! # }
//! ```

mod body;
mod cache;
mod command;
mod concurrent;
mod error;
mod failure;
mod guest;
mod host;
mod instance;
mod kind;
mod options;
mod outbound;
mod output;
mod server;
mod ticker;
mod workload;

pub use body::{Body, BodyError};
pub use command::Exit;
pub use error::Error;
pub use host::{Compiled, Host};
pub use kind::Kind;
pub use options::{HostOptions, LEAST_MEMORY, Volume, WorkloadOptions};
pub use outbound::{Found, LoopbackNetwork, Names};
pub use output::{LogSink, MAX_LINE, Stream};
pub use workload::Workload;

//! Containers that are WebAssembly components.

use std::io::Read as _;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use xebec_oci::image::Content;
use xebec_oci::{Digest, RepositoryName, Store};
use xebec_wasm::{Compiled, Exit, Host, LogSink, Stream, WorkloadOptions};

use crate::Error;
use crate::image::Found;
use crate::log_writer::Lines;

impl LogSink for Lines {
    fn line(&self, stream: Stream, line: &str) {
        let name = match stream {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        };
        Self::line(self, name, line);
    }
}

/// A component that is ready to run.
pub(crate) struct Ready {
    compiled: Compiled,
    listeners: Vec<TcpListener>,
}

/// The component of an image, compiled now or before.
pub(crate) async fn compile(host: &Host, store: &Arc<Store>, found: &Found) -> Result<Compiled, Error> {
    let Content::Wasm(layer) = &found.resolved.content else {
        return Err(Error::Config("the image is not WebAssembly".to_owned()));
    };
    let (host, store, name, digest) = (host.clone(), store.clone(), found.name.clone(), layer.digest);
    tokio::task::spawn_blocking(move || {
        let text = digest.to_string();
        if let Some(compiled) = host.cached(&text)? {
            return Ok(compiled);
        }
        let bytes = read(&store, &name, digest, host.max_component_size())?;
        Ok(host.compile(&text, &bytes)?)
    })
    .await?
}

/// A blob that is a component, as far as its length tells: what is too long to be compiled is not read at all.
fn read(store: &Store, name: &RepositoryName, digest: Digest, most: usize) -> Result<Vec<u8>, Error> {
    let refused = |detail: String| Error::Image { image: name.as_str().to_owned(), detail };
    let length = store.blob_bytes(name, digest).map_err(|error| refused(error.to_string()))?;
    if length > most as u64 {
        let why = "build it smaller, without debugging symbols for example";
        return Err(refused(format!("the component has {length} bytes and the limit is {most}: {why}")));
    }
    let mut bytes = Vec::new();
    let blob = store.open_blob(name, digest).map_err(|error| refused(error.to_string()))?;
    blob.take(length).read_to_end(&mut bytes).map_err(|error| refused(error.to_string()))?;
    Ok(bytes)
}

impl Ready {
    /// A component and, where it serves, its listeners: who connects from here on is answered.
    pub(crate) fn new(compiled: Compiled, listeners: Vec<TcpListener>) -> Self {
        Self { compiled, listeners }
    }

    /// Whether it runs to an end of its own, and does not serve.
    pub(crate) fn is_command(&self) -> bool {
        self.compiled.kind().is_command()
    }

    /// Runs to the end, or until `stop`; gives the exit code.
    pub(crate) async fn run(
        self,
        host: &Host,
        options: WorkloadOptions,
        stop: CancellationToken,
    ) -> Result<i32, Error> {
        if self.listeners.is_empty() {
            return Ok(match host.run_command(&self.compiled, options, stop).await? {
                Exit::Code(code) => code,
                Exit::Cancelled => 143,
                Exit::TimeIsOver => 124,
            });
        }
        let workload = host.serve(&self.compiled, options).await?;
        let serving = self.listeners.into_iter().map(|listener| workload.serve(listener, stop.clone()));
        futures::future::join_all(serving).await;
        workload.stop();
        Ok(0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;

    #[test]
    fn a_component_that_is_too_long_is_refused_by_its_length() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), xebec_oci::Limits::default()).unwrap();
        let name = "demo/large".parse().unwrap();
        let digest = store.put_blob(&name, b"12345").unwrap();
        assert_eq!(read(&store, &name, digest, 5).unwrap(), b"12345");
        let refused = read(&store, &name, digest, 4).unwrap_err().to_string();
        assert!(refused.contains("5 bytes and the limit is 4"), "{refused}");
    }
}

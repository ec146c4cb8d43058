//! What one instance has on the host's side: its WASI context, its limits and its deadline.

use std::time::Instant;

use wasmtime::{ResourceLimiter, Store, UpdateDeadline, component::ResourceTable};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::{Error, Stream, WorkloadOptions, outbound::Outbound, output::LineStream};

/// The data of one store.
pub(crate) struct State {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    outbound: Outbound,
    pub(crate) limiter: Limiter,
    /// The guest is stopped at the first tick after this.
    pub(crate) deadline: Option<Instant>,
    lines: [LineStream; 2],
}

impl State {
    pub(crate) fn new(options: &WorkloadOptions, deadline: Option<Instant>) -> Result<Self, Error> {
        let lines =
            [Stream::Stdout, Stream::Stderr].map(|stream| LineStream::new(options.output.clone(), stream));
        let [stdout, stderr] = lines.clone();
        let mut wasi = WasiCtxBuilder::new();
        wasi.args(&options.args).envs(&options.env).stdout(stdout).stderr(stderr);
        wasi.allow_tcp(false).allow_udp(false);
        for volume in &options.volumes {
            let permissions = if volume.read_only { FsPerms::ReadOnly } else { FsPerms::ReadWrite };
            wasi.preopened_dir(&volume.host_path, &volume.guest_path, permissions).map_err(|error| {
                Error::Volume { path: volume.host_path.clone(), reason: format!("{error:#}") }
            })?;
        }
        Ok(Self {
            table: ResourceTable::new(),
            wasi: wasi.build(),
            http: WasiHttpCtx::new(),
            outbound: Outbound {
                allowed: options.outbound_http,
                loopback: options.loopback.clone(),
                names: options.names.clone(),
            },
            limiter: Limiter { limit: options.memory_limit, ..Limiter::default() },
            deadline,
            lines,
        })
    }

    /// Sends out what the guest has printed without a line feed.
    pub(crate) fn flush_lines(&self) {
        self.lines.iter().for_each(LineStream::flush_line);
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.outbound }
    }
}

/// The guest's time is over. Carried as the reason of a trap.
#[derive(Debug, thiserror::Error)]
#[error("the time limit is over")]
pub(crate) struct TimeIsOver;

/// Puts the limits into force on a new store.
pub(crate) fn limit(store: &mut Store<State>) {
    store.limiter(|state| &mut state.limiter);
    store.epoch_deadline_callback(|store| match store.data().deadline {
        Some(deadline) if Instant::now() >= deadline => Err(wasmtime::Error::new(TimeIsOver)),
        _ => Ok(UpdateDeadline::Yield(1)),
    });
    store.set_epoch_deadline(1);
}

/// Counts the linear memory of one store.
#[derive(Debug, Default)]
pub(crate) struct Limiter {
    limit: usize,
    used: usize,
    /// The last growth that was allowed, to be taken back should the allocator fail.
    last: usize,
    /// What the guest would have had, where it was refused.
    pub(crate) refused: Option<usize>,
}

impl Limiter {
    /// What to say of a guest that went over its limit.
    pub(crate) fn verdict(&self) -> Option<String> {
        let wanted = self.refused?;
        Some(format!("it asked for {wanted} bytes of memory, its limit is {}", self.limit))
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let growth = desired.saturating_sub(current);
        let wanted = self.used.saturating_add(growth);
        if wanted > self.limit || maximum.is_some_and(|maximum| desired > maximum) {
            self.refused = Some(wanted);
            return Ok(false);
        }
        self.used = wanted;
        self.last = growth;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.used -= std::mem::take(&mut self.last);
        tracing::warn!(error = %error, "a guest's memory could not grow within its limit");
        Ok(())
    }

    fn table_growing(&mut self, _: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(maximum.is_none_or(|maximum| desired <= maximum))
    }
}

/// Makes the store of one instance, with its limits in force.
pub(crate) fn new_store(
    engine: &wasmtime::Engine,
    options: &WorkloadOptions,
    deadline: Option<Instant>,
) -> Result<Store<State>, Error> {
    let mut store = Store::new(engine, State::new(options, deadline)?);
    limit(&mut store);
    Ok(store)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_of_one_store_share_its_limit() {
        let mut limiter = Limiter { limit: 300, ..Limiter::default() };
        assert!(limiter.memory_growing(0, 200, None).unwrap());
        assert!(!limiter.memory_growing(0, 101, None).unwrap());
        assert!(limiter.memory_growing(200, 300, None).unwrap());
        assert_eq!(limiter.verdict().unwrap(), "it asked for 301 bytes of memory, its limit is 300");
    }

    #[test]
    fn growth_that_failed_is_given_back() {
        let mut limiter = Limiter { limit: 300, ..Limiter::default() };
        assert!(limiter.memory_growing(0, 300, None).unwrap());
        limiter.memory_grow_failed(wasmtime::Error::msg("no")).unwrap();
        assert!(limiter.memory_growing(0, 300, None).unwrap());
        assert!(limiter.verdict().is_none());
    }
}

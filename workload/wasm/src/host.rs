//! The engines, what they link guests to, and the code that they have compiled.
//!
//! There are two engines. A store that can run several guest tasks at once, as WASI 0.3 asks, costs every request some
//! 20 µs of bookkeeping; components of WASI 0.2 never need it, and get an engine without it. The other one is made when
//! the first component of 0.3 comes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

use sha2::{Digest as _, Sha256};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig,
    component::{Component, InstancePre, Linker},
};

use crate::{
    Error, HostOptions, Kind, WorkloadOptions,
    cache::Cache,
    instance::{State, new_store},
    kind::check_preamble,
    ticker::Ticker,
};

/// Runs components. Clones are one and the same host.
#[derive(Clone)]
pub struct Host(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) options: HostOptions,
    pub(crate) ticker: Arc<Ticker>,
    /// For components that do one thing at a time.
    plain: Machine,
    /// For the others.
    concurrent: OnceLock<Machine>,
    cache: Cache,
    /// Held while a digest is being compiled, so that the same work is not done twice at once.
    compiling: Mutex<HashMap<String, Weak<Mutex<()>>>>,
}

/// An engine and what its guests may import.
struct Machine {
    engine: Engine,
    linker: Linker<State>,
}

/// A component that is ready to be run: compiled, linked, and known by its kind. Clones share the code.
#[derive(Clone)]
pub struct Compiled {
    pub(crate) digest: Arc<str>,
    pub(crate) kind: Kind,
    pub(crate) pre: InstancePre<State>,
}

impl Compiled {
    /// How the component is entered.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The content that it was compiled from.
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

impl std::fmt::Debug for Compiled {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Compiled").field("digest", &self.digest).field("kind", &self.kind).finish()
    }
}

impl Host {
    /// Makes the engine and opens the cache.
    ///
    /// # Errors
    ///
    /// When an option has no meaning, the cache's directory cannot be used, or the address space does not hold the
    /// instances asked for.
    pub fn new(options: HostOptions) -> Result<Self, Error> {
        options.check()?;
        let plain = Machine::new(&options, Concurrency::Off)?;
        let cache = Cache::open(&options.cache_dir, &plain.engine, options.cache_limit)?;
        let ticker = Ticker::start().map_err(|error| Error::Engine { reason: error.to_string() })?;
        ticker.add(plain.engine.clone());
        let ticker = Arc::new(ticker);
        let (concurrent, compiling) = (OnceLock::new(), Mutex::default());
        Ok(Self(Arc::new(Shared { options, ticker, plain, concurrent, cache, compiling })))
    }

    /// Compiles a component ahead of time, or takes what was compiled before from the cache.
    ///
    /// It computes for milliseconds (from the cache) up to many seconds (a large component for the first time): call it
    /// where blocking is allowed, such as `tokio::task::spawn_blocking`.
    ///
    /// # Errors
    ///
    /// When the digest is not that of the bytes, or the bytes are not a component that this host can enter; the error
    /// says which and what to do.
    pub fn compile(&self, digest: &str, bytes: &[u8]) -> Result<Compiled, Error> {
        let name = cache_name(digest)?;
        check_preamble(bytes, digest)?;
        let limit = self.0.options.max_component_size;
        if bytes.len() > limit {
            return Err(Error::TooLarge { digest: digest.to_owned(), size: bytes.len(), limit });
        }
        let turn = self.0.compiling_turn(name);
        let held = turn.lock().unwrap_or_else(PoisonError::into_inner);
        let compiled = match self.0.load(digest, name)? {
            Some(compiled) => compiled,
            None => self.0.compile_anew(digest, name, bytes)?,
        };
        drop(held);
        Ok(compiled)
    }

    /// The largest component that is compiled, in bytes.
    pub fn max_component_size(&self) -> usize {
        self.0.options.max_component_size
    }

    /// The most linear memory that an instance may be given, in bytes.
    pub fn max_memory(&self) -> usize {
        self.0.options.max_memory
    }

    /// Takes a component from the cache by its digest alone; `None` when it has to be compiled first. Blocks for the
    /// time it takes to read the code.
    ///
    /// # Errors
    ///
    /// As for [`Host::compile`].
    pub fn cached(&self, digest: &str) -> Result<Option<Compiled>, Error> {
        self.0.load(digest, cache_name(digest)?)
    }
}

impl Shared {
    fn compiling_turn(&self, name: &str) -> Arc<Mutex<()>> {
        let mut turns = self.compiling.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = turns.get(name).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::new(Mutex::new(()));
        turns.insert(name.to_owned(), Arc::downgrade(&turn));
        turn
    }

    fn concurrent(&self) -> Result<&Machine, Error> {
        if let Some(machine) = self.concurrent.get() {
            return Ok(machine);
        }
        let made = Machine::new(&self.options, Concurrency::On)?;
        Ok(self.concurrent.get_or_init(|| {
            self.ticker.add(made.engine.clone());
            made
        }))
    }

    fn load(&self, digest: &str, name: &str) -> Result<Option<Compiled>, Error> {
        if let Some(component) = self.cache.load(&self.plain.engine, name) {
            return self.plain.link(digest, &component).map(Some);
        }
        let name = concurrent_name(name);
        if !self.cache.holds(&name) {
            return Ok(None);
        }
        let machine = self.concurrent()?;
        let component = self.cache.load(&machine.engine, &name);
        component.map(|component| machine.link(digest, &component)).transpose()
    }

    fn compile_anew(&self, digest: &str, name: &str, bytes: &[u8]) -> Result<Compiled, Error> {
        let actual = format!("sha256:{:x}", Sha256::digest(bytes));
        if actual != digest {
            return Err(Error::DigestMismatch { digest: digest.to_owned(), actual });
        }
        // What needs concurrency is refused by the plain engine when it reads the types, before any code is compiled.
        if let Ok(component) = Component::from_binary(&self.plain.engine, bytes) {
            self.keep(digest, name, &component);
            return self.plain.link(digest, &component);
        }
        let machine = self.concurrent()?;
        let component = Component::from_binary(&machine.engine, bytes)
            .map_err(|error| Error::Malformed { digest: digest.to_owned(), reason: format!("{error:#}") })?;
        self.keep(digest, &concurrent_name(name), &component);
        machine.link(digest, &component)
    }

    /// Keeps compiled code where that can be done; else the next start compiles it again.
    fn keep(&self, digest: &str, name: &str, component: &Component) {
        let kept = component
            .serialize()
            .map_err(|error| format!("{error:#}"))
            .and_then(|code| self.cache.keep(name, &code).map_err(|error| error.to_string()));
        if let Err(error) = kept {
            tracing::warn!(digest, error, "compiled code could not be kept");
        }
    }
}

impl Machine {
    fn new(options: &HostOptions, concurrency: Concurrency) -> Result<Self, Error> {
        let failed = |error: wasmtime::Error| Error::Engine { reason: format!("{error:#}") };
        let engine = Engine::new(&config(options, concurrency)).map_err(failed)?;
        let linker = linker(&engine, concurrency).map_err(failed)?;
        Ok(Self { engine, linker })
    }

    fn link(&self, digest: &str, component: &Component) -> Result<Compiled, Error> {
        let kind = Kind::of(component, &self.engine, digest)?;
        let pre = self
            .linker
            .instantiate_pre(component)
            .map_err(|error| Error::Import { digest: digest.to_owned(), reason: format!("{error:#}") })?;
        Ok(Compiled { digest: digest.into(), kind, pre })
    }
}

/// Brings one instance to life and lets it go again, to see whether it can be.
pub(crate) async fn start(
    host: &Shared,
    compiled: &Compiled,
    options: &WorkloadOptions,
) -> Result<(), Error> {
    let _turn = host.ticker.turn();
    let deadline = Instant::now().checked_add(options.time_limit.unwrap_or(START_LIMIT));
    let mut store = new_store(compiled.pre.engine(), options, deadline)?;
    let started = compiled.pre.instantiate_async(&mut store).await;
    started.map(drop).map_err(|error| Error::Start {
        digest: compiled.digest().to_owned(),
        reason: store.data().limiter.verdict().unwrap_or_else(|| format!("{error:#}")),
    })
}

/// How long the first instance may take to come to life where requests have no limit.
const START_LIMIT: Duration = Duration::from_secs(30);

/// The cache's name of a digest: its hexadecimal digits, so that no digest can name a file elsewhere.
fn cache_name(digest: &str) -> Result<&str, Error> {
    digest
        .strip_prefix("sha256:")
        .filter(|name| name.len() == 64 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
        .ok_or_else(|| Error::Digest { digest: digest.to_owned() })
}

/// The cache's name of code for the other engine.
fn concurrent_name(name: &str) -> String {
    format!("{name}-concurrent")
}

/// Whether one store may run several guest tasks at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Concurrency {
    Off,
    On,
}

/// Core instances and tables that one component of the usual making needs: the guest, the adapter and their shims.
const CORE_INSTANCES_EACH: u32 = 5;
/// Slots that keep their last guest's memory image while others of them are free.
const WARM_SLOTS: u32 = 64;

fn config(options: &HostOptions, concurrency: Concurrency) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(options.instances)
        .total_memories(options.instances)
        .total_stacks(options.instances)
        .total_core_instances(options.instances.saturating_mul(CORE_INSTANCES_EACH))
        .total_tables(options.instances.saturating_mul(CORE_INSTANCES_EACH))
        .max_memory_size(options.max_memory)
        .max_unused_warm_slots(WARM_SLOTS)
        .linear_memory_keep_resident(options.keep_resident)
        .table_keep_resident(16 << 10)
        .pagemap_scan(Enabled::Auto);
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .concurrency_support(concurrency == Concurrency::On)
        .epoch_interruption(true)
        .parallel_compilation(thread::available_parallelism().is_ok_and(|cores| cores.get() > 1))
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    if concurrency == Concurrency::On {
        config.wasm_component_model_async(true);
    }
    config
}

/// Every interface that a guest may import. What it may do with them, its [`State`] decides.
fn linker(engine: &Engine, concurrency: Concurrency) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    if concurrency == Concurrency::On {
        wasmtime_wasi::p3::add_to_linker(&mut linker)?;
        wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    }
    Ok(linker)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_cannot_lead_out_of_the_cache() {
        let hex = "a".repeat(64);
        assert_eq!(cache_name(&format!("sha256:{hex}")).unwrap(), hex);
        for digest in ["", "sha256:", "sha256:../../x", &hex, &format!("sha256:{}", hex.to_uppercase())] {
            assert!(matches!(cache_name(digest), Err(Error::Digest { .. })), "{digest}");
        }
        assert!(cache_name(&format!("sha512:{hex}")).is_err());
    }
}

//! The one thread that moves the engines' clocks.
//!
//! Compiled code looks at its engine's epoch on every loop turn and function entry. When it has moved on, the guest
//! yields to the other tasks of its thread, and is stopped if its time is over. The thread sleeps for good while no guest
//! runs, so that an idle machine stays idle.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use wasmtime::Engine;

/// How often a guest that computes lets others have their turn.
const TICK: Duration = Duration::from_millis(10);
/// After this many ticks without a guest the thread sleeps.
const IDLE_TICKS: u32 = 100;

pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    running: AtomicUsize,
    asleep: AtomicBool,
    engines: Mutex<Vec<Engine>>,
    stopped: AtomicBool,
}

impl Ticker {
    pub(crate) fn start() -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let thread = thread::Builder::new().name("wasm-epoch".into()).spawn({
            let shared = shared.clone();
            move || shared.tick()
        })?;
        Ok(Self { shared, thread })
    }

    pub(crate) fn add(&self, engine: Engine) {
        self.shared.engines.lock().unwrap_or_else(PoisonError::into_inner).push(engine);
    }

    /// Keeps the clocks going until the turn is dropped.
    pub(crate) fn turn(self: &Arc<Self>) -> Turn {
        self.shared.running.fetch_add(1, SeqCst);
        if self.shared.asleep.load(SeqCst) {
            self.thread.thread().unpark();
        }
        Turn(self.clone())
    }
}

impl Shared {
    fn tick(&self) {
        let mut idle = 0;
        while !self.stopped.load(SeqCst) {
            if idle < IDLE_TICKS {
                thread::park_timeout(TICK);
            } else {
                // A turn that begins between the store and the load sees `asleep`, and its unpark is not lost: it lets
                // the next park return at once.
                self.asleep.store(true, SeqCst);
                while self.running.load(SeqCst) == 0 && !self.stopped.load(SeqCst) {
                    thread::park();
                }
                self.asleep.store(false, SeqCst);
            }
            let engines = self.engines.lock().unwrap_or_else(PoisonError::into_inner);
            engines.iter().for_each(Engine::increment_epoch);
            drop(engines);
            idle = if self.running.load(SeqCst) == 0 { idle + 1 } else { 0 };
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stopped.store(true, SeqCst);
        self.thread.thread().unpark();
    }
}

/// A guest is running as long as this lives.
pub(crate) struct Turn(Arc<Ticker>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.shared.running.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thread_ends_with_its_ticker() {
        let ticker = Ticker::start().unwrap();
        let shared = ticker.shared.clone();
        drop(ticker);
        while Arc::strong_count(&shared) > 1 {
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_turn_wakes_the_thread_that_fell_asleep() {
        let ticker = Arc::new(Ticker::start().unwrap());
        while !ticker.shared.asleep.load(SeqCst) {
            thread::sleep(TICK);
        }
        let turn = ticker.turn();
        while ticker.shared.asleep.load(SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
        drop(turn);
        assert_eq!(ticker.shared.running.load(SeqCst), 0);
    }
}

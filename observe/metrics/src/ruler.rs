//! Rules that run: the groups of the files that a configuration names, each evaluated by a task of its own when its time
//! comes.
//!
//! Groups follow the configuration and their files. One that changes hands its alerts on to the one that replaces it; the
//! series of one that is gone end after two rounds, by when rules that have only moved have gone on with them.

mod figures;
mod task;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, Semaphore};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use xebec_promql::engine::{Cancellation, Engine, EngineOptions};
use xebec_rules::group::{Group, Restoring};
use xebec_rules::{glob, groups};
use xebec_tsdb::Db;

use crate::config::RulesConfig;
use crate::notify::Notifications;
use crate::scrape::Scraper;
use crate::storage::RuledDb;

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(5);
/// Groups that are evaluated at a time; further ones wait.
const TURNS: usize = 8;
/// More files of rules than these are refused.
const MOST_FILES: usize = 10_000;

/// How rules run.
#[derive(Debug, Clone)]
pub struct RulerOptions {
    /// Where this instance is reached, which links in alerts begin with.
    pub external_url: String,
    /// As who alerts are sent.
    pub user_agent: String,
    /// After how long alerts are told again.
    pub resend_delay: Duration,
    /// What is known of alerts from before a restart.
    pub restoring: Restoring,
}

impl Default for RulerOptions {
    fn default() -> Self {
        Self {
            external_url: String::new(),
            user_agent: String::new(),
            resend_delay: Duration::from_secs(60),
            restoring: Restoring::default(),
        }
    }
}

/// Rules that run, for whoever asks. Clones are the same.
#[derive(Clone)]
pub struct Ruler(Arc<Inner>);

struct Inner {
    store: RuledDb,
    scraper: Scraper,
    engine: Engine,
    options: RulerOptions,
    notifications: Notifications,
    state: Mutex<State>,
    /// Groups are to be started or stopped.
    changed: Notify,
    turns: Semaphore,
}

#[derive(Default)]
struct State {
    config: RulesConfig,
    /// The files as they were when they were read last, or could not be read.
    stamps: Vec<Stamp>,
    groups: Vec<Arc<Group>>,
    /// Groups that are to be started, each with the one that it replaces.
    begun: Vec<(Arc<Group>, Option<Arc<Group>>)>,
    /// Groups that are to be stopped.
    gone: Vec<Arc<Group>>,
    running: HashMap<String, Running>,
    is_loaded: bool,
}

type Stamp = (PathBuf, Option<SystemTime>, u64);

/// A group's task.
struct Running {
    stop: CancellationToken,
    cancellation: Cancellation,
    task: JoinHandle<()>,
}

impl Running {
    fn end(&self) {
        self.stop.cancel();
        self.cancellation.cancel();
    }
}

impl std::fmt::Debug for Ruler {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Ruler").field("options", &self.0.options).finish_non_exhaustive()
    }
}

/// The files that patterns name, each once.
fn files_of(config: &RulesConfig) -> Result<Vec<PathBuf>, Vec<String>> {
    let mut files = Vec::new();
    for pattern in &config.files {
        files.extend(glob::matching(pattern).map_err(|why| vec![format!("rule_files: {why}")])?);
    }
    files.sort();
    files.dedup();
    if files.len() > MOST_FILES {
        let count = files.len();
        return Err(vec![format!("rule_files: {count} files are over the limit of {MOST_FILES}: join some")]);
    }
    Ok(files)
}

fn stamp(path: &PathBuf) -> Stamp {
    let metadata = std::fs::metadata(path).ok();
    let modified = metadata.as_ref().and_then(|metadata| metadata.modified().ok());
    (path.clone(), modified, metadata.map_or(0, |metadata| metadata.len()))
}

impl Ruler {
    /// Nothing is evaluated until [`run`](Self::run) is. Rules that cannot be read are an error here; later ones are told
    /// in the log, and the last good ones stay.
    pub fn new(db: Db, scraper: Scraper, options: RulerOptions) -> Result<Self, Vec<String>> {
        let notifications = Notifications::new(scraper.clone(), &options.external_url, &options.user_agent);
        let ruler = Self(Arc::new(Inner {
            store: RuledDb(db),
            scraper,
            engine: Engine::new(EngineOptions::default()),
            options,
            notifications,
            state: Mutex::default(),
            changed: Notify::new(),
            turns: Semaphore::new(TURNS),
        }));
        ruler.reload()?;
        Ok(ruler)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where alerts go.
    pub fn notifications(&self) -> &Notifications {
        &self.0.notifications
    }

    /// The groups, by file and name.
    pub fn groups(&self) -> Vec<Arc<Group>> {
        self.state().groups.clone()
    }

    /// Reads the rules that the configuration names by now.
    pub fn reload(&self) -> Result<(), Vec<String>> {
        let config = self.0.scraper.rules();
        let files = files_of(&config)?;
        let stamps: Vec<Stamp> = files.iter().map(stamp).collect();
        let (restores, interval) = (!self.state().is_loaded, config.interval.millis());
        let options = self.0.engine.options().parser;
        let wanted = groups::load(&files, interval, restores, options);
        let mut state = self.state();
        state.stamps = stamps;
        let wanted = wanted?;
        let running = state.groups.clone();
        let mut change = groups::change(&running, wanted);
        state.config = config;
        state.groups = std::mem::take(&mut change.groups);
        state.begun.append(&mut change.begun);
        state.gone.append(&mut change.gone);
        state.is_loaded = true;
        drop(state);
        self.0.changed.notify_one();
        self.0.notifications.reload();
        Ok(())
    }

    /// Evaluates rules until it is to stop.
    pub async fn run(&self, stop: CancellationToken) {
        // Alertmanagers are known before the first alert is told; rules end first, so that what they tell last is sent.
        self.0.notifications.sync().await;
        let (sending, rules) = (CancellationToken::new(), self.evaluate(stop));
        let (_guard, notifications) = (sending.clone().drop_guard(), &self.0.notifications);
        let ruling = async {
            rules.await;
            sending.cancel();
        };
        tokio::join!(notifications.run(sending.clone()), ruling);
    }

    async fn evaluate(&self, stop: CancellationToken) {
        let mut endings = JoinSet::new();
        loop {
            self.sync(&mut endings, &stop);
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.0.changed.notified() => {}
                Some(_) = endings.join_next() => {}
                () = tokio::time::sleep(LOOK) => self.look_at_files().await,
            }
        }
        let running: Vec<Running> = self.state().running.drain().map(|(_, running)| running).collect();
        running.iter().for_each(Running::end);
        for one in running {
            let _ended = one.task.await;
        }
        // Who ends as a whole leaves series as they are: it may be back soon.
        endings.shutdown().await;
    }

    async fn look_at_files(&self) {
        let ruler = self.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let config = ruler.0.scraper.rules();
            let stamps = files_of(&config).map(|files| files.iter().map(stamp).collect::<Vec<_>>());
            let is_same = {
                let state = ruler.state();
                state.config == config && stamps.as_ref() == Ok(&state.stamps)
            };
            if is_same {
                return;
            }
            match ruler.reload() {
                Ok(()) => tracing::info!("rules were read anew"),
                Err(errors) => {
                    for error in errors.iter().take(20) {
                        tracing::warn!("rules stay as they were: {error}");
                    }
                    // The same files are not tried again.
                    ruler.state().config = config;
                }
            }
        });
        let _looked = looked.await;
    }

    /// Starts what is new and stops what is gone.
    fn sync(&self, endings: &mut JoinSet<()>, stop: &CancellationToken) {
        let mut state = self.state();
        let (begun, gone) = (std::mem::take(&mut state.begun), std::mem::take(&mut state.gone));
        for group in gone {
            let running = state.running.remove(&group.key());
            running.iter().for_each(Running::end);
            endings.spawn(task::end(Arc::clone(&self.0), group, running.map(|running| running.task)));
        }
        for (group, before) in begun {
            let replaced = state.running.remove(&group.key());
            replaced.iter().for_each(Running::end);
            let (own, cancellation) = (stop.child_token(), Cancellation::default());
            let task = task::GroupTask {
                inner: Arc::clone(&self.0),
                group: Arc::clone(&group),
                stop: own.clone(),
                cancellation: cancellation.clone(),
            };
            let task = tokio::spawn(task.run(before, replaced.map(|running| running.task)));
            state.running.insert(group.key(), Running { stop: own, cancellation, task });
        }
    }
}

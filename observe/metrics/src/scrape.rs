//! Scraping: targets are found, asked every so often, and what they say is brought into the database.
//!
//! A [`Scraper`] is what is known of jobs and targets, for whoever asks; [`Scraper::run`] follows the configuration and the
//! files of targets, and has a task for each target. Where a target, or a series of it, is no longer there, a stale marker
//! ends the series.

pub(crate) mod client;
mod intake;
mod rounds;
pub(crate) mod target;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use xebec_tsdb::Db;

use crate::config::{
    AlertingConfig, Config, ConfigError, FileDiscovery, Group, RulesConfig, ScrapeConfig, read_groups,
};
use crate::labels::LabelSet;
pub use target::{FamilyMetadata, Health, Last, TargetStatus};

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(5);
/// How often the database is given time to tidy up.
const TIDY: Duration = Duration::from_secs(60);
/// Dropped targets that are told of each job.
const MOST_DROPPED: usize = 1000;
/// A file of targets may be so large.
const MOST_FILE: u64 = 16 << 20;

/// What is known of jobs and targets. Clones are the same.
#[derive(Debug, Clone)]
pub struct Scraper(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    db: Db,
    /// A `prometheus.yml` that is followed.
    file: Option<PathBuf>,
    /// Jobs of the program itself.
    own: Vec<ScrapeConfig>,
    state: Mutex<State>,
    /// Something has to be looked at anew.
    changed: Notify,
    user_agent: String,
}

#[derive(Debug, Default)]
struct State {
    config: Config,
    loaded: i64,
    failed: bool,
    /// When the file was written that was read last.
    written: Option<SystemTime>,
    /// Targets of the program's own jobs.
    offered: HashMap<String, Vec<Group>>,
    pools: BTreeMap<String, Pool>,
}

/// A job that is scraped.
#[derive(Debug, Default)]
struct Pool {
    written: String,
    running: HashMap<LabelSet, Running>,
    dropped: Vec<LabelSet>,
    failures: Vec<String>,
}

#[derive(Debug)]
struct Running {
    status: Arc<TargetStatus>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Scraper {
    /// Nothing is scraped until [`run`](Self::run) is. A configuration that cannot be read is an error here; later ones
    /// are told in the log, and the last good one stays.
    pub fn new(
        db: Db,
        file: Option<PathBuf>,
        own: Vec<ScrapeConfig>,
        user_agent: &str,
    ) -> Result<Self, ConfigError> {
        let (changed, state) = (Notify::new(), Mutex::default());
        let scraper =
            Self(Arc::new(Inner { db, file, own, state, changed, user_agent: user_agent.to_owned() }));
        scraper.load()?;
        Ok(scraper)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says which targets a job of the program's own has.
    pub fn offer(&self, job_name: &str, groups: Vec<Group>) {
        let mut state = self.state();
        if state.offered.get(job_name) != Some(&groups) {
            state.offered.insert(job_name.to_owned(), groups);
            drop(state);
            self.0.changed.notify_one();
        }
    }

    /// Reads the configuration anew.
    pub fn reload(&self) -> Result<(), ConfigError> {
        self.load()?;
        self.0.changed.notify_one();
        Ok(())
    }

    fn load(&self) -> Result<(), ConfigError> {
        let Some(file) = &self.0.file else {
            self.state().loaded = crate::now();
            return Ok(());
        };
        let written = std::fs::metadata(file).and_then(|metadata| metadata.modified()).ok();
        let read = Config::load(file).and_then(|config| {
            let taken =
                config.jobs.iter().find(|job| self.0.own.iter().any(|own| own.job_name == job.job_name));
            match taken {
                None => Ok(config),
                Some(job) => {
                    let name = &job.job_name;
                    let why = format!(
                        "scrape_configs: job_name {name:?} is a job of the program itself: rename yours"
                    );
                    Err(ConfigError { file: file.display().to_string(), why })
                }
            }
        });
        let mut state = self.state();
        state.written = written;
        state.failed = read.is_err();
        let config = read?;
        for warning in &config.warnings {
            tracing::warn!(file = %file.display(), "{warning}");
        }
        state.config = config;
        state.loaded = crate::now();
        Ok(())
    }

    /// The targets that are scraped, by job and URL.
    pub fn active(&self) -> Vec<Arc<TargetStatus>> {
        let state = self.state();
        let mut all: Vec<Arc<TargetStatus>> = Vec::new();
        for pool in state.pools.values() {
            let from = all.len();
            all.extend(pool.running.values().map(|running| Arc::clone(&running.status)));
            all[from..].sort_by(|one, two| (&one.url, &one.labels).cmp(&(&two.url, &two.labels)));
        }
        all
    }

    /// The labels of targets that relabelling dropped, by job.
    pub fn dropped(&self) -> Vec<(String, LabelSet)> {
        let state = self.state();
        let each = state
            .pools
            .iter()
            .flat_map(|(name, pool)| pool.dropped.iter().map(move |labels| (name.clone(), labels.clone())));
        each.collect()
    }

    /// The names of the jobs.
    pub fn pools(&self) -> Vec<String> {
        self.state().pools.keys().cloned().collect()
    }

    /// What the configuration says of rules.
    pub fn rules(&self) -> RulesConfig {
        self.state().config.rules.clone()
    }

    /// What the configuration says of alerts.
    pub fn alerting(&self) -> AlertingConfig {
        self.state().config.alerting.clone()
    }

    /// The configuration as it is written.
    pub fn config_text(&self) -> String {
        self.state().config.text.clone()
    }

    /// When the configuration was read, and whether the last one could be.
    pub fn loaded(&self) -> (i64, bool) {
        let state = self.state();
        (state.loaded, !state.failed)
    }

    /// Scrapes until it is to stop.
    pub async fn run(&self, stop: CancellationToken) {
        let mut tidied = tokio::time::Instant::now();
        loop {
            self.sync().await;
            let has_files = self.0.file.is_some() || {
                let state = self.state();
                state.config.jobs.iter().any(|job| !job.files.is_empty())
            };
            let pause = if has_files { LOOK } else { TIDY };
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.0.changed.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
            self.look_at_file();
            if tidied.elapsed() >= TIDY {
                tidied = tokio::time::Instant::now();
                self.tidy().await;
            }
        }
        let pools = std::mem::take(&mut self.state().pools);
        let running: Vec<Running> = pools.into_values().flat_map(|pool| pool.running.into_values()).collect();
        // Whoever ends as a whole leaves its series as they are: it may be back soon.
        for one in &running {
            one.task.abort();
        }
        for one in running {
            let _ended = one.task.await;
        }
    }

    fn look_at_file(&self) {
        let Some(file) = &self.0.file else { return };
        let written = std::fs::metadata(file).and_then(|metadata| metadata.modified()).ok();
        if written == self.state().written {
            return;
        }
        match self.load() {
            Ok(()) => tracing::info!(file = %file.display(), "the configuration of metrics was read anew"),
            Err(error) => tracing::warn!(%error, "the configuration of metrics stays as it was"),
        }
    }

    async fn tidy(&self) {
        let db = self.0.db.clone();
        let done = tokio::task::spawn_blocking(move || db.compact(crate::now())).await;
        if let Ok(Err(error)) = done {
            tracing::warn!(%error, "the metrics database could not be tidied up");
        }
    }

    /// Starts what is new and stops what is gone.
    async fn sync(&self) {
        let (jobs, offered) = {
            let state = self.state();
            let jobs: Vec<ScrapeConfig> = self.0.own.iter().chain(&state.config.jobs).cloned().collect();
            (jobs, state.offered.clone())
        };
        // Files are read beside those who serve.
        let found = tokio::task::spawn_blocking(move || {
            let each = jobs.into_iter().map(|job| {
                let given = offered.get(&job.job_name).into_iter().flatten();
                let mut groups: Vec<Group> = job.groups.iter().chain(given).cloned().collect();
                let failures = read_files(&job.files, &mut groups);
                let resolved = target::resolve(&job, &groups);
                (job, resolved, failures)
            });
            each.collect::<Vec<_>>()
        });
        let Ok(found) = found.await else { return };
        let mut gone = Vec::new();
        let mut state = self.state();
        let names: Vec<String> = found.iter().map(|(job, ..)| job.job_name.clone()).collect();
        let left: Vec<String> = state.pools.keys().filter(|name| !names.contains(name)).cloned().collect();
        for name in left {
            gone.extend(state.pools.remove(&name).into_iter().flat_map(|pool| pool.running.into_values()));
        }
        for (job, resolved, mut failures) in found {
            failures.extend(resolved.failures);
            let pool = state.pools.entry(job.job_name.clone()).or_default();
            for failure in failures.iter().filter(|failure| !pool.failures.contains(failure)) {
                tracing::warn!(job = job.job_name, "{failure}");
            }
            pool.failures = failures;
            pool.dropped = resolved.dropped;
            pool.dropped.truncate(MOST_DROPPED);
            let is_changed = pool.written != job.written;
            pool.written.clone_from(&job.written);
            let over = job.target_limit > 0 && resolved.targets.len() > job.target_limit;
            let job = Arc::new(job);
            let mut still = HashMap::with_capacity(resolved.targets.len());
            for target in resolved.targets {
                let key = target.identity();
                // One of another configuration ends as if it were gone.
                let known = if is_changed { None } else { pool.running.remove(&key) };
                let running = known.unwrap_or_else(|| self.start(target, &job, over));
                still.insert(key, running);
            }
            gone.extend(std::mem::replace(&mut pool.running, still).into_values());
        }
        drop(state);
        for one in gone {
            one.stop.cancel();
        }
    }

    fn start(&self, target: target::Target, job: &Arc<ScrapeConfig>, over_limit: bool) -> Running {
        let status = Arc::new(target.status(&job.job_name));
        let stop = CancellationToken::new();
        let round = rounds::Rounds {
            db: self.0.db.clone(),
            target,
            job: Arc::clone(job),
            status: Arc::clone(&status),
            user_agent: self.0.user_agent.clone(),
            over_limit,
        };
        let task = tokio::spawn(round.run(stop.clone()));
        Running { status, stop, task }
    }
}

/// Reads files of targets, and says of which it cannot.
pub(crate) fn read_files(discoveries: &[FileDiscovery], groups: &mut Vec<Group>) -> Vec<String> {
    let mut failures = Vec::new();
    for pattern in discoveries.iter().flat_map(|discovery| &discovery.files) {
        for path in matching(pattern) {
            let size = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
            if size > MOST_FILE {
                failures.push(format!("{}: {size} bytes are over the limit of {MOST_FILE}", path.display()));
                continue;
            }
            let read = std::fs::read_to_string(&path).map_err(|error| error.to_string());
            match read.and_then(|text| read_groups(&text)) {
                Ok(found) => groups.extend(found.into_iter().map(|mut group| {
                    group.labels.set("__meta_filepath", path.display().to_string());
                    group
                })),
                Err(why) => failures.push(format!("{}: {why}", path.display())),
            }
        }
    }
    failures
}

/// The files of a path whose last part may have a `*`.
fn matching(pattern: &std::path::Path) -> Vec<PathBuf> {
    let name = pattern.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some((before, behind)) = name.split_once('*') else { return vec![pattern.to_owned()] };
    let directory = pattern.parent().unwrap_or(std::path::Path::new("."));
    let entries = std::fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
    let fits = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.len() >= before.len() + behind.len() && name.starts_with(before) && name.ends_with(behind)
    };
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(fits).collect();
    found.sort();
    found
}

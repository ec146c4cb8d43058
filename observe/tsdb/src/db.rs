//! The database: a head, its log, and blocks in one directory.

mod appender;
mod commit;
mod compaction;
mod querier;
mod statistics;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock, atomic::AtomicU64, mpsc},
};

pub use appender::{Appender, Committed, SeriesRef};
pub use compaction::Compacted;
pub use querier::Querier;
pub use statistics::{Cardinality, Statistics};

use crate::{
    Block, BlockMeta, Error, Interval, Matcher, Repair, Result, Ulid,
    head::{Batch, Head, HeadOptions},
    interval::insert,
    matcher::select,
    wal::{Files, LogWriter, record, record::Record},
};
use commit::{Committer, Transaction};

const WAL: &str = "wal";
const LOCK: &str = "lock";
/// Endings of directories that a crash left half-written or half-removed, Prometheus's among them.
const LEFT_OVER: [&str; 3] = [".tmp-for-creation", ".tmp-for-deletion", ".tmp"];

/// How long the samples of some series are kept.
#[derive(Clone, Debug)]
pub struct RetentionRule {
    /// The series: those that fulfil all of these.
    pub matchers: Vec<Matcher>,
    /// How long their samples are kept, in milliseconds.
    pub keep: i64,
}

/// How a database works. Times are in milliseconds.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the smallest blocks cover; samples stay in the head for one and a half of it.
    pub block_range: i64,
    /// How far behind the newest sample samples may come out of order; 0 is not at all.
    pub out_of_order_window: i64,
    /// How many exemplars are kept; 0 is none.
    pub exemplars: usize,
    /// Whether a commit waits until the disk has it. Without, a crash of the machine loses what it did not write.
    pub sync: bool,
    /// When a segment of the log is full.
    pub segment_bytes: u64,
    /// More series than this are refused.
    pub most_series: usize,
    /// How long samples are kept; none is for ever.
    pub retention: Option<i64>,
    /// What blocks may take on disk; the oldest go first.
    pub retention_bytes: Option<u64>,
    /// Series whose samples go earlier.
    pub retention_rules: Vec<RetentionRule>,
    /// Blocks are not merged to cover more than this.
    pub longest_block: i64,
}

impl Default for Options {
    fn default() -> Self {
        const HOUR: i64 = 3_600_000;
        Self {
            block_range: 2 * HOUR,
            out_of_order_window: 0,
            exemplars: 0,
            sync: true,
            segment_bytes: 128 << 20,
            most_series: 100_000_000,
            retention: Some(15 * 24 * HOUR),
            retention_bytes: None,
            retention_rules: Vec::new(),
            longest_block: 31 * 24 * HOUR,
        }
    }
}

/// What was found when a database was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// What was wrong in the log.
    pub repair: Repair,
    /// Blocks that cannot be read, with the reason. They are left as they are, and the rest is served.
    pub unreadable: Vec<String>,
}

/// A database in a directory. Clones are the same database.
#[derive(Clone, Debug)]
pub struct Db {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    options: Options,
    head: Arc<Head>,
    committer: Committer,
    blocks: RwLock<Vec<Arc<Block>>>,
    /// One compaction or deletion at a time.
    compacting: Mutex<()>,
    /// Grows when series go away.
    generation: AtomicU64,
    _lock: File,
}

impl Db {
    /// Opens the database in a directory, or begins one.
    pub fn open(directory: &Path, options: Options) -> Result<(Self, Opened)> {
        fs::create_dir_all(directory).map_err(Error::io(directory))?;
        let lock = lock_directory(directory)?;
        let mut opened = Opened::default();
        let blocks = open_blocks(directory, &mut opened)?;
        let head = Head::new(HeadOptions {
            range: options.block_range,
            window: options.out_of_order_window,
            exemplars: options.exemplars,
        });
        let in_order =
            blocks.iter().filter(|block| !block.meta().compaction.hints.iter().any(|hint| hint == LATE));
        if let Some(end) = in_order.map(|block| block.meta().max_time).max() {
            head.set_min_valid(end);
        }
        let wal = directory.join(WAL);
        fs::create_dir_all(&wal).map_err(Error::io(&wal))?;
        let files = Files::find(&wal)?;
        opened.repair = replay(&files, &head)?;
        files.clean()?;
        let last = files.segments.last().map(|(number, _)| *number);
        let last = last.or(files.checkpoint.as_ref().map(|(number, _)| *number));
        let number = last.map_or(0, |last| last + 1);
        let log = LogWriter::create(&wal, number, options.segment_bytes, options.sync)?;
        let shared = Shared {
            directory: directory.to_owned(),
            options,
            head: Arc::new(head),
            committer: Committer::new(log),
            blocks: RwLock::new(blocks),
            compacting: Mutex::new(()),
            generation: AtomicU64::new(0),
            _lock: lock,
        };
        Ok((Self { shared: Arc::new(shared) }, opened))
    }

    /// Begins a transaction.
    pub fn appender(&self) -> Appender {
        Appender::new(self)
    }

    /// Begins a query, which sees the transactions that are committed by now, whole, and no others.
    pub fn querier(&self) -> Querier {
        Querier::new(self.blocks(), self.shared.head.snapshot(), Arc::clone(&self.shared.head))
    }

    /// The blocks, by time.
    pub fn blocks(&self) -> Vec<Arc<Block>> {
        self.shared.blocks.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The metas of the blocks, by time.
    pub fn block_metas(&self) -> Vec<BlockMeta> {
        self.blocks().iter().map(|block| block.meta().clone()).collect()
    }

    /// Deletes samples. They are hidden at once; what they take on disk is freed by compactions.
    pub fn delete(&self, matchers: &[Matcher], span: Interval) -> Result<()> {
        let _alone = self.shared.compacting.lock().unwrap_or_else(PoisonError::into_inner);
        for block in self.blocks() {
            if block.meta().interval().overlaps(span) {
                block.delete(matchers, span)?;
            }
        }
        let head = &self.shared.head;
        let numbers = select(&*head.index(), matchers)?;
        // Only what is there by now is deleted, not what may still come.
        let span = Interval { min: span.min, max: span.max.min(head.span().max) };
        if numbers.is_empty() || span.min > span.max {
            return Ok(());
        }
        let deleted: Vec<_> = numbers.into_iter().map(|number| (number, span)).collect();
        let records = deleted.chunks(5000).map(record::tombstones).collect();
        let transaction = Transaction { batch: Batch::default(), deleted, records };
        self.shared.committer.commit(head, transaction, || Ok(()))?;
        Ok(())
    }
}

/// The hint of blocks that were made of out-of-order samples.
const LATE: &str = "from-out-of-order";

fn lock_directory(directory: &Path) -> Result<File> {
    let path = directory.join(LOCK);
    let file =
        File::options().create(true).truncate(false).write(true).open(&path).map_err(Error::io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(Error::Locked(directory.to_owned())),
        Err(fs::TryLockError::Error(error)) => Err(Error::io(&path)(error)),
    }
}

/// Opens the blocks of a directory and removes what a crash left over.
fn open_blocks(directory: &Path, opened: &mut Opened) -> Result<Vec<Arc<Block>>> {
    let mut blocks = Vec::new();
    for entry in fs::read_dir(directory).map_err(Error::io(directory))? {
        let path = entry.map_err(Error::io(directory))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
        if path.is_dir() && LEFT_OVER.iter().any(|ending| name.ends_with(ending)) {
            fs::remove_dir_all(&path).map_err(Error::io(&path))?;
        } else if name.parse::<Ulid>().is_ok() {
            match Block::open(&path) {
                Ok(block) => blocks.push(Arc::new(block)),
                Err(error) => opened.unreadable.push(format!("{}: {error}", path.display())),
            }
        }
    }
    // A crash between writing a block and removing those it was made of leaves both.
    let replaced: Vec<Ulid> = blocks
        .iter()
        .flat_map(|block| block.meta().compaction.parents.iter().map(|parent| parent.ulid))
        .collect();
    let mut kept = Vec::new();
    for block in blocks {
        if replaced.contains(&block.meta().ulid) {
            compaction::remove_block(block.directory())?;
        } else {
            kept.push(block);
        }
    }
    kept.sort_by_key(|block| (block.meta().min_time, block.meta().ulid));
    Ok(kept)
}

/// Reads the log into a head: one thread reads and decodes, this one applies.
fn replay(files: &Files, head: &Head) -> Result<Repair> {
    std::thread::scope(|scope| {
        let (send, receive) = mpsc::sync_channel::<Vec<Record>>(64);
        let reader = scope.spawn(move || {
            files.read(|records| {
                send.send(records).map_err(|_| Error::corrupt("write-ahead log", "its reading was given up"))
            })
        });
        let mut orphans = 0;
        for records in receive {
            apply(records, head, &mut orphans);
        }
        let repair = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok(Repair { orphans, ..repair? })
    })
}

fn apply(records: Vec<Record>, head: &Head, orphans: &mut u64) {
    let mut batch = Batch::default();
    let mut deleted = Vec::new();
    for record in records {
        match record {
            Record::Series(series) => {
                let mut index = head.index_mut();
                for (number, labels) in series {
                    if index.labels(number).is_none() && index.find(&labels).is_none() {
                        index.restore(number, &labels);
                    }
                }
            }
            Record::Samples(samples) => batch.samples.extend(samples),
            Record::Late(samples) => batch.late.extend(samples),
            Record::Exemplars(exemplars) => batch.exemplars.extend(exemplars),
            Record::Metadata(metadata) => batch.metadata.extend(metadata),
            Record::Tombstones(tombstones) => deleted.extend(tombstones),
            Record::MinValid(time) => head.set_min_valid(time),
            Record::Commit | Record::Other => {}
        }
    }
    let min_valid = head.min_valid();
    let index = head.index();
    let mut known = |number: u32, time: i64| {
        let known = index.knows(number);
        // Series whose samples are all in blocks lose their labels here in good order.
        *orphans += u64::from(!known && time >= min_valid);
        known
    };
    batch.samples.retain(|(number, sample)| known(*number, sample.time) && sample.time >= min_valid);
    batch.late.retain(|(number, sample)| known(*number, sample.time));
    batch.exemplars.retain(|(number, _)| index.knows(*number));
    batch.metadata.retain(|(number, _)| index.knows(*number));
    drop(index);
    head.apply(batch, true);
    let mut spans: std::collections::BTreeMap<u32, Vec<Interval>> = std::collections::BTreeMap::new();
    for (number, span) in deleted {
        insert(spans.entry(number).or_default(), span);
    }
    for (number, span) in
        spans.into_iter().flat_map(|(number, spans)| spans.into_iter().map(move |s| (number, s)))
    {
        head.delete(&[number], span);
    }
}

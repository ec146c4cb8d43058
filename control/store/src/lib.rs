//! A revisioned, watchable, durable key space.
//!
//! What comes in: UTF-8 keys, opaque values and the revision a caller believes a key to be at. What goes out: entries,
//! pages of them at any kept revision, and watches that carry every change once and in order. The model is etcd's: one
//! counter for the whole store goes up by one with each transaction, and each entry carries the revisions at which it
//! was created and last changed.
//!
//! This room knows nothing of Kubernetes, JSON or HTTP, and takes no decision about what a key means.
//!
//! # What is promised
//!
//! - **Acknowledged is on disk.** A write answers after its commit is synced in the journal. All writes that wait while one sync is
//!   under way go into the next one together.
//! - **Readers never wait for a disk.** Everything live, and the kept history, is in memory; readers see a transaction
//!   when it is durable, whole, and never before.
//! - **A watch has no gap and no duplicate.** One that cannot keep up is cut off with [`Error::Lagged`] and holds up
//!   nobody.
//! - **Damage is refused.** Each record carries a checksum over its key, revision and value; the head carries the number
//!   of records; a witness file beside the store remembers the newest acknowledged revision, so that a file which falls
//!   back to an older state is refused as well.
//!
//! # On disk
//!
//! A store is a directory. A commit goes into the journal, `store.log.N` from revision N on, one frame behind the other, and is
//! acknowledged once that is synced. A thread of its own brings what the journal has into `store.redb`, megabytes at a time, and
//! compacts there: a file of the journal goes when the database has all of it, so that a store that was closed in good order
//! has none. The database has the table `versions`, from (revision, key) to a checksummed record, and the table `meta` with the
//! head: revision, compacted revision, number of records. Compaction takes away every version that a newer one at or below
//! the compacted revision replaces. `store.head` is the witness.
//!
//! # Example
//!
//! ```
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use xebec_store::{ListRequest, Options, Store};
//!
//! let directory = tempfile::tempdir()?;
//! let store = Store::open(directory.path(), &Options::default())?;
//! let mut watch = store.watch("pods/", None)?;
//! let made = store.create("pods/a", "one".into()).await?;
//! store.update("pods/a", "two".into(), made.modified).await?;
//! assert_eq!(watch.next().await?.revision, made.modified);
//! assert_eq!(store.list(&ListRequest { prefix: "pods/", ..Default::default() })?.items.len(), 1);
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(example()).unwrap();
//! ```

mod base;
mod disk;
mod entry;
mod error;
mod failure;
mod hub;
mod index;
mod journal;
mod keeper;
mod medium;
mod options;
mod plan;
mod record;
mod replay;
mod store;
mod watch;
mod witness;
mod writer;

pub use entry::{Entry, Event, EventKind, ListRequest, Op, Page, Revision};
pub use error::Error;
pub use options::Options;
pub use store::Store;
pub use watch::Watch;

//! Measures a store or an etcd under the same load: `writers store DIRECTORY` or `writers etcd HOST:PORT`.
//!
//! Prints one line a figure: its name, its value, its unit. The store is called in process, which is how the platform
//! uses it; etcd is called over its gRPC API, which is how a cluster uses it.

mod etcd;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use tokio::task::JoinSet;
use xebec_store::{ListRequest, Op, Options, Store};

const VALUE_BYTES: usize = 2_048;
const ENTRIES: usize = 10_000;
const WATCHERS: usize = 1_000;
const EVENTS: usize = 500;
const SPAN: Duration = Duration::from_secs(3);

enum Target {
    Store(Store),
    Etcd(etcd::Etcd),
}

impl Target {
    async fn put(&self, key: String, value: &Bytes) -> Result<()> {
        match self {
            Self::Store(store) => drop(store.create(key, value.clone()).await?),
            Self::Etcd(etcd) => etcd.put(&key, value).await?,
        }
        Ok(())
    }

    async fn get(&self, key: &str) -> Result<usize> {
        match self {
            Self::Store(store) => Ok(usize::from(store.get(key)?.is_some())),
            Self::Etcd(etcd) => etcd.get(key).await,
        }
    }

    async fn list(&self, prefix: &str) -> Result<usize> {
        match self {
            Self::Store(store) => Ok(store.list(&ListRequest { prefix, ..Default::default() })?.items.len()),
            Self::Etcd(etcd) => etcd.list(prefix).await,
        }
    }

    /// A task that takes a number of events.
    async fn watcher(
        &self,
        prefix: &str,
        seen: Arc<AtomicU64>,
    ) -> Result<tokio::task::JoinHandle<Result<()>>> {
        Ok(match self {
            Self::Store(store) => {
                let mut watch = store.watch(prefix, None)?;
                tokio::spawn(async move {
                    for _ in 0..EVENTS {
                        watch.next().await?;
                        seen.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                })
            }
            Self::Etcd(etcd) => {
                let mut watch = etcd.watch(prefix).await?;
                tokio::spawn(async move {
                    let mut taken = 0;
                    while taken < EVENTS {
                        let events = watch.next().await?;
                        seen.fetch_add(events as u64, Ordering::Relaxed);
                        taken += events;
                    }
                    Ok(())
                })
            }
        })
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let target = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["store", directory] => Target::Store(Store::open(directory, &Options::default())?),
        ["etcd", address] => Target::Etcd(etcd::Etcd::connect(address, 10).await?),
        _ => bail!("say `writers store DIRECTORY` or `writers etcd HOST:PORT`"),
    };
    let target = Arc::new(target);
    let value = Bytes::from(vec![b'x'; VALUE_BYTES]);
    for writers in [1, 16, 64, 256] {
        durable_writes(&target, &value, writers).await?;
    }
    for number in 0..ENTRIES / 100 {
        let puts = (0..100).map(|entry| target.put(format!("entry/{number:03}/{entry:02}"), &value));
        futures::future::try_join_all(puts).await?;
    }
    gets(&target).await?;
    lists(&target).await?;
    fan_out(&target, &value).await?;
    if let Target::Store(store) = &*target {
        store.close().await;
        open(&arguments[1], &value).await?;
    }
    Ok(())
}

/// How long a store with ten thousand entries takes from its directory to its first answer.
async fn open(directory: &str, value: &Bytes) -> Result<()> {
    let directory = std::path::Path::new(directory).join("entries");
    let store = Store::open(&directory, &Options::default())?;
    for batch in 0..ENTRIES / 100 {
        let create = |entry| Op::Create { key: format!("entry/{batch:03}/{entry:02}"), value: value.clone() };
        store.transact((0..100).map(create).collect()).await?;
    }
    store.close().await;
    let start = Instant::now();
    let store = Store::open(&directory, &Options::default())?;
    assert!(store.get("entry/000/00")?.is_some());
    println!("open_{ENTRIES} {:.0} ms", milliseconds(start.elapsed()));
    Ok(())
}

async fn durable_writes(target: &Arc<Target>, value: &Bytes, writers: usize) -> Result<()> {
    let mut tasks = JoinSet::new();
    let start = Instant::now();
    for writer in 0..writers {
        let (target, value) = (target.clone(), value.clone());
        tasks.spawn(async move {
            let mut waits = Vec::new();
            while start.elapsed() < SPAN {
                let begin = Instant::now();
                target.put(format!("write/{writers}/{writer}/{}", waits.len()), &value).await?;
                waits.push(begin.elapsed());
            }
            anyhow::Ok(waits)
        });
    }
    let mut waits = Vec::new();
    while let Some(task) = tasks.join_next().await {
        waits.extend(task??);
    }
    let rate = waits.len() as f64 / start.elapsed().as_secs_f64();
    waits.sort_unstable();
    println!("durable_writes_{writers}_writers {rate:.0} 1/s");
    println!("durable_writes_{writers}_writers_p99 {:.2} ms", milliseconds(waits[waits.len() * 99 / 100]));
    Ok(())
}

async fn gets(target: &Target) -> Result<()> {
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed() < SPAN {
        for entry in 0..100 {
            let found = target.get(&format!("entry/{:03}/{entry:02}", count % 100)).await?;
            assert_eq!(found, 1);
        }
        count += 1;
    }
    println!("get_one_caller {:.0} 1/s", (count * 100) as f64 / start.elapsed().as_secs_f64());
    Ok(())
}

async fn lists(target: &Target) -> Result<()> {
    let mut times = Vec::new();
    for _ in 0..20 {
        let start = Instant::now();
        assert_eq!(target.list("entry/").await?, ENTRIES);
        times.push(start.elapsed());
    }
    times.sort_unstable();
    println!("list_{ENTRIES}_p50 {:.2} ms", milliseconds(times[times.len() / 2]));
    Ok(())
}

/// How fast events reach a thousand watchers of one prefix, while sixteen write.
async fn fan_out(target: &Arc<Target>, value: &Bytes) -> Result<()> {
    let seen = Arc::new(AtomicU64::new(0));
    let mut watchers = Vec::new();
    for _ in 0..WATCHERS {
        watchers.push(target.watcher("event/", seen.clone()).await?);
    }
    let start = Instant::now();
    for round in 0..EVENTS.div_ceil(16) {
        let numbers = round * 16..EVENTS.min(round * 16 + 16);
        let puts = numbers.map(|number| target.put(format!("event/{number}"), value));
        futures::future::try_join_all(puts).await?;
    }
    for watcher in watchers {
        tokio::time::timeout(Duration::from_secs(120), watcher).await.context("events are missing")???;
    }
    let rate = seen.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64();
    println!("fan_out_{WATCHERS}_watchers {rate:.0} events/s");
    Ok(())
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

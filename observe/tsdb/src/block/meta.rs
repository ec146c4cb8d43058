//! What a block says of itself in `meta.json`.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};

use super::{tombstones::replace, ulid::Ulid};
use crate::{Error, Interval, Result};

pub(crate) const FILE: &str = "meta.json";
/// A larger one is no meta file: also with thousands of sources it stays far below.
const MOST_BYTES: u64 = 16 << 20;

/// What a block says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockMeta {
    /// Its name.
    pub ulid: Ulid,
    /// The first millisecond that it covers.
    pub min_time: i64,
    /// The millisecond behind the last that it covers.
    pub max_time: i64,
    /// What is in it.
    #[serde(default)]
    pub stats: BlockStats,
    /// Where it came from.
    pub compaction: Compaction,
    /// The version of the format.
    pub version: u32,
    /// What others wrote, as Thanos does; kept as it is.
    #[serde(flatten)]
    pub others: serde_json::Map<String, serde_json::Value>,
}

/// What is in a block.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BlockStats {
    /// Samples of any kind.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_samples: u64,
    /// Floats.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_float_samples: u64,
    /// Native histograms.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_histogram_samples: u64,
    /// Series.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_series: u64,
    /// Chunks.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_chunks: u64,
    /// Deleted spans that are still in the chunks.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_tombstones: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Where a block came from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Compaction {
    /// How many times it was made of others, and one.
    pub level: u32,
    /// The blocks of level one that it came from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Ulid>,
    /// Nothing is left in it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub deletable: bool,
    /// The blocks that it was made of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<Parent>,
    /// An attempt to compact it failed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
    /// What compaction has to know, as `from-out-of-order`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
}

/// A block that another was made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Parent {
    /// Its name.
    pub ulid: Ulid,
    /// The first millisecond that it covered.
    pub min_time: i64,
    /// The millisecond behind the last that it covered.
    pub max_time: i64,
}

impl BlockMeta {
    /// The time that it covers.
    pub fn interval(&self) -> Interval {
        Interval { min: self.min_time, max: self.max_time.saturating_sub(1) }
    }

    /// From the bytes of a `meta.json`.
    pub(crate) fn decode(bytes: &[u8], name: &str) -> Result<Self> {
        let meta: Self =
            serde_json::from_slice(bytes).map_err(|error| Error::corrupt(name, error.to_string()))?;
        if meta.version != 1 {
            let found = format!("version {}", meta.version);
            return Err(Error::Unsupported { what: name.into(), found });
        }
        if meta.min_time > meta.max_time {
            return Err(Error::corrupt(name, "it ends before it begins"));
        }
        Ok(meta)
    }

    /// Of a block's directory.
    pub(crate) fn read(block: &Path) -> Result<Self> {
        let path = block.join(FILE);
        let length = fs::metadata(&path).map_err(Error::io(&path))?.len();
        let name = path.display().to_string();
        if length > MOST_BYTES {
            return Err(Error::corrupt(name, format!("it has {length} bytes")));
        }
        Self::decode(&fs::read(&path).map_err(Error::io(&path))?, &name)
    }

    pub(crate) fn write(&self, block: &Path) -> Result<()> {
        let path = block.join(FILE);
        let text =
            serde_json::to_vec_pretty(self).map_err(|error| Error::corrupt(FILE, error.to_string()))?;
        replace(&path, &text)
    }
}

#![doc = include_str!("../README.md")]

mod manifest;
mod shard;

pub use manifest::{ManifestEntry, ManifestError, read_manifest};
pub use shard::{JobShard, Shard, ShardError, divide};

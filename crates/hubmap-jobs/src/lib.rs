#![doc = include_str!("../README.md")]

mod id;
mod manifest;
mod shard;

pub use id::slide_id;
pub use manifest::{ManifestEntry, ManifestError, read_manifest};
pub use shard::{JobShard, Shard, ShardError, divide};

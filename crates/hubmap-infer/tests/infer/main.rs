//! The pipeline against values of the reference, and its files against each other.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

#[cfg(feature = "networks")]
mod end_to_end;
mod ensemble;
mod evaluation;
mod failures;
mod files;
#[cfg(feature = "networks")]
mod model_folder;
mod numerics;
mod parts;
mod pipeline;
mod reruns;
mod resume;
mod slide_files;
mod stages;
mod stream;
mod tissue;

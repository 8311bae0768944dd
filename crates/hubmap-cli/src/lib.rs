#![doc = include_str!("../README.md")]

mod args;
mod bars;
mod config;
mod device;
mod interrupt;
mod logging;
mod outcome;
mod progress;

pub use args::CommonArgs;
pub use bars::DataGenBars;
#[cfg(feature = "inference")]
pub use bars::InferBars;
#[cfg(feature = "networks")]
pub use bars::TrainBars;
pub use config::{BASE_CONFIG, Config};
pub use device::{DeviceError, DeviceList, DeviceSpec};
pub use interrupt::requested as interrupted;
pub use outcome::{Outcome, UsageError, print_line, run};
pub use progress::{Bar, Progress};

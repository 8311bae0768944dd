#![doc = include_str!("../README.md")]

mod args;
mod bars;
mod choice;
mod command_line;
mod config;
mod device;
#[cfg(feature = "doctor")]
pub mod doctor;
mod generate;
mod interrupt;
mod jobs;
mod locations;
mod logging;
mod nearest;
mod outcome;
mod progress;
pub mod settings;

pub use args::{CommonArgs, ConfigArgs, DeviceArgs};
pub use bars::DataGenBars;
#[cfg(feature = "inference")]
pub use bars::InferBars;
#[cfg(feature = "networks")]
pub use bars::TrainBars;
pub use choice::{Choice, choice};
pub use command_line::parse;
pub use config::{BASE_CONFIG, Config, OPEN_TABLES};
pub use device::{DeviceError, DeviceList, DeviceSpec};
pub use generate::Generate;
pub use hubmap_data::Fault;
pub use interrupt::requested as interrupted;
#[cfg(feature = "inference")]
pub use jobs::SlideArgs;
pub use jobs::{ShardArgs, ShardChoice, part_name};
pub use locations::{location, remote_options};
pub use nearest::{check_inputs, check_output};
pub use outcome::{Outcome, StdoutError, UsageError, print_line, run};
pub use progress::{Bar, Progress};

//! Backends: the only place that names one.

use std::str::FromStr;

use burn::tensor::Device;

/// A device as written after `--device`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceSpec {
    /// Burn's pure-Rust CPU backend.
    Flex,
}

/// A device that does not exist, or that this build was made without.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no device `{0}` in this build; it has: flex (pure-Rust CPU)")]
pub struct UnknownDevice(String);

impl FromStr for DeviceSpec {
    type Err = UnknownDevice;

    fn from_str(name: &str) -> Result<Self, UnknownDevice> {
        match name {
            "flex" => Ok(Self::Flex),
            other => Err(UnknownDevice(other.to_owned())),
        }
    }
}

impl std::fmt::Display for DeviceSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Flex => f.write_str("flex"),
        }
    }
}

impl DeviceSpec {
    /// The device for inference; `.autodiff()` of it trains.
    pub fn device(&self) -> Device {
        match self {
            Self::Flex => Device::flex(),
        }
    }
}

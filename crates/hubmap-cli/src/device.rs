//! Backends: the only place that names one.

use std::str::FromStr;

#[cfg(feature = "networks")]
use burn::tensor::Device;

/// A device as written after `--device`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceSpec {
    /// `flex`: the pure-Rust CPU backend.
    Flex,
    /// `tch:cpu`: LibTorch on the CPU.
    #[cfg(feature = "tch")]
    TchCpu,
    /// `tch:cuda:N`: LibTorch on the CUDA device of this index.
    #[cfg(feature = "tch")]
    TchCuda(usize),
}

/// A device that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// A name that no device has.
    #[error(
        "no device `{0}`: there are flex (pure-Rust CPU), tch:cpu (LibTorch) and tch:cuda:N (LibTorch on CUDA device N)"
    )]
    Unknown(String),
    /// A device that this build was made without.
    #[error(
        "device `{0}` needs LibTorch, which this build was made without: build with `--features tch`, see docs/libtorch.md"
    )]
    NotBuilt(String),
    /// A CUDA device that LibTorch does not see.
    #[error(
        "device `{name}` is not there: LibTorch sees {n_devices} CUDA devices, counted from 0; with 0, check the driver and that LibTorch is a CUDA build"
    )]
    NoCuda {
        /// What was asked for.
        name: String,
        /// CUDA devices that there are.
        n_devices: usize,
    },
}

impl FromStr for DeviceSpec {
    type Err = DeviceError;

    fn from_str(name: &str) -> Result<Self, DeviceError> {
        let cuda = name.strip_prefix("tch:cuda:").map(str::parse::<usize>);
        match (name, cuda) {
            ("flex", _) => Ok(Self::Flex),
            ("tch:cpu", _) => Self::tch_cpu(name),
            (_, Some(Ok(index))) => Self::tch_cuda(name, index),
            _ => Err(DeviceError::Unknown(name.to_owned())),
        }
    }
}

#[cfg(not(feature = "tch"))]
impl DeviceSpec {
    fn tch_cpu(name: &str) -> Result<Self, DeviceError> {
        Err(DeviceError::NotBuilt(name.to_owned()))
    }

    fn tch_cuda(name: &str, _index: usize) -> Result<Self, DeviceError> {
        Err(DeviceError::NotBuilt(name.to_owned()))
    }
}

#[cfg(feature = "tch")]
impl DeviceSpec {
    #[expect(clippy::unnecessary_wraps, reason = "a build without LibTorch refuses")]
    fn tch_cpu(_name: &str) -> Result<Self, DeviceError> {
        Ok(Self::TchCpu)
    }

    fn tch_cuda(name: &str, index: usize) -> Result<Self, DeviceError> {
        let n_devices = usize::try_from(tch::Cuda::device_count()).unwrap_or(0);
        if index < n_devices {
            Ok(Self::TchCuda(index))
        } else {
            Err(DeviceError::NoCuda { name: name.to_owned(), n_devices })
        }
    }
}

impl std::fmt::Display for DeviceSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Flex => f.write_str("flex"),
            #[cfg(feature = "tch")]
            Self::TchCpu => f.write_str("tch:cpu"),
            #[cfg(feature = "tch")]
            Self::TchCuda(index) => write!(f, "tch:cuda:{index}"),
        }
    }
}

#[cfg(feature = "networks")]
impl DeviceSpec {
    /// The device for inference; `.autodiff()` of it trains.
    #[cfg_attr(
        feature = "tch",
        expect(deprecated, reason = "Burn's only fast grouped convolutions on GPUs, ADR 2")
    )]
    pub fn device(&self) -> Device {
        match self {
            Self::Flex => Device::flex(),
            #[cfg(feature = "tch")]
            Self::TchCpu => Device::libtorch(),
            #[cfg(feature = "tch")]
            Self::TchCuda(index) => Device::libtorch_cuda(*index),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{DeviceError, DeviceSpec};

    #[test]
    fn names_round_trip_and_others_are_refused() {
        assert_eq!("flex".parse::<DeviceSpec>().map(|d| d.to_string()), Ok("flex".to_owned()));
        for name in ["cpu", "tch", "tch:cuda", "tch:cuda:x", "tch:cuda:0,1", ""] {
            assert_eq!(name.parse::<DeviceSpec>(), Err(DeviceError::Unknown(name.to_owned())));
        }
    }

    #[cfg(not(feature = "tch"))]
    #[test]
    fn a_build_without_libtorch_says_so() {
        let error = "tch:cpu".parse::<DeviceSpec>().map_err(|e| e.to_string());
        assert!(error.is_err_and(|message| message.contains("--features tch")));
    }

    #[cfg(feature = "tch")]
    #[test]
    fn a_missing_cuda_device_is_refused() {
        assert_eq!("tch:cpu".parse::<DeviceSpec>(), Ok(DeviceSpec::TchCpu));
        assert!(matches!("tch:cuda:99".parse::<DeviceSpec>(), Err(DeviceError::NoCuda { .. })));
    }
}

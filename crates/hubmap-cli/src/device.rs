//! Backends: the only place that names one.

use std::str::FromStr;

#[cfg(feature = "networks")]
use burn::tensor::Device;

use crate::nearest::nearest;

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
    /// `wgpu`, `wgpu:N`: the best GPU that Vulkan, Metal or `DirectX` offers, or the discrete one of this index.
    #[cfg(feature = "wgpu")]
    Wgpu(Option<usize>),
    /// `cuda:N`: Burn's own kernels on the CUDA device of this index.
    #[cfg(feature = "cuda")]
    Cuda(usize),
}

/// A device that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// A name that no device has.
    #[error(
        "no device `{0}`{near}: there are flex (pure-Rust CPU), tch:cpu and tch:cuda:N (LibTorch), wgpu, wgpu:N and cuda:N \
         (Burn's GPU backends), N from 0; several as in tch:cuda:0,1",
        near = nearest_device(.0)
    )]
    Unknown(String),
    /// A device that this build was made without.
    #[error(
        "device `{name}` is not in this build; build it in: `cargo build --release --features {feature} --bin hubmap-train \
         --bin hubmap-infer`, see docs/devices.md"
    )]
    NotBuilt {
        /// What was asked for.
        name: String,
        /// The feature that has it.
        feature: &'static str,
    },
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
    /// A device that is in a list twice.
    #[error("device `{0}` is named twice")]
    Twice(String),
    /// Several devices where one is wanted.
    #[error("{0} devices are named, but this runs on one")]
    Several(usize),
}

/// What a user who names no device may have meant.
fn nearest_device(name: &str) -> String {
    let near = match name {
        "cpu" => Some("flex"),
        "gpu" | "cuda" => Some("tch:cuda:0"),
        _ => nearest(name, ["flex", "tch:cpu", "tch:cuda:0", "wgpu", "cuda:0"]),
    };
    near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default()
}

impl FromStr for DeviceSpec {
    type Err = DeviceError;

    fn from_str(name: &str) -> Result<Self, DeviceError> {
        let index_after =
            |prefix: &str| name.strip_prefix(prefix).and_then(|text| text.parse::<usize>().ok());
        match name {
            "flex" => Ok(Self::Flex),
            "tch:cpu" => Self::tch_cpu(name),
            "wgpu" => Self::wgpu(name, None),
            _ => {
                if let Some(index) = index_after("tch:cuda:") {
                    Self::tch_cuda(name, index)
                } else if let Some(index) = index_after("wgpu:") {
                    Self::wgpu(name, Some(index))
                } else if let Some(index) = index_after("cuda:") {
                    Self::cuda(name, index)
                } else {
                    Err(DeviceError::Unknown(name.to_owned()))
                }
            }
        }
    }
}

#[cfg(not(all(feature = "tch", feature = "wgpu", feature = "cuda")))]
fn not_built(name: &str, feature: &'static str) -> Result<DeviceSpec, DeviceError> {
    Err(DeviceError::NotBuilt { name: name.to_owned(), feature })
}

#[cfg(not(feature = "tch"))]
impl DeviceSpec {
    fn tch_cpu(name: &str) -> Result<Self, DeviceError> {
        not_built(name, "tch")
    }

    fn tch_cuda(name: &str, _index: usize) -> Result<Self, DeviceError> {
        not_built(name, "tch")
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

impl DeviceSpec {
    #[cfg(not(feature = "wgpu"))]
    fn wgpu(name: &str, _index: Option<usize>) -> Result<Self, DeviceError> {
        not_built(name, "wgpu")
    }

    #[cfg(feature = "wgpu")]
    #[expect(clippy::unnecessary_wraps, reason = "a build without it refuses")]
    fn wgpu(_name: &str, index: Option<usize>) -> Result<Self, DeviceError> {
        Ok(Self::Wgpu(index))
    }

    #[cfg(not(feature = "cuda"))]
    fn cuda(name: &str, _index: usize) -> Result<Self, DeviceError> {
        not_built(name, "cuda")
    }

    #[cfg(feature = "cuda")]
    #[expect(clippy::unnecessary_wraps, reason = "a build without it refuses")]
    fn cuda(_name: &str, index: usize) -> Result<Self, DeviceError> {
        Ok(Self::Cuda(index))
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
            #[cfg(feature = "wgpu")]
            Self::Wgpu(None) => f.write_str("wgpu"),
            #[cfg(feature = "wgpu")]
            Self::Wgpu(Some(index)) => write!(f, "wgpu:{index}"),
            #[cfg(feature = "cuda")]
            Self::Cuda(index) => write!(f, "cuda:{index}"),
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
            #[cfg(feature = "wgpu")]
            Self::Wgpu(index) => {
                use burn::tensor::DeviceKind;
                Device::wgpu(index.map_or(DeviceKind::DefaultDevice, DeviceKind::DiscreteGpu))
            }
            #[cfg(feature = "cuda")]
            Self::Cuda(index) => Device::cuda(*index),
        }
    }
}

/// One or more different devices, separated by commas: `tch:cuda:0,tch:cuda:1` or, for short, `tch:cuda:0,1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceList(Vec<DeviceSpec>);

impl FromStr for DeviceList {
    type Err = DeviceError;

    fn from_str(names: &str) -> Result<Self, DeviceError> {
        let mut specs = Vec::new();
        let mut prefix = "";
        for part in names.split(',') {
            let is_index = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            let name = if is_index { format!("{prefix}{part}") } else { part.to_owned() };
            let spec: DeviceSpec = name.parse()?;
            if specs.contains(&spec) {
                return Err(DeviceError::Twice(name));
            }
            if !is_index {
                prefix = part.rfind(':').map_or("", |colon| &part[..=colon]);
            }
            specs.push(spec);
        }
        Ok(Self(specs))
    }
}

impl std::fmt::Display for DeviceList {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&names.join(","))
    }
}

impl DeviceList {
    /// The devices, at least one.
    pub fn specs(&self) -> &[DeviceSpec] {
        &self.0
    }

    /// The only device.
    ///
    /// # Errors
    ///
    /// There are several.
    pub fn only(&self) -> Result<&DeviceSpec, DeviceError> {
        match self.0.as_slice() {
            [spec] => Ok(spec),
            several => Err(DeviceError::Several(several.len())),
        }
    }

    /// The devices for inference; `.autodiff()` of them trains.
    #[cfg(feature = "networks")]
    pub fn devices(&self) -> Vec<Device> {
        self.0.iter().map(DeviceSpec::device).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{DeviceError, DeviceList, DeviceSpec};

    #[test]
    fn names_round_trip_and_others_are_refused() {
        assert_eq!("flex".parse::<DeviceSpec>().map(|d| d.to_string()), Ok("flex".to_owned()));
        for name in ["cpu", "tch", "tch:cuda", "tch:cuda:x", "tch:cuda:0,1", "cuda", "wgpu:", "flex:0", ""] {
            assert_eq!(name.parse::<DeviceSpec>(), Err(DeviceError::Unknown(name.to_owned())));
        }
    }

    #[test]
    fn the_nearest_device_is_named() {
        for (wrong, right) in [
            ("cpu", "`flex`"),
            ("cuda", "`tch:cuda:0`"),
            ("tch:cdua:0", "`tch:cuda:0`"),
            ("felx", "`flex`"),
            ("wpgu", "`wgpu`"),
        ] {
            let message = DeviceError::Unknown(wrong.to_owned()).to_string();
            assert!(message.contains(&format!("did you mean {right}?")), "{message}");
        }
        assert!(!DeviceError::Unknown("abacus".to_owned()).to_string().contains("mean"));
    }

    #[test]
    fn lists_name_every_device_once() {
        assert_eq!("flex".parse::<DeviceList>().map(|list| list.to_string()), Ok("flex".to_owned()));
        assert_eq!("flex,flex".parse::<DeviceList>(), Err(DeviceError::Twice("flex".to_owned())));
        for name in ["flex,", ",flex", "flex,0", "0", "flex,tch:cuda:"] {
            assert!(matches!(name.parse::<DeviceList>(), Err(DeviceError::Unknown(_))), "{name}");
        }
        assert!("flex".parse::<DeviceList>().is_ok_and(|list| list.only() == Ok(&DeviceSpec::Flex)));
    }

    #[cfg(not(feature = "tch"))]
    #[test]
    fn a_build_without_a_backend_says_so() {
        for (name, feature) in
            [("tch:cpu", "tch"), ("tch:cuda:0,1", "tch"), ("wgpu", "wgpu"), ("cuda:0", "cuda")]
        {
            if (feature == "wgpu" && cfg!(feature = "wgpu")) || (feature == "cuda" && cfg!(feature = "cuda"))
            {
                continue;
            }
            let error = name.parse::<DeviceList>().map_err(|e| e.to_string());
            assert!(error.is_err_and(|message| message.contains(&format!("--features {feature}"))), "{name}");
        }
    }

    #[cfg(feature = "tch")]
    #[test]
    fn a_missing_cuda_device_is_refused() {
        assert_eq!("tch:cpu".parse::<DeviceSpec>(), Ok(DeviceSpec::TchCpu));
        for name in ["tch:cuda:99", "flex,tch:cuda:99", "tch:cuda:98,99"] {
            assert!(matches!(name.parse::<DeviceList>(), Err(DeviceError::NoCuda { .. })), "{name}");
        }
        let both = "flex,tch:cpu".parse::<DeviceList>();
        assert!(both.is_ok_and(|list| list.only() == Err(DeviceError::Several(2))));
    }
}

//! The devices of this build, and how fast they run a network.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use anyhow::Result;
use hubmap_cli::DeviceSpec;
use hubmap_cli::doctor::Check;
use hubmap_models::{Attention, DecoderKind, EncoderKind, InferenceModel, SegModelConfig};

/// The network that is timed: the original's.
const MODEL: SegModelConfig = SegModelConfig {
    encoder: EncoderKind::RegNetY016,
    decoder: DecoderKind::Unet,
    attention: Attention::None,
};
/// Side of its tile in pixels.
const SIDE: usize = 512;
/// How long it is timed, after a pass that does not count.
const TIME: Duration = Duration::from_secs(3);

/// Which backends are in this build, and how long a tile takes on each of these devices.
pub(crate) fn checks(devices: &[DeviceSpec]) -> Vec<Check> {
    std::iter::once(backends()).chain(devices.iter().map(speed)).collect()
}

fn backends() -> Check {
    let all =
        [("tch", cfg!(feature = "tch")), ("wgpu", cfg!(feature = "wgpu")), ("cuda", cfg!(feature = "cuda"))];
    let names =
        |is_built: bool| all.iter().filter(|(_, built)| *built == is_built).map(|(name, _)| *name).collect();
    let (built, absent): (Vec<&str>, Vec<&str>) = (names(true), names(false));
    let found = [&["flex"], built.as_slice()].concat().join(", ");
    let absent = match absent.as_slice() {
        [] => String::new(),
        absent => {
            format!("; not in this build: {} (docs/devices.md says how to build them)", absent.join(", "))
        }
    };
    Check::ok("backends", format!("{found}{absent}")).with("built", [vec!["flex"], built].concat())
}

fn speed(device: &DeviceSpec) -> Check {
    let name = device.to_string();
    // Drivers that are missing or do not fit end in a panic in some backends.
    let measured = catch_unwind(AssertUnwindSafe(|| seconds_per_tile(device)));
    match measured {
        Ok(Ok(seconds)) => {
            let found = format!("{name}: {seconds:.2} s per tile of {SIDE}x{SIDE} px with {MODEL}, one view");
            Check::ok("network", found).with("device", name).with("seconds_per_tile", seconds)
        }
        Ok(Err(error)) => failed(name, &format!("{error:#}")),
        Err(_) => failed(name, "it panicked; what it said is above"),
    }
}

fn failed(name: String, why: &str) -> Check {
    Check::ok("network", format!("{name}: {why}"))
        .with("device", name)
        .fail("check the driver, and that the library fits it: docs/devices.md")
}

/// The fastest of the passes that fit in [`TIME`], at least one.
fn seconds_per_tile(device: &DeviceSpec) -> Result<f64> {
    let model = InferenceModel::new(MODEL.init_seeded(0, &device.device()))?;
    let tile = vec![0.5; 3 * SIDE * SIDE];
    let pass = || -> Result<f64> {
        let start = Instant::now();
        model.forward(&tile, 1, SIDE, SIDE)?;
        Ok(start.elapsed().as_secs_f64())
    };
    pass()?;
    let (start, mut best) = (Instant::now(), f64::INFINITY);
    while best.is_infinite() || start.elapsed() < TIME {
        best = best.min(pass()?);
    }
    Ok(best)
}

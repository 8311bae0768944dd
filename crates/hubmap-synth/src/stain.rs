//! Light through two stains.

use crate::noise::{lerp, unit};

/// How dense the stains lie in a pixel: optical density of the strongest band, natural logarithm.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Density {
    /// Magenta: membranes, cytoplasm (periodic acid–Schiff).
    pub(crate) schiff: f32,
    /// Blue violet: nuclei (haematoxylin).
    pub(crate) haematoxylin: f32,
}

impl Density {
    pub(crate) const fn new(schiff: f32, haematoxylin: f32) -> Self {
        Self { schiff, haematoxylin }
    }

    /// A mixture with `other`, of which `share` is taken.
    pub(crate) fn mix(self, other: Self, share: f32) -> Self {
        Self {
            schiff: lerp(self.schiff, other.schiff, share),
            haematoxylin: lerp(self.haematoxylin, other.haematoxylin, share),
        }
    }
}

/// The stains of one slide as tables from density to transmitted light.
pub(crate) struct Stain {
    schiff: Vec<[f32; 3]>,
    haematoxylin: Vec<[f32; 3]>,
    /// Colour of the empty glass, 0 to 255.
    pub(crate) glass: [f32; 3],
}

/// Steps of a table per unit of density.
const STEPS: f32 = 256.0;
/// Densities from here on look alike.
const MAX_DENSITY: f32 = 4.0;

impl Stain {
    /// Stains whose colour and strength vary with 32 random bits: with a `variation` of 1 as they do between
    /// laboratories, with 0 not at all.
    pub(crate) fn new(bits: u32, variation: f32) -> Self {
        let vary = |byte, low, high| lerp(low, high, lerp(0.5, unit(bits, byte), variation));
        let strength = vary(0, 0.74, 1.16);
        let schiff = [vary(1, 0.17, 0.36), 1.0, vary(2, 0.30, 0.52)];
        let haematoxylin = [0.95, vary(3, 0.74, 0.92), vary(1, 0.42, 0.34)];
        let table = |color: [f32; 3]| {
            let n = (STEPS * MAX_DENSITY) as usize + 1;
            (0..n).map(|i| color.map(|c| (-c * strength * i as f32 / STEPS).exp())).collect()
        };
        let glass = [vary(2, 238.0, 246.0), vary(3, 236.0, 244.0), vary(0, 239.0, 246.0)];
        Self { schiff: table(schiff), haematoxylin: table(haematoxylin), glass }
    }

    /// Red, green and blue of light through the stains, relative to the glass.
    pub(crate) fn transmitted(&self, density: Density) -> [f32; 3] {
        let step = |v: f32| (v.clamp(0.0, MAX_DENSITY) * STEPS) as usize;
        let a = self.schiff[step(density.schiff)];
        let b = self.haematoxylin[step(density.haematoxylin)];
        [a[0] * b[0], a[1] * b[1], a[2] * b[2]]
    }
}

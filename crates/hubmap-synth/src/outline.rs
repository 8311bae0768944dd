//! Irregular round outlines.

use std::f32::consts::TAU;

use hubmap_io::Polygon;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

/// A closed curve around a centre, its radius a sum of waves over the angle; lengths in microns.
#[derive(Debug, Clone)]
pub(crate) struct Outline {
    pub(crate) center: [f32; 2],
    /// Radii along x and y before the waves.
    pub(crate) radius: [f32; 2],
    /// Amplitude relative to the radius, and phase, of the waves with 2, 3, … periods.
    waves: Vec<[f32; 2]>,
}

impl Outline {
    /// An outline with waves of up to `roughness` times the radius.
    pub(crate) fn random(
        rng: &mut ChaCha8Rng,
        center: [f32; 2],
        radius: [f32; 2],
        roughness: f32,
        n_waves: usize,
    ) -> Self {
        let waves = (0..n_waves)
            .map(|i| {
                let amplitude = roughness / (1.0 + 0.35 * i as f32);
                [rng.random_range(-amplitude..=amplitude), rng.random_range(0.0..TAU)]
            })
            .collect();
        Self { center, radius, waves }
    }

    /// Radius in the direction `angle` as a factor on the ellipse.
    fn wave(&self, angle: f32) -> f32 {
        let waves = self.waves.iter().enumerate();
        1.0 + waves.map(|(i, &[a, phase])| a * ((i + 2) as f32 * angle + phase).cos()).sum::<f32>()
    }

    /// 0 at the centre, 1 on the curve, and growing in proportion beyond.
    pub(crate) fn relative_radius(&self, x: f32, y: f32) -> f32 {
        let (dx, dy) = ((x - self.center[0]) / self.radius[0], (y - self.center[1]) / self.radius[1]);
        let r = dx.hypot(dy);
        if r < 1e-6 { 0.0 } else { r / self.wave(dy.atan2(dx)) }
    }

    /// Roughly how far inside the curve a point lies, in microns, negative outside.
    pub(crate) fn depth(&self, x: f32, y: f32) -> f32 {
        (1.0 - self.relative_radius(x, y)) * self.radius[0].min(self.radius[1])
    }

    /// Largest distance of the curve from the centre.
    pub(crate) fn reach(&self) -> f32 {
        let waves: f32 = self.waves.iter().map(|wave| wave[0].abs()).sum();
        self.radius[0].max(self.radius[1]) * (1.0 + waves)
    }

    /// The curve as `n` vertices in pixels, rounded to quarters, which every decimal form keeps exactly.
    pub(crate) fn polygon(&self, n: usize, microns_per_px: f32) -> Polygon {
        let vertex = |i| {
            let angle = TAU * i as f32 / n as f32;
            let wave = self.wave(angle);
            let x = self.center[0] + self.radius[0] * wave * angle.cos();
            let y = self.center[1] + self.radius[1] * wave * angle.sin();
            [x, y].map(|v| ((v / microns_per_px) as f64 * 4.0).round() / 4.0)
        };
        let mut vertices: Vec<[f64; 2]> = (0..n).map(vertex).collect();
        vertices.dedup();
        Polygon::new(vertices)
    }
}

//! Seeded transforms of samples, described as data.
//!
//! Three layers, each testable without the next:
//!
//! - A [`Step`] says what may happen, how often and how much: it stands in the configuration.
//!   [`Transforms`] holds lists of steps by name, and a [`Transform`] is one of them, checked and ready.
//! - An [`Operation`] is what does happen to one sample, with every number drawn. [`Transform::draw`] makes a list
//!   of them from the size of a sample and a random stream, and nothing else.
//! - [`perform`] does operations to pixels, the same on every machine and any number of threads.
//!
//! Amounts, ranges and probabilities mean what they mean in albumentations 0.5, and pixels come out as from OpenCV
//! to within two levels.

mod affine;
mod blur;
mod border;
mod canvas;
mod clahe;
mod glomerulus;
mod holes;
mod hsv;
mod lab;
mod levels;
mod lightning;
mod named;
mod operation;
mod overlay;
mod step;

use anyhow::{Context, Result};
use hubmap_io::Size;

pub use affine::Similarity;
pub use canvas::SampleView;
pub use glomerulus::FakeGlomerulus;
pub use holes::Hole;
pub use levels::GammaPair;
pub use lightning::Bolt;
pub use named::Transforms;
pub(crate) use operation::leading_crop;
pub use operation::{Operation, perform, perform_on};
pub use step::{Choice, Step};

use crate::{Sample, seed::StreamRng};

/// Steps applied one after the other, known to be valid.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Transform {
    steps: Vec<Step>,
}

impl Transform {
    /// The transform of these steps, in this order.
    ///
    /// # Errors
    ///
    /// A number that cannot work, a crop without a size, or a step that applies a named transform: names have a
    /// meaning only within [`Transforms`]. The message names the step.
    pub fn new(steps: Vec<Step>) -> Result<Self> {
        for (idx, step) in steps.iter().enumerate() {
            step.validate().with_context(|| format!("step {}", idx + 1))?;
        }
        Ok(Self { steps })
    }

    /// The steps, in the order in which they are applied.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// What happens to a sample of this size, decided by `rng` alone.
    ///
    /// # Errors
    ///
    /// A crop larger than the sample, or a size that is no whole part of it; nothing is padded, because invented
    /// borders would be learned as tissue.
    pub fn draw(&self, mut size: Size, rng: &mut StreamRng) -> Result<Vec<Operation>> {
        let mut operations = Vec::new();
        for step in &self.steps {
            step.draw(&mut size, rng, &mut operations)?;
        }
        Ok(operations)
    }

    /// The transformed sample.
    ///
    /// # Errors
    ///
    /// As [`Transform::draw`]; the message names the sample.
    pub fn apply(&self, sample: Sample, rng: &mut StreamRng) -> Result<Sample> {
        let operations = self.draw_for(&sample.name, sample.size(), rng)?;
        perform(sample, &operations)
    }

    /// The transformed copy of a sample that somebody else keeps; only what is left of a crop is copied.
    ///
    /// # Errors
    ///
    /// As [`Transform::apply`].
    pub fn apply_to(&self, sample: &SampleView<'_>, rng: &mut StreamRng) -> Result<Sample> {
        let operations = self.draw_for(sample.name, sample.size(), rng)?;
        perform_on(sample, &operations)
    }

    /// [`Transform::draw`] with errors that name the sample.
    pub(crate) fn draw_for(&self, name: &str, size: Size, rng: &mut StreamRng) -> Result<Vec<Operation>> {
        self.draw(size, rng).with_context(|| format!("cannot transform {name}"))
    }
}

#[cfg(test)]
pub(crate) mod tests;

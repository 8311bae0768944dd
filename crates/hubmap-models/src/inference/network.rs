//! A whole network on laid-out convolutions.

use hubmap_kernels::{Extent, KernelError, ThinConv};
use rayon::prelude::*;

use super::buffers::{BufferPool, Buffers};
use super::decoder::CpuDecoder;
use super::encoder::CpuRegNet;
use super::fold::thin;
use crate::seg_model::{InputSizeError, SegModel};

/// Channels of the input image.
const IMAGE_CHANNELS: usize = 3;

/// Why an image cannot be segmented.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ForwardError {
    /// Height or width are no multiples of 32.
    #[error(transparent)]
    Size(#[from] InputSizeError),
    /// The numbers do not make images of this size.
    #[error(
        "{found} numbers do not make {count} images of 3 x {height} x {width} (channels x rows x columns)"
    )]
    Length {
        /// Numbers given.
        found: usize,
        /// Images.
        count: usize,
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
    /// The device failed.
    #[error("cannot read logits back from the device: {problem}")]
    Device {
        /// What it says.
        problem: String,
    },
    /// A layer got what it does not take.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

/// Whether these numbers are images that a network takes.
pub(super) fn check_images(
    images: &[f32],
    count: usize,
    height: usize,
    width: usize,
) -> Result<(), ForwardError> {
    SegModel::check_input(height, width)?;
    if images.len() == count * IMAGE_CHANNELS * height * width {
        Ok(())
    } else {
        Err(ForwardError::Length { found: images.len(), count, height, width })
    }
}

/// The inference form of a [`SegModel`] for CPUs.
///
/// It shares nothing with the model that it was made from, keeps its weights in the order in which they are
/// read, and uses the memory of feature maps again from call to call.
#[derive(Debug)]
pub struct CpuModel {
    encoder: CpuRegNet,
    decoder: CpuDecoder,
    head: ThinConv,
    buffers: BufferPool,
}

impl CpuModel {
    /// Folds and lays out the weights of `model`, which must be on a device without autodiff
    /// (`model.valid()`): only then are its running statistics up to date.
    pub fn new(model: &SegModel) -> Result<Self, KernelError> {
        Ok(Self {
            encoder: CpuRegNet::new(&model.encoder)?,
            decoder: CpuDecoder::new(&model.decoder, model.encoder.feature_channels())?,
            head: thin(&model.head)?,
            buffers: BufferPool::default(),
        })
    }

    /// Logits, `[n, 1, h, w]`, of normalised images, `[n, 3, h, w]`, both in C order.
    ///
    /// Images go through the network beside each other as far as there are threads; each result is the same
    /// whatever the batch and the number of threads.
    pub fn forward(
        &self,
        images: &[f32],
        count: usize,
        height: usize,
        width: usize,
    ) -> Result<Vec<f32>, ForwardError> {
        check_images(images, count, height, width)?;
        let mut logits = vec![0.0; count * height * width];
        images
            .par_chunks(IMAGE_CHANNELS * height * width)
            .zip(logits.par_chunks_mut(height * width))
            .try_for_each(|(image, logits)| {
                self.buffers.with(|buffers| self.forward_image(image, height, width, logits, buffers))
            })?;
        Ok(logits)
    }

    fn forward_image(
        &self,
        image: &[f32],
        height: usize,
        width: usize,
        logits: &mut [f32],
        buffers: &mut Buffers,
    ) -> Result<(), KernelError> {
        let mut pixels = buffers.take(Extent { count: 1, height, width, channels: IMAGE_CHANNELS });
        let (red, rest) = image.split_at(height * width);
        let (green, blue) = rest.split_at(height * width);
        let (into, _) = pixels.data_mut().as_chunks_mut::<IMAGE_CHANNELS>();
        for (((pixel, r), g), b) in into.iter_mut().zip(red).zip(green).zip(blue) {
            *pixel = [*r, *g, *b];
        }
        let features = self.encoder.forward(pixels.images()?, buffers)?;
        buffers.give_back(pixels);
        let x = self.decoder.forward(features, buffers)?;
        self.head.run(x.images()?, logits)?;
        buffers.give_back(x);
        Ok(())
    }
}

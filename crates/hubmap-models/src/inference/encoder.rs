//! RegNet on laid-out convolutions.

use hubmap_kernels::gates::channel_means;
use hubmap_kernels::{Conv, Finish, Images, KernelError, Source};

use super::buffers::{Buffers, Features};
use super::fold::{Dense, fold, relu, sigmoid};
use crate::encoder::{Bottleneck, RegNet, SqueezeExcite};
use crate::layers::ConvNorm;

const RELU: Finish = Finish { accumulate: false, relu: true };
const LINEAR: Finish = Finish { accumulate: false, relu: false };
/// Adds the residual branch to the shortcut that the output holds.
const RESIDUAL: Finish = Finish { accumulate: true, relu: true };

/// The encoder.
#[derive(Debug)]
pub(super) struct CpuRegNet {
    stem: Conv,
    stages: Vec<Vec<Block>>,
}

impl CpuRegNet {
    pub(super) fn new(encoder: &RegNet) -> Result<Self, KernelError> {
        let stages = [&encoder.s1, &encoder.s2, &encoder.s3, &encoder.s4]
            .into_iter()
            .map(|stage| stage.blocks.iter().map(Block::new).collect())
            .collect::<Result<_, _>>()?;
        Ok(Self { stem: plain(&encoder.stem)?, stages })
    }

    /// An image, `[1, h, w, 3]`, to features at strides 2, 4, 8, 16 and 32.
    pub(super) fn forward(
        &self,
        image: Images<'_>,
        buffers: &mut Buffers,
    ) -> Result<Vec<Features>, KernelError> {
        let stem = run(&self.stem, image, RELU, buffers)?;
        let mut features = vec![stem];
        for stage in &self.stages {
            if let (Some((first, rest)), Some(before)) = (stage.split_first(), features.last()) {
                let mut x = first.forward_from(before, buffers)?;
                for block in rest {
                    x = block.forward_in_place(x, buffers)?;
                }
                features.push(x);
            }
        }
        Ok(features)
    }
}

/// A convolution over one source.
fn plain(layer: &ConvNorm) -> Result<Conv, KernelError> {
    let channels = layer.conv.weight.dims()[1] * layer.conv.groups;
    fold(layer, vec![Source::plain(channels)])
}

fn run(
    conv: &Conv,
    input: Images<'_>,
    finish: Finish,
    buffers: &mut Buffers,
) -> Result<Features, KernelError> {
    let mut output = buffers.take(conv.output_extent(&[input])?);
    conv.run(&[input], output.data_mut(), finish)?;
    Ok(output)
}

/// One bottleneck.
#[derive(Debug)]
struct Block {
    conv1: Conv,
    conv2: Conv,
    squeeze_excite: Option<(Dense, Dense)>,
    conv3: Conv,
    downsample: Option<Conv>,
}

impl Block {
    fn new(block: &Bottleneck) -> Result<Self, KernelError> {
        Ok(Self {
            conv1: plain(&block.conv1)?,
            conv2: plain(&block.conv2)?,
            squeeze_excite: block
                .se
                .as_ref()
                .map(|SqueezeExcite { fc1, fc2 }| (Dense::new(fc1), Dense::new(fc2))),
            conv3: plain(&block.conv3)?,
            downsample: block.downsample.as_ref().map(plain).transpose()?,
        })
    }

    /// From features that are needed again.
    fn forward_from(&self, x: &Features, buffers: &mut Buffers) -> Result<Features, KernelError> {
        let branch = self.branch(x, buffers)?;
        let shortcut = if let Some(downsample) = &self.downsample {
            run(downsample, x.images()?, LINEAR, buffers)?
        } else {
            let mut copy = buffers.take(x.extent());
            copy.data_mut().copy_from_slice(x.images()?.data());
            copy
        };
        self.join(branch, shortcut, buffers)
    }

    /// From features that may be overwritten.
    fn forward_in_place(&self, x: Features, buffers: &mut Buffers) -> Result<Features, KernelError> {
        let branch = self.branch(&x, buffers)?;
        let shortcut = match &self.downsample {
            Some(downsample) => {
                let shortcut = run(downsample, x.images()?, LINEAR, buffers)?;
                buffers.give_back(x);
                shortcut
            }
            None => x,
        };
        self.join(branch, shortcut, buffers)
    }

    /// The residual branch up to its last convolution.
    fn branch(&self, x: &Features, buffers: &mut Buffers) -> Result<Features, KernelError> {
        let first = run(&self.conv1, x.images()?, RELU, buffers)?;
        let second = run(&self.conv2, first.images()?, RELU, buffers)?;
        buffers.give_back(first);
        Ok(second)
    }

    /// The last convolution, added to the shortcut.
    fn join(
        &self,
        branch: Features,
        mut shortcut: Features,
        buffers: &mut Buffers,
    ) -> Result<Features, KernelError> {
        let input = branch.images()?;
        match &self.squeeze_excite {
            Some((squeeze, excite)) => {
                let gates = excite.apply(&squeeze.apply(&channel_means(input), relu), sigmoid);
                self.conv3.gated(&gates, &mut buffers.gated)?.run(&[input], shortcut.data_mut(), RESIDUAL)?;
            }
            None => self.conv3.run(&[input], shortcut.data_mut(), RESIDUAL)?,
        }
        buffers.give_back(branch);
        Ok(shortcut)
    }
}

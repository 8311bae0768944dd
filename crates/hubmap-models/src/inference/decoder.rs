//! Unet and Unet++ on laid-out convolutions.

use std::collections::HashMap;

use hubmap_kernels::gates::{apply_gates, channel_means};
use hubmap_kernels::upsampling::concatenate;
use hubmap_kernels::{Conv, Extent, Finish, Images, KernelError, Source, ThinConv};
use rayon::prelude::*;

use super::buffers::{Buffers, Features};
use super::fold::{Dense, fold, relu, sigmoid, thin};
use crate::decoder::{Decoder, N_SKIPS, ScSe, UnetDecoderBlock, unetplusplus_position};

const RELU: Finish = Finish { accumulate: false, relu: true };

/// The decoder.
#[derive(Debug)]
pub(super) enum CpuDecoder {
    Unet(Vec<Block>),
    UnetPlusPlus(Vec<Block>),
}

impl CpuDecoder {
    /// `channels` are the encoder's at strides 1 to 32.
    pub(super) fn new(decoder: &Decoder, channels: [usize; 6]) -> Result<Self, KernelError> {
        let [_, c1, c2, c3, c4, c5] = channels;
        match decoder {
            Decoder::Unet(unet) => {
                let skips = [Some(c4), Some(c3), Some(c2), Some(c1), None];
                let mut blocks = Vec::new();
                let mut below = c5;
                for (block, skip) in unet.blocks.iter().zip(skips) {
                    blocks.push(Block::new(block, below, &skip.into_iter().collect::<Vec<_>>())?);
                    below = block.conv2.conv.weight.dims()[0];
                }
                Ok(Self::Unet(blocks))
            }
            Decoder::UnetPlusPlus(unet) => {
                let skips = [c4, c3, c2, c1];
                let mut blocks = Vec::new();
                for (layer, &skip) in skips.iter().enumerate() {
                    for depth in 0..=layer {
                        let block = &unet.blocks[unetplusplus_position(depth, layer)];
                        let n_skips = layer + 1 - depth;
                        let all = block.conv1.conv.weight.dims()[1];
                        let below = all - skip * n_skips;
                        blocks.push(Block::new(block, below, &vec![skip; n_skips])?);
                    }
                }
                let last = &unet.blocks[unetplusplus_position(0, N_SKIPS)];
                blocks.push(Block::new(last, last.conv1.conv.weight.dims()[1], &[])?);
                Ok(Self::UnetPlusPlus(blocks))
            }
        }
    }

    /// Features at strides 2, 4, 8, 16 and 32 to `[1, h, w, 16]`.
    pub(super) fn forward(
        &self,
        mut features: Vec<Features>,
        buffers: &mut Buffers,
    ) -> Result<Features, KernelError> {
        features.reverse();
        match self {
            Self::Unet(blocks) => {
                let mut features = features.into_iter();
                let mut x = features.next();
                for block in blocks {
                    let skip = features.next();
                    let Some(below) = x.take() else { break };
                    x = Some(block.forward(&below, &skip.iter().collect::<Vec<_>>(), buffers)?);
                    buffers.give_back(below);
                    if let Some(skip) = skip {
                        buffers.give_back(skip);
                    }
                }
                x.ok_or(KernelError::Sources { found: 0, expected: 5 })
            }
            Self::UnetPlusPlus(blocks) => forward_dense(blocks, features, buffers),
        }
    }
}

/// The triangle of Unet++, deepest features first.
fn forward_dense(
    blocks: &[Block],
    features: Vec<Features>,
    buffers: &mut Buffers,
) -> Result<Features, KernelError> {
    let mut dense: HashMap<(usize, usize), Features> = HashMap::new();
    for distance in 0..N_SKIPS {
        for depth in 0..N_SKIPS - distance {
            let layer = depth + distance;
            let below = if distance == 0 { &features[depth] } else { &dense[&(depth, layer - 1)] };
            let mut skips: Vec<&Features> = (depth + 1..=layer).map(|d| &dense[&(d, layer)]).collect();
            skips.push(&features[layer + 1]);
            let x = blocks[unetplusplus_position(depth, layer)].forward(below, &skips, buffers)?;
            dense.insert((depth, layer), x);
        }
    }
    let x = blocks[unetplusplus_position(0, N_SKIPS)].forward(&dense[&(0, N_SKIPS - 1)], &[], buffers)?;
    for features in features.into_iter().chain(dense.into_values()) {
        buffers.give_back(features);
    }
    Ok(x)
}

/// Upsampling, joining, two convolutions.
#[derive(Debug)]
pub(super) struct Block {
    /// Only where there are skips.
    attention1: Option<Attention>,
    conv1: Conv,
    conv2: Conv,
    attention2: Option<Attention>,
}

impl Block {
    fn new(block: &UnetDecoderBlock, below: usize, skips: &[usize]) -> Result<Self, KernelError> {
        // Attention needs the joined features anyway; otherwise they never exist.
        let attention1 = block.attention1.as_ref().filter(|_| !skips.is_empty());
        let sources = match attention1 {
            Some(_) => vec![Source::plain(below + skips.iter().sum::<usize>())],
            None => std::iter::once(Source::upsampled(below))
                .chain(skips.iter().copied().map(Source::plain))
                .collect(),
        };
        let middle = block.conv2.conv.weight.dims()[1];
        Ok(Self {
            attention1: attention1.map(Attention::new).transpose()?,
            conv1: fold(&block.conv1, sources)?,
            conv2: fold(&block.conv2, vec![Source::plain(middle)])?,
            attention2: block.attention2.as_ref().map(Attention::new).transpose()?,
        })
    }

    fn forward(
        &self,
        below: &Features,
        skips: &[&Features],
        buffers: &mut Buffers,
    ) -> Result<Features, KernelError> {
        let mut sources = vec![below.images()?];
        for skip in skips {
            sources.push(skip.images()?);
        }
        let middle = match &self.attention1 {
            Some(attention) => {
                let joined = attention.join(&sources, buffers)?;
                let middle = convolve(&self.conv1, &[joined.images()?], buffers)?;
                buffers.give_back(joined);
                middle
            }
            None => convolve(&self.conv1, &sources, buffers)?,
        };
        let mut output = convolve(&self.conv2, &[middle.images()?], buffers)?;
        buffers.give_back(middle);
        if let Some(attention) = &self.attention2 {
            attention.apply(&mut output, buffers)?;
        }
        Ok(output)
    }
}

fn convolve(conv: &Conv, sources: &[Images<'_>], buffers: &mut Buffers) -> Result<Features, KernelError> {
    let mut output = buffers.take(conv.output_extent(sources)?);
    conv.run(sources, output.data_mut(), RELU)?;
    Ok(output)
}

/// Concurrent spatial and channel squeeze-and-excitation.
#[derive(Debug)]
struct Attention {
    squeeze: Dense,
    excite: Dense,
    spatial: ThinConv,
}

impl Attention {
    fn new(scse: &ScSe) -> Result<Self, KernelError> {
        Ok(Self {
            squeeze: Dense::new(&scse.channel_squeeze),
            excite: Dense::new(&scse.channel_excite),
            spatial: thin(&scse.spatial)?,
        })
    }

    /// Joins the first source, upsampled, with the others, and applies itself.
    fn join(&self, sources: &[Images<'_>], buffers: &mut Buffers) -> Result<Features, KernelError> {
        let flagged: Vec<_> =
            sources.iter().enumerate().map(|(index, &images)| (images, index == 0)).collect();
        let below =
            sources.first().map(Images::extent).ok_or(KernelError::Sources { found: 0, expected: 1 })?;
        let mut joined = buffers.take(Extent {
            height: 2 * below.height,
            width: 2 * below.width,
            channels: sources.iter().map(|images| images.extent().channels).sum(),
            ..below
        });
        concatenate(&flagged, joined.data_mut())?;
        self.apply(&mut joined, buffers)?;
        Ok(joined)
    }

    fn apply(&self, x: &mut Features, buffers: &mut Buffers) -> Result<(), KernelError> {
        let extent = x.extent();
        let channel_gates =
            self.excite.apply(&self.squeeze.apply(&channel_means(x.images()?), relu), sigmoid);
        let mut pixel_gates = buffers.take(Extent { channels: 1, ..extent });
        self.spatial.run(x.images()?, pixel_gates.data_mut())?;
        pixel_gates.data_mut().par_iter_mut().for_each(|gate| *gate = sigmoid(*gate));
        apply_gates(x.data_mut(), extent, &channel_gates, pixel_gates.images()?.data())?;
        buffers.give_back(pixel_gates);
        Ok(())
    }
}

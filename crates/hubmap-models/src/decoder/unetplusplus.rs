//! UNet++ decoder with the dense skips of segmentation_models.pytorch.

use std::collections::HashMap;

use burn::module::Module;

use super::{DECODER_CHANNELS, UnetDecoderBlock};
use crate::channels_last::Maps;
use crate::config::Attention;
use crate::fresh::FreshWeights;

/// Skips that exist between encoder and decoder: strides 16, 8, 4 and 2.
pub(crate) const N_SKIPS: usize = 4;

/// UNet++ decoder: a triangle of blocks `x_{depth}_{layer}`, `depth <= layer < 4`, and the last block `x_0_4`.
#[derive(Module, Debug)]
pub struct UnetPlusPlus {
    /// Column by column: `x_0_0`, `x_0_1`, `x_1_1`, `x_0_2`, …, `x_3_3`, then `x_0_4`.
    pub blocks: Vec<UnetDecoderBlock>,
}

/// Position of block `x_{depth}_{layer}` in [`UnetPlusPlus::blocks`].
pub(crate) const fn position(depth: usize, layer: usize) -> usize {
    layer * (layer + 1) / 2 + depth
}

/// SMP's name of the block at a position, the inverse of [`position`].
pub(crate) fn block_name(wanted: usize) -> String {
    (0..N_SKIPS)
        .flat_map(|layer| (0..=layer).map(move |depth| (depth, layer)))
        .find(|&(depth, layer)| position(depth, layer) == wanted)
        .map_or_else(|| format!("x_0_{N_SKIPS}"), |(depth, layer)| format!("x_{depth}_{layer}"))
}

impl UnetPlusPlus {
    /// A decoder for features with `channels` at strides 1 to 32.
    pub fn new(channels: [usize; 6], attention: Attention, weights: &mut FreshWeights) -> Self {
        let [_, c1, c2, c3, c4, c5] = channels;
        let skips = [c4, c3, c2, c1];
        let mut blocks = Vec::new();
        for layer in 0..N_SKIPS {
            let skip = skips[layer];
            // The main path x_0_*: all earlier columns of this resolution come in as skips.
            let in_channels = if layer == 0 { c5 } else { DECODER_CHANNELS[layer - 1] };
            let n_skips = layer + 1;
            blocks.push(UnetDecoderBlock::new(
                in_channels,
                skip * n_skips,
                DECODER_CHANNELS[layer],
                attention,
                weights,
            ));
            for depth in 1..=layer {
                let n_skips = layer + 1 - depth;
                blocks.push(UnetDecoderBlock::new(
                    skips[layer - 1],
                    skip * n_skips,
                    skip,
                    attention,
                    weights,
                ));
            }
        }
        blocks.push(UnetDecoderBlock::new(
            DECODER_CHANNELS[N_SKIPS - 1],
            0,
            DECODER_CHANNELS[N_SKIPS],
            attention,
            weights,
        ));
        Self { blocks }
    }

    /// Features at strides 1 to 32 to 16 channels at full resolution.
    pub(crate) fn apply(&self, features: [Maps; 6]) -> Maps {
        let [_, f1, f2, f3, f4, f5] = features;
        // Deepest first: `features[i + 1]` is the skip of layer `i`.
        let features = [f5, f4, f3, f2, f1];
        let mut dense: HashMap<(usize, usize), Maps> = HashMap::new();
        for distance in 0..N_SKIPS {
            for depth in 0..N_SKIPS - distance {
                let layer = depth + distance;
                let (input, mut skips) = if distance == 0 {
                    (features[depth].clone(), Vec::new())
                } else {
                    let skips = (depth + 1..=layer).map(|d| dense[&(d, layer)].clone()).collect();
                    (dense[&(depth, layer - 1)].clone(), skips)
                };
                skips.push(features[layer + 1].clone());
                dense.insert((depth, layer), self.blocks[position(depth, layer)].apply(input, skips));
            }
        }
        self.blocks[position(0, N_SKIPS)].apply(dense[&(0, N_SKIPS - 1)].clone(), Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::block_name;

    #[test]
    fn block_names_follow_smp() {
        let names: Vec<_> = (0..11).map(block_name).collect();
        assert_eq!(
            names,
            [
                "x_0_0", "x_0_1", "x_1_1", "x_0_2", "x_1_2", "x_2_2", "x_0_3", "x_1_3", "x_2_3", "x_3_3",
                "x_0_4"
            ]
        );
    }
}

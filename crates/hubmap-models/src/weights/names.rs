//! From module paths to SMP's tensor names.

use crate::config::{DecoderKind, SegModelConfig};
use crate::decoder::unetplusplus_block_name;

/// Follows a walk over a `SegModel` and gives the SMP name of where it is.
pub(super) struct PathNames {
    path: Vec<String>,
    decoder: DecoderKind,
}

impl PathNames {
    pub(super) fn new(config: SegModelConfig) -> Self {
        Self { path: Vec::new(), decoder: config.decoder }
    }

    pub(super) fn push(&mut self, name: &str) {
        self.path.push(name.to_owned());
    }

    pub(super) fn pop(&mut self) {
        self.path.pop();
    }

    /// SMP's name of the parameter that the walk is at.
    pub(super) fn current(&self) -> String {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        match path.as_slice() {
            ["encoder", rest @ ..] => format!("encoder.model.{}", encoder_name(rest)),
            // The decoder enum puts its variant's name into the path.
            ["decoder", _variant, "blocks", block, rest @ ..] => {
                let block = match (self.decoder, block.parse()) {
                    (DecoderKind::UnetPlusPlus, Ok(position)) => unetplusplus_block_name(position),
                    _ => (*block).to_owned(),
                };
                format!("decoder.blocks.{block}.{}", decoder_name(rest))
            }
            ["head", rest @ ..] => format!("segmentation_head.0.{}", rest.join(".")),
            other => other.join("."),
        }
    }
}

/// `s1.blocks.0.conv1.bn.weight` to `s1.b1.conv1.bn.weight`.
fn encoder_name(path: &[&str]) -> String {
    match path {
        [stage, "blocks", block, rest @ ..] => {
            let block = block.parse::<usize>().map_or(0, |b| b + 1);
            format!("{stage}.b{block}.{}", rest.join("."))
        }
        other => other.join("."),
    }
}

/// `conv1.conv.weight` to `conv1.0.weight`, `attention1.spatial.bias` to `attention1.attention.sSE.0.bias`.
fn decoder_name(path: &[&str]) -> String {
    let renamed: Vec<&str> = path
        .iter()
        .map(|&part| match part {
            "conv" => "0",
            "bn" => "1",
            "channel_squeeze" => "attention.cSE.1",
            "channel_excite" => "attention.cSE.3",
            "spatial" => "attention.sSE.0",
            other => other,
        })
        .collect();
    renamed.join(".")
}

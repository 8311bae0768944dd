//! Which network a file of weights belongs to, from names and shapes.

use std::path::Path;

use super::{WeightsError, WeightsFile, WeightsNaming};
use crate::config::{Attention, DecoderKind, EncoderKind, SegModelConfig};
use crate::encoder::regnet_spec;

/// The network that the tensors of a file belong to.
pub fn guess_config(path: &Path) -> Result<SegModelConfig, WeightsError> {
    WeightsFile::open(path)?.guess_config()
}

impl WeightsFile {
    /// The network that the tensors belong to, from their names and shapes.
    pub fn guess_config(&self) -> Result<SegModelConfig, WeightsError> {
        let unknown = |problem: &str| WeightsError::UnknownNetwork {
            path: self.path().to_owned(),
            problem: problem.into(),
        };
        let encoder = self.guess_encoder().ok_or_else(|| unknown("no RegNet encoder has these stages"))?;
        if self.layout().naming == WeightsNaming::Timm {
            return Err(self.encoder_only("a network"));
        }
        let has = |name: &str| self.get(name).is_some();
        let (decoder, first_block) = if has("decoder.blocks.x_0_0.conv1.0.weight") {
            (DecoderKind::UnetPlusPlus, "x_0_0")
        } else if has("decoder.blocks.0.conv1.0.weight") {
            (DecoderKind::Unet, "0")
        } else {
            return Err(unknown("there is no Unet or Unet++ decoder in it"));
        };
        let attention = if has(&format!("decoder.blocks.{first_block}.attention1.attention.sSE.0.weight")) {
            Attention::ScSe
        } else {
            Attention::None
        };
        Ok(SegModelConfig { encoder, decoder, attention })
    }

    /// The encoder that the tensors belong to, or a part of them; `None` if no known one has these stages.
    pub fn guess_encoder(&self) -> Option<EncoderKind> {
        let width = |stage: usize, block: usize| {
            let name = format!("encoder.model.s{stage}.b{block}.conv1.conv.weight");
            self.get(&name).and_then(|tensor| tensor.shape.first()).copied()
        };
        let n_tensors = self.tensors().len();
        let depth = |stage: usize| (1..=n_tensors).take_while(|&block| width(stage, block).is_some()).count();
        let depths = [1, 2, 3, 4].map(depth);
        let widths = [1, 2, 3, 4].map(|stage| width(stage, 1));
        let squeeze_excite = self.get("encoder.model.s1.b1.se.fc1.weight").is_some();
        EncoderKind::ALL.iter().copied().find(|&kind| {
            let spec = regnet_spec(kind);
            spec.depths == depths && spec.widths.map(Some) == widths && spec.squeeze_excite == squeeze_excite
        })
    }

    pub(super) fn encoder_only(&self, network: &str) -> WeightsError {
        let encoder = self.guess_encoder().map_or("unknown".to_owned(), |encoder| encoder.to_string());
        let classifier = if self.layout().has_classifier { " with classifier" } else { "" };
        WeightsError::EncoderOnly {
            path: self.path().to_owned(),
            network: network.to_owned(),
            found: format!("{encoder}{classifier}"),
        }
    }
}

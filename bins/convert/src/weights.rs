//! `hubmap-convert weights`: what is in a file of weights, and the same as safetensors.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use hubmap_cli::{DeviceSpec, Outcome, Progress, check_inputs, check_output, choice, print_line};
use hubmap_models::{
    Attention, DecoderKind, EncoderKind, SavedAs, SegModelConfig, WeightsError, WeightsFile,
    load_encoder_weights, load_weights, save_encoder_weights, save_weights_as,
};
use serde::Serialize;

use crate::weights_report::WeightsReport;

/// Say what is in a file of weights (.pth, .pt, .safetensors), or turn it into safetensors.
#[derive(Debug, Args)]
#[command(
    after_help = "Without OUT: format, naming, network, number of parameters, and every tensor with shape and type.\n\
                  With OUT: safetensors in the naming of segmentation_models.pytorch, which torch loads with \
                  strict=True; an encoder of timm keeps timm's naming and loses its classifier.\n\n\
                  Examples:\n  hubmap-convert weights e37_t50_ema_0.9412.pth\n  \
                  hubmap-convert weights e37_t50_ema_0.9412.pth weights.safetensors"
)]
pub(crate) struct WeightsArgs {
    /// PyTorch checkpoint or safetensors file; the contents decide, not the name
    #[arg(value_name = "IN")]
    input: PathBuf,

    /// Safetensors file to write
    #[arg(value_name = "OUT")]
    output: Option<PathBuf>,

    /// Type of the numbers in OUT
    #[arg(long, value_enum, default_value_t = DtypeArg::F32, requires = "output")]
    dtype: DtypeArg,

    /// Read all values too: least, greatest and mean of every tensor
    #[arg(long)]
    stats: bool,

    /// Encoder of the network [default: guessed from the file]
    #[arg(
        long,
        value_name = "ENCODER",
        value_parser = choice::<EncoderKind>(EncoderKind::ALL.iter().map(|kind| kind.name())),
        requires = "output"
    )]
    encoder: Option<EncoderKind>,

    /// Decoder of the network [default: guessed from the file]
    #[arg(
        long,
        value_name = "DECODER",
        value_parser = choice::<DecoderKind>(DecoderKind::ALL.iter().map(|kind| kind.name())),
        requires = "output"
    )]
    decoder: Option<DecoderKind>,

    /// Attention of the network [default: guessed from the file]
    #[arg(
        long,
        value_name = "ATTENTION",
        value_parser = choice::<Attention>(Attention::ALL.iter().map(|kind| kind.name())),
        requires = "output"
    )]
    attention: Option<Attention>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum DtypeArg {
    F32,
    F16,
    Bf16,
}

/// The file that was written.
#[derive(Debug, Serialize)]
struct Written {
    path: String,
    network: String,
    dtype: String,
    bytes: u64,
}

impl WeightsArgs {
    /// Prints the report, or writes the file.
    pub(crate) fn run(&self, json: bool, progress: &Progress) -> Result<Outcome> {
        check_inputs([&self.input])?;
        let file = WeightsFile::open(&self.input)?;
        let report = WeightsReport::new(&file, self.stats)?;
        let mut summary = serde_json::to_value(&report)?;
        match &self.output {
            None if json => {}
            None => report.lines().iter().try_for_each(|line| print_line(line))?,
            Some(output) => {
                let written = self.convert(&file, output)?;
                progress.note(&format!(
                    "{}: {} of {} MB",
                    output.display(),
                    written.network,
                    written.bytes / 1_000_000
                ));
                summary["written"] = serde_json::to_value(&written)?;
            }
        }
        Ok(Outcome::done(summary))
    }

    fn convert(&self, file: &WeightsFile, output: &Path) -> Result<Written> {
        check_output(output, [&self.input])?;
        let saved_as = match self.dtype {
            DtypeArg::F32 => SavedAs::F32,
            DtypeArg::F16 => SavedAs::F16,
            DtypeArg::Bf16 => SavedAs::Bf16,
        };
        // Weights are only held, nothing runs.
        let device = DeviceSpec::Flex.device();
        let network = match self.network(file) {
            Ok(config) => {
                let model = load_weights(config.init(&device), &config, &self.input)?;
                save_weights_as(&model, &config, output, saved_as)?;
                config.to_string()
            }
            Err(WeightsError::EncoderOnly { .. }) if file.guess_encoder().is_some() => {
                let encoder = file.guess_encoder().context("the encoder is unknown")?;
                let (decoder, attention) = (DecoderKind::Unet, Attention::None);
                let config = SegModelConfig { encoder, decoder, attention };
                let model = load_encoder_weights(config.init(&device), &config, &self.input)?;
                save_encoder_weights(&model, &config, output, saved_as)?;
                format!("encoder {encoder}")
            }
            Err(error) => return Err(error.into()),
        };
        let path = output.display().to_string();
        let bytes = std::fs::metadata(output).with_context(|| path.clone())?.len();
        let dtype = format!("{:?}", self.dtype).to_lowercase();
        Ok(Written { path, network, dtype, bytes })
    }

    /// The network of the file, as far as the flags do not say.
    fn network(&self, file: &WeightsFile) -> Result<SegModelConfig, WeightsError> {
        if let (Some(encoder), Some(decoder), Some(attention)) = (self.encoder, self.decoder, self.attention)
        {
            return Ok(SegModelConfig { encoder, decoder, attention });
        }
        let guess = file.guess_config()?;
        Ok(SegModelConfig {
            encoder: self.encoder.unwrap_or(guess.encoder),
            decoder: self.decoder.unwrap_or(guess.decoder),
            attention: self.attention.unwrap_or(guess.attention),
        })
    }
}

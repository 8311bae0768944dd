//! Which network: encoder, decoder and attention, as users name them.

use serde::{Deserialize, Serialize};

pub use crate::encoder::EncoderKind;

/// A name that no encoder, decoder or attention has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} `{name}`: known are {known}")]
pub struct UnknownName {
    /// What was looked up, such as `encoder`.
    pub what: &'static str,
    /// The name that was given.
    pub name: String,
    /// The names that exist, comma-separated.
    pub known: String,
}

/// Gives an enum of names its list, its text form and its parser.
macro_rules! named {
    ($(#[$doc:meta])* $kind:ident, $what:literal, $($(#[$vdoc:meta])* $variant:ident => $name:literal),+ $(,)?) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $kind {
            $($(#[$vdoc])* #[serde(rename = $name)] $variant),+
        }

        impl $kind {
            /// Every variant, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name in configs and on the command line.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }

        impl std::fmt::Display for $kind {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }

        impl std::str::FromStr for $kind {
            type Err = $crate::config::UnknownName;

            fn from_str(name: &str) -> Result<Self, Self::Err> {
                // `timm-regnety_016` (SMP up to 0.3) and `tu-regnety_016` (SMP today) are the same encoder.
                let bare = name.strip_prefix("timm-").or_else(|| name.strip_prefix("tu-")).unwrap_or(name);
                Self::ALL.iter().copied().find(|v| v.name() == bare).ok_or_else(|| $crate::config::UnknownName {
                    what: $what,
                    name: name.to_owned(),
                    known: Self::ALL.iter().map(|v| v.name()).collect::<Vec<_>>().join(", "),
                })
            }
        }
    };
}

pub(crate) use named;

named! {
    /// Decoders.
    DecoderKind, "decoder",
    /// U-Net (Ronneberger et al., 2015) in the form of segmentation_models.pytorch.
    Unet => "unet",
    /// UNet++ (Zhou et al., 2018) with the dense skips of segmentation_models.pytorch.
    UnetPlusPlus => "unetplusplus",
}

named! {
    /// Attention inside the decoder's blocks.
    Attention, "attention",
    /// None.
    None => "none",
    /// Concurrent spatial and channel squeeze-and-excitation (Roy et al., 2018).
    ScSe => "scse",
}

/// A segmentation network: everything needed to build it with empty weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegModelConfig {
    /// Feature extractor.
    pub encoder: EncoderKind,
    /// From features back to full resolution.
    pub decoder: DecoderKind,
    /// Attention in the decoder.
    pub attention: Attention,
}

impl std::fmt::Display for SegModelConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.decoder, self.encoder)?;
        match self.attention {
            Attention::None => Ok(()),
            Attention::ScSe => write!(f, "-scse"),
        }
    }
}

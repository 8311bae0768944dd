//! The table of encoders, one line each.

use crate::config::named;

/// The numbers that make one RegNet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegNetSpec {
    /// Output channels of the four stages.
    pub widths: [usize; 4],
    /// Blocks in each stage.
    pub depths: [usize; 4],
    /// Channels per group of the 3×3 convolutions; a narrower stage is one group.
    pub group_width: usize,
    /// Whether blocks have squeeze-and-excitation with a quarter of the block's input channels (RegNetY).
    pub squeeze_excite: bool,
}

/// Makes the names ([`EncoderKind`]) and the numbers ([`regnet_spec`]) from one table.
macro_rules! regnets {
    ($($variant:ident $name:literal $family:ident $widths:tt $depths:tt $group_width:literal;)+) => {
        named! {
            /// Encoders of the timm RegNet families (Radosavovic et al., "Designing Network Design Spaces", 2020).
            ///
            /// The number is the cost in units of 100 MFLOP for an image of 224 px; Y has squeeze-and-excitation.
            EncoderKind, "encoder",
            $(#[doc = concat!("timm's `", $name, "`.")] $variant => $name),+
        }

        /// The network's numbers.
        pub const fn regnet_spec(kind: EncoderKind) -> RegNetSpec {
            match kind {
                $(EncoderKind::$variant => RegNetSpec {
                    widths: $widths,
                    depths: $depths,
                    group_width: $group_width,
                    squeeze_excite: matches!(Family::$family, Family::Y),
                }),+
            }
        }
    };
}

/// Column of the table: with or without squeeze-and-excitation.
enum Family {
    X,
    Y,
}

// From timm's `regnet.py`; widths are those after rounding to whole groups, as a model of timm has them.
// A further RegNet is one more line: docs/how-to/add-an-encoder.md.
regnets! {
    // Variant   timm's name  family  channels of s1 to s4     blocks of s1 to s4  group width
    RegNetX002 "regnetx_002" X [24, 56, 152, 368]       [1, 1, 4, 7]       8;
    RegNetX004 "regnetx_004" X [32, 64, 160, 384]       [1, 2, 7, 12]      16;
    RegNetX006 "regnetx_006" X [48, 96, 240, 528]       [1, 3, 5, 7]       24;
    RegNetX008 "regnetx_008" X [64, 128, 288, 672]      [1, 3, 7, 5]       16;
    RegNetX016 "regnetx_016" X [72, 168, 408, 912]      [2, 4, 10, 2]      24;
    RegNetX032 "regnetx_032" X [96, 192, 432, 1008]     [2, 6, 15, 2]      48;
    RegNetX040 "regnetx_040" X [80, 240, 560, 1360]     [2, 5, 14, 2]      40;
    RegNetX064 "regnetx_064" X [168, 392, 784, 1624]    [2, 4, 10, 1]      56;
    RegNetX080 "regnetx_080" X [80, 240, 720, 1920]     [2, 5, 15, 1]      120;
    RegNetX120 "regnetx_120" X [224, 448, 896, 2240]    [2, 5, 11, 1]      112;
    RegNetX160 "regnetx_160" X [256, 512, 896, 2048]    [2, 6, 13, 1]      128;
    RegNetX320 "regnetx_320" X [336, 672, 1344, 2520]   [2, 7, 13, 1]      168;
    RegNetY002 "regnety_002" Y [24, 56, 152, 368]       [1, 1, 4, 7]       8;
    RegNetY004 "regnety_004" Y [48, 104, 208, 440]      [1, 3, 6, 6]       8;
    RegNetY006 "regnety_006" Y [48, 112, 256, 608]      [1, 3, 7, 4]       16;
    RegNetY008 "regnety_008" Y [64, 128, 320, 768]      [1, 3, 8, 2]       16;
    RegNetY016 "regnety_016" Y [48, 120, 336, 888]      [2, 6, 17, 2]      24;
    RegNetY032 "regnety_032" Y [72, 216, 576, 1512]     [2, 5, 13, 1]      24;
    RegNetY040 "regnety_040" Y [128, 192, 512, 1088]    [2, 6, 12, 2]      64;
    RegNetY064 "regnety_064" Y [144, 288, 576, 1296]    [2, 7, 14, 2]      72;
    RegNetY080 "regnety_080" Y [168, 448, 896, 2016]    [2, 4, 10, 1]      56;
    RegNetY120 "regnety_120" Y [224, 448, 896, 2240]    [2, 5, 11, 1]      112;
    RegNetY160 "regnety_160" Y [224, 448, 1232, 3024]   [2, 4, 11, 1]      112;
    RegNetY320 "regnety_320" Y [232, 696, 1392, 3712]   [2, 5, 12, 1]      232;
}

//! Colours of masks and probabilities.

/// A colour for each value of a byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Palette {
    pub(crate) rgb: [[u8; 3]; 256],
    /// 0 is transparent.
    pub(crate) alpha: [u8; 256],
}

/// Colours of the probabilities 0, ¼, ½, ¾ and 1: blue to red through a pale yellow at one half, where a mask begins.
///
/// Those of `ColorBrewer`'s diverging scales, which colour-blind people tell apart.
const HEAT: [[u8; 3]; 5] = [[49, 54, 149], [69, 150, 210], [255, 240, 150], [244, 109, 67], [165, 0, 38]];

/// Probabilities of up to a fiftieth are not drawn, and are opaque from a fifth on.
const HEAT_BEGINS: u8 = 5;
const HEAT_IS_FULL: u8 = 51;

impl Palette {
    /// One colour, the more opaque the higher the value.
    pub(crate) fn flat(colour: [u8; 3]) -> Self {
        Self { rgb: [colour; 256], alpha: std::array::from_fn(|value| value as u8) }
    }

    /// Colours of probabilities, 255 for 1; those of at most `threshold` are transparent.
    pub(crate) fn heat(threshold: u8) -> Self {
        let alpha = |value: usize| match value as u8 {
            value if value <= threshold || value < HEAT_BEGINS => 0,
            // Above a threshold there is nothing to fade in.
            value if threshold == 0 && value < HEAT_IS_FULL => {
                let share = u32::from(value - HEAT_BEGINS) * 255 / u32::from(HEAT_IS_FULL - HEAT_BEGINS);
                share as u8
            }
            _ => 255,
        };
        Self { rgb: std::array::from_fn(heat), alpha: std::array::from_fn(alpha) }
    }
}

/// The colour of a probability, between those of [`HEAT`].
fn heat(value: usize) -> [u8; 3] {
    let at = value as f32 / 255.0 * (HEAT.len() - 1) as f32;
    let below = (at as usize).min(HEAT.len() - 2);
    let share = at - below as f32;
    let (from, to) = (HEAT[below], HEAT[below + 1]);
    std::array::from_fn(|c| (f32::from(from[c]) * (1.0 - share) + f32::from(to[c]) * share).round() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_fade_in_and_go_from_blue_to_red() {
        let palette = Palette::heat(0);
        assert_eq!((palette.rgb[0], palette.rgb[255]), (HEAT[0], HEAT[4]));
        assert_eq!(palette.rgb[128], [255, 239, 149]);
        assert_eq!(
            (palette.alpha[4], palette.alpha[5], palette.alpha[51], palette.alpha[255]),
            (0, 0, 255, 255)
        );
        assert!(palette.alpha.is_sorted());
    }

    #[test]
    fn a_threshold_hides_what_is_not_above_it() {
        let palette = Palette::heat(127);
        assert_eq!((palette.alpha[127], palette.alpha[128]), (0, 255));
        assert_eq!(Palette::heat(20).alpha[21], 255);
    }
}

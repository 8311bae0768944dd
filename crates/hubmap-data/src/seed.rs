//! Random streams that depend on what is drawn, never on the order in which threads draw it.

use rand::SeedableRng;

/// The generator behind every random choice of this crate.
pub type StreamRng = rand_chacha::ChaCha8Rng;

/// What a random stream is for, so that equal indices of different uses stay independent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u64)]
pub enum Purpose {
    /// Whether a background tile is kept.
    Background = 1,
    /// The order of slides when folds are drawn.
    Folds = 2,
    /// The order of samples in an epoch.
    Shuffle = 3,
    /// The augmentation of one sample in one epoch.
    Augment = 4,
    /// The place of one background window on a slide.
    BackgroundWindow = 5,
    /// The place of one window in the polygons of a slide.
    PolygonWindow = 6,
    /// Which samples of a fractional weight are taken once more in an epoch.
    Repeat = 7,
    /// Which tiles validate if tiles are drawn.
    ValidTiles = 16,
}

/// The stream at `(a, b)` of `purpose`, for example `(epoch, sample)`.
///
/// Two different coordinates never share a stream: all four numbers together are the key of the generator.
pub fn stream(seed: u64, purpose: Purpose, a: u64, b: u64) -> StreamRng {
    let mut key = [0_u8; 32];
    for (bytes, word) in key.chunks_exact_mut(8).zip([seed, purpose as u64, a, b]) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    StreamRng::from_seed(key)
}

/// FNV-1a, 64 bit: turns a slide id into a stream coordinate, the same on every platform and release.
pub fn hash_id(id: &str) -> u64 {
    id.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    #[test]
    fn streams_differ_in_every_coordinate_and_repeat() {
        let first = |seed, purpose, a, b| stream(seed, purpose, a, b).next_u64();
        let base = first(1, Purpose::Augment, 2, 3);
        assert_eq!(base, first(1, Purpose::Augment, 2, 3));
        for other in [
            first(2, Purpose::Augment, 2, 3),
            first(1, Purpose::Shuffle, 2, 3),
            first(1, Purpose::Augment, 3, 3),
            first(1, Purpose::Augment, 2, 4),
            first(1, Purpose::Augment, 3, 2),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn hash_is_fnv_1a() {
        assert_eq!(hash_id(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash_id("a"), 0xaf63_dc4c_8601_ec8c);
    }
}

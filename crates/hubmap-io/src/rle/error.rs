//! What can be wrong with an encoding.

use crate::Size;

/// Why a text is not a run-length encoding, or does not fit an image; tokens are counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RleError {
    /// A token that is not a whole number without sign.
    #[error("token {position} ({token:?}) is not a number")]
    NotANumber {
        /// Which token.
        position: usize,
        /// Its text, cut after 32 characters.
        token: String,
    },
    /// A number that does not fit 64 bits, or a run whose end does not.
    #[error("token {position} overflows 64 bits")]
    Overflow {
        /// Which token.
        position: usize,
    },
    /// A start or a length of zero; pixels are numbered from 1 and no run is empty.
    #[error("token {position} is 0, but {what} are counted from 1")]
    Zero {
        /// Which token.
        position: usize,
        /// `starts` or `lengths`.
        what: &'static str,
    },
    /// The last start has no length.
    #[error("{count} tokens are not pairs of start and length")]
    OddCount {
        /// How many tokens there are.
        count: usize,
    },
    /// A run that starts at or before the last pixel of the run before it.
    #[error(
        "token {position}: the run at {start} starts not after pixel {previous_last}, where the run before it ends"
    )]
    Unsorted {
        /// Which token.
        position: usize,
        /// First pixel of the run.
        start: u64,
        /// Last pixel of the run before.
        previous_last: u64,
    },
    /// A run that ends after the last pixel of the image.
    #[error("the run {start} {length} leaves an image of {size} ({} pixels)", size.area())]
    OutOfRange {
        /// First pixel of the run.
        start: u64,
        /// Length of the run.
        length: u64,
        /// The image.
        size: Size,
    },
}

//! What can be wrong with a call.

use crate::Extent;

/// A call whose sizes do not fit together. Kernels do not fail otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// A convolution that does not exist.
    #[error("no such convolution: {problem}")]
    Shape {
        /// What is asked of its shape.
        problem: &'static str,
    },
    /// Weights of another convolution.
    #[error(
        "{n_weights} weights and {n_bias} biases do not fit a convolution with {expected_weights} and {expected_bias}"
    )]
    Weights {
        /// Weights given.
        n_weights: usize,
        /// Biases given.
        n_bias: usize,
        /// Weights that the shape has.
        expected_weights: usize,
        /// Biases that the shape has.
        expected_bias: usize,
    },
    /// Gates for another number of channels.
    #[error("{found} gates given for {expected} input channels")]
    Gates {
        /// Gates given.
        found: usize,
        /// Input channels.
        expected: usize,
    },
    /// A slice that is too long or too short.
    #[error("{found} numbers do not make feature maps of {extent} (images x rows x columns x channels)")]
    Length {
        /// Numbers given.
        found: usize,
        /// Size that they should have.
        extent: Extent,
    },
    /// Too many or too few sources.
    #[error("{found} sources given to a convolution of {expected}")]
    Sources {
        /// Sources given.
        found: usize,
        /// Sources that the convolution has.
        expected: usize,
    },
    /// A source whose size fits neither the convolution nor the other sources.
    #[error(
        "a source of {extent} (images x rows x columns x channels) does not fit: {channels} channels expected and one output size of all sources"
    )]
    Source {
        /// Its size.
        extent: Extent,
        /// Channels expected.
        channels: usize,
    },
}

//! Kinds of samples that can be written, and the Rust types that carry them.

/// What one sample of an image to be written is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SampleKind {
    /// One bit, given as `u8`: 0, and 1 for anything else.
    Bit,
    /// 8 bits, given as `u8`.
    U8,
    /// 16 bits, given as `u16`.
    U16,
    /// 32-bit floating point, given as `f32`.
    F32,
}

impl SampleKind {
    /// Bits per sample in the file.
    pub const fn bits(self) -> u16 {
        match self {
            Self::Bit => 1,
            Self::U8 => 8,
            Self::U16 => 16,
            Self::F32 => 32,
        }
    }

    /// Value of the `SampleFormat` tag: 1 unsigned, 3 floating point.
    pub(super) const fn format(self) -> u16 {
        match self {
            Self::F32 => 3,
            _ => 1,
        }
    }

    /// Bytes per sample in memory; bits take one each.
    pub(super) const fn byte_len(self) -> usize {
        match self {
            Self::Bit | Self::U8 => 1,
            Self::U16 => 2,
            Self::F32 => 4,
        }
    }
}

/// A type whose values [`PyramidWriter`](super::PyramidWriter) takes: `u8`, `u16` or `f32`.
pub trait Sample: sealed::Sealed + Copy + Default + Send + Sync + 'static {
    /// Name for error messages.
    #[doc(hidden)]
    const NAME: &'static str;

    /// Whether values of this type are samples of that kind.
    #[doc(hidden)]
    fn suits(kind: SampleKind) -> bool;

    /// Appends values in the machine's byte order.
    #[doc(hidden)]
    fn append(values: &[Self], out: &mut Vec<u8>);

    /// Whether all bits of all values are 0, which is what an absent tile reads as.
    #[doc(hidden)]
    fn are_zero(values: &[Self]) -> bool;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for u8 {}
    impl Sealed for u16 {}
    impl Sealed for f32 {}
}

/// Values that are looked at together, so that the loop over them has no branch.
const BLOCK: usize = 256;

impl Sample for u8 {
    const NAME: &'static str = "u8";

    fn suits(kind: SampleKind) -> bool {
        matches!(kind, SampleKind::Bit | SampleKind::U8)
    }

    fn append(values: &[Self], out: &mut Vec<u8>) {
        out.extend_from_slice(values);
    }

    fn are_zero(values: &[Self]) -> bool {
        values.chunks(BLOCK).all(|block| block.iter().fold(0, |any, value| any | value) == 0)
    }
}

impl Sample for u16 {
    const NAME: &'static str = "u16";

    fn suits(kind: SampleKind) -> bool {
        kind == SampleKind::U16
    }

    fn append(values: &[Self], out: &mut Vec<u8>) {
        out.extend(values.iter().flat_map(|value| value.to_ne_bytes()));
    }

    fn are_zero(values: &[Self]) -> bool {
        values.chunks(BLOCK).all(|block| block.iter().fold(0, |any, value| any | value) == 0)
    }
}

impl Sample for f32 {
    const NAME: &'static str = "f32";

    fn suits(kind: SampleKind) -> bool {
        kind == SampleKind::F32
    }

    fn append(values: &[Self], out: &mut Vec<u8>) {
        out.extend(values.iter().flat_map(|value| value.to_ne_bytes()));
    }

    fn are_zero(values: &[Self]) -> bool {
        values.chunks(BLOCK).all(|block| block.iter().fold(0, |any, value| any | value.to_bits()) == 0)
    }
}

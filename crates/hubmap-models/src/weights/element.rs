//! Types of the numbers in a file of weights.

use half::{bf16, f16};

/// Type of a tensor's elements in a file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ElementType {
    /// 64-bit floating point.
    F64,
    /// 32-bit floating point.
    F32,
    /// 16-bit floating point (IEEE 754).
    F16,
    /// The upper half of a 32-bit floating point number.
    Bf16,
    /// Signed, 64 bits.
    I64,
    /// Signed, 32 bits.
    I32,
    /// Signed, 16 bits.
    I16,
    /// Signed, 8 bits.
    I8,
    /// Unsigned, 64 bits.
    U64,
    /// Unsigned, 32 bits.
    U32,
    /// Unsigned, 16 bits.
    U16,
    /// Unsigned, 8 bits.
    U8,
    /// A byte, 0 or 1.
    Bool,
    /// One that is not read, by the name that the file's format gives it.
    Other(String),
}

impl std::fmt::Display for ElementType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::F64 => "f64",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::I64 => "i64",
            Self::I32 => "i32",
            Self::I16 => "i16",
            Self::I8 => "i8",
            Self::U64 => "u64",
            Self::U32 => "u32",
            Self::U16 => "u16",
            Self::U8 => "u8",
            Self::Bool => "bool",
            Self::Other(name) => name,
        })
    }
}

impl ElementType {
    /// Whether it is one of the floating point types that weights come in.
    pub const fn is_float(&self) -> bool {
        matches!(self, Self::F64 | Self::F32 | Self::F16 | Self::Bf16)
    }

    /// Little-endian bytes to numbers; `None` for a type that is not read.
    ///
    /// Going through f64 changes no f32, f16 or bf16; a f64 is rounded if `T` is narrower.
    pub(super) fn decode<T>(&self, bytes: &[u8], from: impl Fn(f64) -> T) -> Option<Vec<T>> {
        macro_rules! numbers {
            ($n:literal, $read:expr) => {
                bytes.as_chunks::<$n>().0.iter().map(|&b| from($read(b))).collect()
            };
        }
        Some(match self {
            Self::F64 => numbers!(8, f64::from_le_bytes),
            Self::F32 => numbers!(4, |b| f64::from(f32::from_le_bytes(b))),
            Self::F16 => numbers!(2, |b| f16::from_le_bytes(b).to_f64()),
            Self::Bf16 => numbers!(2, |b| bf16::from_le_bytes(b).to_f64()),
            Self::I64 => numbers!(8, |b| i64::from_le_bytes(b) as f64),
            Self::I32 => numbers!(4, |b| f64::from(i32::from_le_bytes(b))),
            Self::I16 => numbers!(2, |b| f64::from(i16::from_le_bytes(b))),
            Self::I8 => numbers!(1, |b| f64::from(i8::from_le_bytes(b))),
            Self::U64 => numbers!(8, |b| u64::from_le_bytes(b) as f64),
            Self::U32 => numbers!(4, |b| f64::from(u32::from_le_bytes(b))),
            Self::U16 => numbers!(2, |b| f64::from(u16::from_le_bytes(b))),
            Self::U8 | Self::Bool => numbers!(1, |b: [u8; 1]| f64::from(b[0])),
            Self::Other(_) => return None,
        })
    }
}

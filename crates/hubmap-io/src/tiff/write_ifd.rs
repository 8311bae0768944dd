//! Image file directories as bytes.

use super::coding::Coding;
use super::spec::{CLASSIC_LIMIT, Compression};
use super::tag;
use crate::Size;

/// Field types that the writer uses, with their codes.
#[derive(Clone)]
enum Field {
    Ascii(String),
    Short(Vec<u16>),
    Long(Vec<u32>),
    Rational(u32, u32),
    Long8(Vec<u64>),
}

impl Field {
    fn code(&self) -> u16 {
        match self {
            Self::Ascii(_) => 2,
            Self::Short(_) => 3,
            Self::Long(_) => 4,
            Self::Rational(..) => 5,
            Self::Long8(_) => 16,
        }
    }

    fn count(&self) -> usize {
        match self {
            Self::Ascii(text) => text.len() + 1,
            Self::Short(values) => values.len(),
            Self::Long(values) => values.len(),
            Self::Rational(..) => 1,
            Self::Long8(values) => values.len(),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Ascii(text) => text.bytes().chain([0]).collect(),
            Self::Short(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Self::Long(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Self::Rational(over, under) => [over.to_le_bytes(), under.to_le_bytes()].concat(),
            Self::Long8(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        }
    }
}

/// Where the chunks of one page are in the file.
#[derive(Debug, Default, Clone)]
pub(super) struct ChunkTable {
    /// First byte of each chunk.
    pub(super) offsets: Vec<u64>,
    /// Bytes of each chunk.
    pub(super) byte_counts: Vec<u32>,
}

/// How a page is cut into chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunks {
    /// Tiles of this side.
    Tiles(u32),
    /// Strips of so many rows.
    Strips(u32),
}

/// What the directory of one page says.
#[derive(Debug, Clone)]
pub(super) struct Page<'a> {
    pub(super) size: Size,
    /// Samples per pixel.
    pub(super) bands: u16,
    pub(super) coding: Coding,
    pub(super) chunks: Chunks,
    /// Whether each band has chunks of its own.
    pub(super) is_planar: bool,
    /// `NewSubfileType` bits.
    pub(super) subfile_type: u32,
    pub(super) description: Option<&'a str>,
    pub(super) software: Option<&'a str>,
    pub(super) microns_per_px: Option<f64>,
    /// Places of the directories that belong to this page but not to the chain.
    pub(super) sub_ifds: &'a [u64],
    pub(super) table: &'a ChunkTable,
}

/// The directory of a page, to be placed at `position`; the chain goes on at `next`, and ends if that is 0.
///
/// Values that do not fit into an entry lie after the entries. The length depends on neither place.
pub(super) fn directory(page: &Page<'_>, is_big: bool, position: u64, next: u64) -> Vec<u8> {
    let fields = fields(page, is_big);
    let (count_len, entry_len, inline_len) = if is_big { (8, 20, 8) } else { (2, 12, 4) };
    let head_len = count_len + entry_len * fields.len() + inline_len;
    let offset_bytes = |value: u64| value.to_le_bytes()[..inline_len].to_vec();

    let mut entries = Vec::with_capacity(head_len);
    let mut values = Vec::new();
    entries.extend_from_slice(&(fields.len() as u64).to_le_bytes()[..count_len]);
    for (tag, field) in &fields {
        entries.extend_from_slice(&tag.to_le_bytes());
        entries.extend_from_slice(&field.code().to_le_bytes());
        entries.extend(offset_bytes(field.count() as u64));
        let mut bytes = field.bytes();
        if bytes.len() <= inline_len {
            bytes.resize(inline_len, 0);
            entries.extend(bytes);
        } else {
            entries.extend(offset_bytes(position + (head_len + values.len()) as u64));
            values.extend(bytes);
            // Directories and values start on even bytes (TIFF 6.0, section 2), 64-bit ones on multiples of 8.
            values.resize(values.len().next_multiple_of(8), 0);
        }
    }
    entries.extend(offset_bytes(next));
    entries.extend(values);
    entries.resize(entries.len().next_multiple_of(8), 0);
    entries
}

/// Tags of one page, ascending.
fn fields(page: &Page<'_>, is_big: bool) -> Vec<(u16, Field)> {
    let Page { size, bands, coding, table, .. } = page;
    let mut fields = vec![
        (tag::NEW_SUBFILE_TYPE, Field::Long(vec![page.subfile_type])),
        (tag::IMAGE_WIDTH, Field::Long(vec![size.width])),
        (tag::IMAGE_LENGTH, Field::Long(vec![size.height])),
        (tag::BITS_PER_SAMPLE, Field::Short(vec![coding.samples.bits(); *bands as usize])),
        (tag::COMPRESSION, Field::Short(vec![compression_code(coding.compression)])),
        (tag::PHOTOMETRIC, Field::Short(vec![photometric_code(coding, *bands)])),
        (tag::SAMPLES_PER_PIXEL, Field::Short(vec![*bands])),
        (tag::PLANAR_CONFIG, Field::Short(vec![if page.is_planar { 2 } else { 1 }])),
    ];
    if let Some(text) = page.description {
        fields.push((tag::IMAGE_DESCRIPTION, Field::Ascii(text.replace('\0', " "))));
    }
    if let Some(text) = page.software {
        fields.push((tag::SOFTWARE, Field::Ascii(text.to_owned())));
    }
    if let Some(microns) = page.microns_per_px {
        let (over, under) = rational(10_000.0 / microns);
        fields.push((tag::X_RESOLUTION, Field::Rational(over, under)));
        fields.push((tag::Y_RESOLUTION, Field::Rational(over, under)));
        fields.push((tag::RESOLUTION_UNIT, Field::Short(vec![CENTIMETRE])));
    }
    let offsets = places(&table.offsets, is_big);
    let byte_counts = Field::Long(table.byte_counts.clone());
    match page.chunks {
        Chunks::Strips(rows) => fields.extend([
            (tag::STRIP_OFFSETS, offsets),
            (tag::ROWS_PER_STRIP, Field::Long(vec![rows])),
            (tag::STRIP_BYTE_COUNTS, byte_counts),
        ]),
        Chunks::Tiles(tile) => fields.extend([
            (tag::TILE_WIDTH, Field::Long(vec![tile])),
            (tag::TILE_LENGTH, Field::Long(vec![tile])),
            (tag::TILE_OFFSETS, offsets),
            (tag::TILE_BYTE_COUNTS, byte_counts),
        ]),
    }
    if coding.predictor {
        fields.push((tag::PREDICTOR, Field::Short(vec![2])));
    }
    if !page.sub_ifds.is_empty() {
        fields.push((tag::SUB_IFDS, places(page.sub_ifds, is_big)));
    }
    if coding.samples.format() != 1 {
        fields.push((tag::SAMPLE_FORMAT, Field::Short(vec![coding.samples.format(); *bands as usize])));
    }
    if coding.is_ycbcr() {
        let factor = u16::from(coding.chroma_subsampling);
        fields.push((tag::YCBCR_SUBSAMPLING, Field::Short(vec![factor, factor])));
    }
    fields.sort_by_key(|&(tag, _)| tag);
    fields
}

/// Places in the file, as wide as the file has them.
fn places(offsets: &[u64], is_big: bool) -> Field {
    if is_big {
        Field::Long8(offsets.to_vec())
    } else {
        Field::Long(offsets.iter().map(|&offset| offset as u32).collect())
    }
}

/// `ResolutionUnit` value for pixels per centimetre.
const CENTIMETRE: u16 = 3;

fn compression_code(compression: Compression) -> u16 {
    match compression {
        Compression::None => tag::codec::NONE,
        Compression::Lzw => tag::codec::LZW,
        Compression::Deflate => tag::codec::DEFLATE,
        Compression::Zstd => tag::codec::ZSTD,
        Compression::Jpeg { .. } => tag::codec::JPEG,
    }
}

fn photometric_code(coding: &Coding, bands: u16) -> u16 {
    match bands {
        3 if coding.is_ycbcr() => tag::photometric::YCBCR,
        3 => tag::photometric::RGB,
        _ => tag::photometric::BLACK_IS_ZERO,
    }
}

/// The fraction of two 32-bit numbers closest to a positive `value`, with a power of ten below the line.
fn rational(value: f64) -> (u32, u32) {
    let mut under = 1_u32;
    while under < 1_000_000_000 && value * f64::from(under) * 10.0 < CLASSIC_LIMIT as f64 {
        under *= 10;
    }
    ((value * f64::from(under)).round() as u32, under)
}

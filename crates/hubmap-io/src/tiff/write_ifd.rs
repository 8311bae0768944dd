//! Image file directories as bytes.

use super::spec::{CLASSIC_LIMIT, Compression, Layout, TiffSpec};
use super::tag;

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

/// The directory of one page, to be placed at `position`; `is_last` ends the chain, else the next follows at once.
///
/// Values that do not fit into an entry lie between the entries and the next directory.
pub(super) fn directory(
    spec: &TiffSpec,
    table: &ChunkTable,
    page_idx: usize,
    position: u64,
    is_last: bool,
) -> Vec<u8> {
    let fields = fields(spec, table, page_idx);
    let (count_len, entry_len, inline_len) = if spec.big { (8, 20, 8) } else { (2, 12, 4) };
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
    let next = if is_last { 0 } else { position + (head_len + values.len()).next_multiple_of(8) as u64 };
    entries.extend(offset_bytes(next));
    entries.extend(values);
    entries.resize(entries.len().next_multiple_of(8), 0);
    entries
}

/// Tags of one page, ascending.
fn fields(spec: &TiffSpec, table: &ChunkTable, page_idx: usize) -> Vec<(u16, Field)> {
    let is_pages = matches!(spec.layout, Layout::Pages { .. });
    let bands = if is_pages { 1 } else { u16::from(spec.bands) };
    let chunk = spec.chunk_size();
    let is_tiled = !matches!(spec.layout, Layout::Strips { .. });
    let mut fields = vec![
        (tag::NEW_SUBFILE_TYPE, Field::Long(vec![0])),
        (tag::IMAGE_WIDTH, Field::Long(vec![spec.size.width])),
        (tag::IMAGE_LENGTH, Field::Long(vec![spec.size.height])),
        (tag::BITS_PER_SAMPLE, Field::Short(vec![u16::from(spec.bits); bands as usize])),
        (tag::COMPRESSION, Field::Short(vec![compression_code(spec.compression)])),
        (tag::PHOTOMETRIC, Field::Short(vec![photometric_code(spec, bands)])),
    ];
    if let Some(text) = spec.description.as_ref().filter(|_| page_idx == 0) {
        fields.push((tag::IMAGE_DESCRIPTION, Field::Ascii(text.replace('\0', " "))));
    }
    let offsets = if spec.big {
        Field::Long8(table.offsets.clone())
    } else {
        Field::Long(table.offsets.iter().map(|&offset| offset as u32).collect())
    };
    let byte_counts = Field::Long(table.byte_counts.clone());
    if !is_tiled {
        fields.push((tag::STRIP_OFFSETS, offsets.clone()));
    }
    fields.push((tag::SAMPLES_PER_PIXEL, Field::Short(vec![bands])));
    if !is_tiled {
        fields.push((tag::ROWS_PER_STRIP, Field::Long(vec![chunk.height])));
        fields.push((tag::STRIP_BYTE_COUNTS, byte_counts.clone()));
    }
    if let Some(microns) = spec.microns_per_px {
        let (over, under) = rational(10_000.0 / microns);
        fields.push((tag::X_RESOLUTION, Field::Rational(over, under)));
        fields.push((tag::Y_RESOLUTION, Field::Rational(over, under)));
    }
    let planar = if spec.is_planar() && !is_pages { 2 } else { 1 };
    fields.push((tag::PLANAR_CONFIG, Field::Short(vec![planar])));
    if spec.microns_per_px.is_some() {
        fields.push((tag::RESOLUTION_UNIT, Field::Short(vec![CENTIMETRE])));
    }
    if spec.predictor {
        fields.push((tag::PREDICTOR, Field::Short(vec![2])));
    }
    if is_tiled {
        fields.push((tag::TILE_WIDTH, Field::Long(vec![chunk.width])));
        fields.push((tag::TILE_LENGTH, Field::Long(vec![chunk.height])));
        fields.push((tag::TILE_OFFSETS, offsets));
        fields.push((tag::TILE_BYTE_COUNTS, byte_counts));
    }
    if spec.is_ycbcr() {
        let factor = u16::from(spec.chroma_subsampling());
        fields.push((tag::YCBCR_SUBSAMPLING, Field::Short(vec![factor, factor])));
    }
    fields
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

fn photometric_code(spec: &TiffSpec, bands: u16) -> u16 {
    match bands {
        3 if spec.is_ycbcr() => tag::photometric::YCBCR,
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

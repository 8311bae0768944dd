//! JPEG chunks: streams that may share tables, decoded to the bit as libjpeg decodes them.
//!
//! Baseline, extended, progressive and lossless streams with Huffman codes, of 8 to 16 bits per sample, with any
//! sampling of their components. Damage is treated as the reference libraries treat it: blocks whose data are
//! missing are gray, and what a stream does not cover of its chunk is 0.

mod huffman;
mod idct;
mod lossless;
mod planes;
mod progressive;
mod rows;
mod sequential;
mod standard;
mod stream;

use pulp::Arch;

use super::decode::Problem;
use super::page::Page;
use super::tag::photometric;
use crate::Size;
use idct::Sample;
use planes::Plane;
use progressive::{Finish, Progress};
use rows::{Color, Output, RowBuffers, Rows, Spread};
use sequential::Sequential;
use stream::{Frame, Scan, State, marker};

/// Scans of one stream beyond which it is taken for an attack; libtiff has the same limit.
const MAX_SCANS: usize = 100;

/// How much larger than its chunk a stream may be, since it is decoded as a whole.
const MAX_EXCESS: usize = 4;

/// Units that a stream may have; whole ones have at most 8 per byte, and broken ones need not be read to the last.
const MAX_UNITS_PER_BYTE: usize = 64;

/// Units that any stream may have.
const MIN_UNITS: usize = 1 << 14;

const START_OF_IMAGE: [u8; 2] = [0xFF, marker::START_OF_IMAGE];

/// Buffers that are reused from chunk to chunk, and the tables that chunks of one page share.
pub(super) struct JpegDecoder {
    arch: Arch,
    /// Entropy-coded bytes without their stuffing.
    clean: Vec<u8>,
    tables: Vec<u8>,
    shared: Shared,
    bytes: Picture<u8>,
    words: Picture<u16>,
}

/// What the tables of a page define.
#[derive(Clone, Default)]
struct Shared {
    state: State,
    /// The scan of which chunks have nothing but the data, in some pages of old JPEG.
    scan: Option<Scan>,
}

/// The components of a stream and the buffers for its rows.
#[derive(Default)]
struct Picture<S> {
    planes: Vec<Plane<S>>,
    rows: RowBuffers<S>,
}

impl JpegDecoder {
    pub(super) fn new() -> Self {
        Self {
            arch: Arch::new(),
            clean: Vec::new(),
            tables: Vec::new(),
            shared: Shared::default(),
            bytes: Picture::default(),
            words: Picture::default(),
        }
    }

    /// Decodes the stream of a chunk; `out` takes its first rows, as the page packs them.
    pub(super) fn decode(&mut self, page: &Page, stream: &[u8], out: &mut [u8]) -> Result<(), Problem> {
        if self.tables != page.jpeg_tables {
            self.shared = Shared::default();
            self.tables.clear();
            self.shared.scan = self.shared.state.next_scan(&page.jpeg_tables, &mut 0)?;
            self.tables.clone_from(&page.jpeg_tables);
        }
        let Shared { mut state, scan } = self.shared.clone();
        let mut at = 0;
        let is_whole = stream.starts_with(&START_OF_IMAGE);
        let scan = match scan.filter(|_| !is_whole) {
            Some(scan) => scan,
            None if !is_whole => return Err("not a JPEG stream".into()),
            None => {
                state.start_image();
                state.next_scan(stream, &mut at)?.ok_or("JPEG stream without a scan")?
            }
        };
        let frame = state.frame.clone().ok_or("JPEG stream without a frame header")?;
        check(page, &frame)?;
        let job = Job { page, stream, frame, arch: self.arch };
        if job.frame.precision <= 8 {
            job.run(state, scan, at, &mut self.clean, &mut self.bytes, out)
        } else {
            job.run(state, scan, at, &mut self.clean, &mut self.words, out)
        }
    }
}

/// Size and number of components of a stream, of which the headers are enough.
pub(super) fn size_of(stream: &[u8]) -> Option<(Size, usize)> {
    let mut state = State::default();
    stream.strip_prefix(&START_OF_IMAGE)?;
    state.next_scan(stream, &mut 0).ok()?;
    let frame = state.frame?;
    Some((Size::new(frame.width as u32, frame.height as u32), frame.components.len()))
}

/// Refuses streams that are not of the page's kind.
fn check(page: &Page, frame: &Frame) -> Result<(), Problem> {
    let Frame { process, precision, width, height, .. } = *frame;
    let n_components = frame.components.len();
    let is_supported = match process {
        marker::BASELINE | marker::EXTENDED | marker::PROGRESSIVE => matches!(precision, 8 | 12),
        marker::LOSSLESS => (2..=16).contains(&precision),
        _ => false,
    };
    if !is_supported {
        let process = process - marker::BASELINE;
        return Err(Problem::Unsupported(format!("JPEG process SOF{process} with {precision} bits")));
    }
    let is_lossless = process == marker::LOSSLESS;
    let (columns, bands) = (page.chunk.width as usize, page.bands_per_chunk());
    // Some cameras' rows are two or four columns wide to the codec.
    let is_folded = is_lossless && width * n_components == columns * bands;
    if n_components != bands && !is_folded {
        return Err(format!("JPEG stream of {n_components} components, expected {bands}").into());
    }
    let is_narrower = is_lossless && precision as usize <= page.bits;
    if precision as usize != page.bits && !is_narrower {
        return Err(format!("JPEG stream of {precision} bits, expected {}", page.bits).into());
    }
    // A stream that is far larger than its chunk is how a small file asks for a huge buffer.
    let chunk_area = columns.max(64) * page.chunk.height.max(64) as usize;
    if width * height / MAX_EXCESS > chunk_area && page.is_tiled {
        return Err(format!("JPEG stream of {width}x{height} in a chunk of {}", page.chunk).into());
    }
    if width / MAX_EXCESS > columns.max(64) {
        return Err(format!("JPEG stream {width} wide in a chunk of {}", page.chunk).into());
    }
    Ok(())
}

/// What is made of the components, as libjpeg and tifffile decide it.
fn color_of(page: &Page, state: &State, frame: &Frame) -> Color {
    let ids: Vec<u8> = frame.components.iter().map(|component| component.id).collect();
    let is_rgb = match state.adobe_transform {
        _ if state.has_jfif => false,
        Some(transform) => transform == 0,
        None => ids == *b"RGB",
    };
    match (u16::try_from(page.photometric), frame.components.len()) {
        _ if page.has_blocky_chroma || frame.process == marker::LOSSLESS => Color::Keep,
        (Ok(photometric::YCBCR), 3) if !is_rgb => Color::Rgb,
        // JFIF knows no other colours; Aperio's RGB slides have no such marker, whatever their components' names.
        (Ok(photometric::RGB), 3) if state.has_jfif => Color::Rgb,
        (Ok(photometric::CMYK), 4) if state.adobe_transform == Some(2) => Color::Ink,
        _ => Color::Keep,
    }
}

/// One stream that is to be decoded.
struct Job<'a> {
    page: &'a Page,
    stream: &'a [u8],
    frame: Frame,
    arch: Arch,
}

impl Job<'_> {
    fn run<S: Sample>(
        &self,
        mut state: State,
        mut scan: Scan,
        mut at: usize,
        clean: &mut Vec<u8>,
        picture: &mut Picture<S>,
        out: &mut [u8],
    ) -> Result<(), Problem> {
        let Self { page, stream, ref frame, arch } = *self;
        let row_len = page.row_len();
        let spreads = frame
            .components
            .iter()
            .map(|component| Spread::of(frame, component, !page.has_blocky_chroma))
            .collect::<Result<Vec<_>, _>>()?;
        let margin = if spreads.iter().any(|spread| spread.needs_next_row()) { frame.max_v } else { 0 };
        let n_rows = (out.len() / row_len + margin).min(frame.height);
        let block = if frame.process == marker::LOSSLESS { 1 } else { 8 };
        let n_units = frame.width.div_ceil(block * frame.max_h) * n_rows.div_ceil(block * frame.max_v);
        if n_units > MAX_UNITS_PER_BYTE * stream.len() + MIN_UNITS {
            return Err(format!("JPEG stream of {} bytes for {n_units} units", stream.len()).into());
        }
        let Picture { planes, rows } = picture;
        planes.resize_with(frame.components.len(), Plane::default);
        for (plane, component) in planes.iter_mut().zip(&frame.components) {
            plane.reset(frame, component, n_rows.div_ceil(block * frame.max_v), block);
        }

        let mut progress = (frame.process == marker::PROGRESSIVE).then(|| Progress::new(planes));
        for n_scans in 1.. {
            at = match (&mut progress, frame.process) {
                (Some(progress), _) => progress.decode(&state, &scan, stream, at, clean, planes)?,
                (None, marker::LOSSLESS) => lossless::decode(&state, &scan, stream, at, clean, planes)?,
                _ => {
                    let (state, scan) = (&state, &scan);
                    arch.dispatch(Sequential { state, scan, stream, at, clean, planes })?
                }
            };
            if progress.is_none() && planes.iter().all(|plane| plane.is_decoded) {
                break;
            }
            if n_scans == MAX_SCANS {
                return Err(format!("JPEG: more than {MAX_SCANS} scans").into());
            }
            match state.next_scan(stream, &mut at)? {
                Some(next) => scan = next,
                None => break,
            }
        }
        if let Some(progress) = &progress {
            arch.dispatch(Finish { progress, state: &state, frame, planes })?;
        }
        for plane in planes.iter_mut().filter(|plane| !plane.is_decoded) {
            plane.samples.fill(S::from_level(0));
        }
        let color = color_of(page, &state, frame);
        let output = Output { bytes: out, row_len, bits: page.bits, big_endian: page.encoding.big_endian };
        let (spreads, buffers) = (spreads.as_slice(), rows);
        arch.dispatch(Rows { planes, spreads, frame, color, buffers, output });
        Ok(())
    }
}

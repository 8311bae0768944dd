//! The markers of a JPEG stream (ITU-T T.81, annex B).

use std::rc::Rc;

use super::super::decode::Problem;
use super::huffman::Huffman;

/// Marker codes, the byte after 0xFF.
pub(super) mod marker {
    pub(in crate::tiff::jpeg) const BASELINE: u8 = 0xC0;
    pub(in crate::tiff::jpeg) const EXTENDED: u8 = 0xC1;
    pub(in crate::tiff::jpeg) const PROGRESSIVE: u8 = 0xC2;
    pub(in crate::tiff::jpeg) const LOSSLESS: u8 = 0xC3;
    pub(in crate::tiff::jpeg) const HUFFMAN_TABLES: u8 = 0xC4;
    pub(in crate::tiff::jpeg) const JPEG_EXTENSION: u8 = 0xC8;
    pub(in crate::tiff::jpeg) const ARITHMETIC_TABLES: u8 = 0xCC;
    pub(in crate::tiff::jpeg) const FIRST_RESTART: u8 = 0xD0;
    pub(in crate::tiff::jpeg) const LAST_RESTART: u8 = 0xD7;
    pub(in crate::tiff::jpeg) const START_OF_IMAGE: u8 = 0xD8;
    pub(in crate::tiff::jpeg) const END_OF_IMAGE: u8 = 0xD9;
    pub(in crate::tiff::jpeg) const START_OF_SCAN: u8 = 0xDA;
    pub(in crate::tiff::jpeg) const QUANTISERS: u8 = 0xDB;
    pub(in crate::tiff::jpeg) const RESTART_INTERVAL: u8 = 0xDD;
    pub(in crate::tiff::jpeg) const JFIF: u8 = 0xE0;
    pub(in crate::tiff::jpeg) const ADOBE: u8 = 0xEE;
}

/// One component of a frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Component {
    pub(super) id: u8,
    /// Blocks per unit of the frame, across and down.
    pub(super) h: usize,
    pub(super) v: usize,
    quantiser: usize,
}

/// What the frame header says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Frame {
    /// Marker code, which states the coding process.
    pub(super) process: u8,
    /// Bits per sample.
    pub(super) precision: u32,
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) components: Vec<Component>,
    /// Most blocks per unit of any component.
    pub(super) max_h: usize,
    pub(super) max_v: usize,
}

impl Frame {
    fn parse(process: u8, body: &[u8]) -> Result<Self, Problem> {
        let truncated = || Problem::from("JPEG: truncated frame header");
        let (&[precision, h1, h0, w1, w0, n], rest) = body.split_first_chunk::<6>().ok_or_else(truncated)?;
        let mut components = Vec::with_capacity(usize::from(n));
        for &[id, sampling, quantiser] in rest.as_chunks::<3>().0.iter().take(usize::from(n)) {
            let (h, v) = (usize::from(sampling >> 4), usize::from(sampling & 15));
            if !(1..=4).contains(&h) || !(1..=4).contains(&v) || quantiser > 3 {
                return Err(format!("JPEG: component {id} has sampling {h}x{v}, table {quantiser}").into());
            }
            components.push(Component { id, h, v, quantiser: usize::from(quantiser) });
        }
        if components.len() != usize::from(n) || n == 0 || n > 4 {
            return Err(format!("JPEG: frame header of {n} components").into());
        }
        let most = |of: fn(&Component) -> usize| components.iter().map(of).max().unwrap_or(1);
        let (max_h, max_v) = (most(|c| c.h), most(|c| c.v));
        let number = |high, low| usize::from(u16::from_be_bytes([high, low]));
        let (height, width) = (number(h1, h0), number(w1, w0));
        if width == 0 || height == 0 {
            return Err(format!("JPEG: frame of {width}x{height}").into());
        }
        Ok(Self { process, precision: u32::from(precision), width, height, components, max_h, max_v })
    }

    /// Columns of a component, its last block not filled up.
    pub(super) fn columns(&self, component: &Component) -> usize {
        (self.width * component.h).div_ceil(self.max_h)
    }

    /// Rows of a component.
    pub(super) fn rows(&self, component: &Component) -> usize {
        (self.height * component.v).div_ceil(self.max_v)
    }
}

/// One component of a scan.
#[derive(Debug, Clone, Copy)]
pub(super) struct ScanPart {
    /// Index in the frame.
    pub(super) component: usize,
    pub(super) dc: usize,
    pub(super) ac: usize,
}

/// What a scan header says.
#[derive(Debug, Clone)]
pub(super) struct Scan {
    pub(super) parts: Vec<ScanPart>,
    /// First and last coefficient; the first is the predictor of lossless scans.
    pub(super) first: usize,
    pub(super) last: usize,
    /// Bits that earlier scans have given, and that later ones will give.
    pub(super) high: u32,
    pub(super) low: u32,
}

impl Scan {
    fn parse(body: &[u8], frame: &Frame) -> Result<Self, Problem> {
        let truncated = || Problem::from("JPEG: truncated scan header");
        let (&n, rest) = body.split_first().ok_or_else(truncated)?;
        let (parts, rest) = rest.split_at_checked(2 * usize::from(n)).ok_or_else(truncated)?;
        let &[first, last, bits] = rest.first_chunk::<3>().ok_or_else(truncated)?;
        let part = |&[id, tables]: &[u8; 2]| {
            let component = frame.components.iter().position(|component| component.id == id);
            component.map(|component| ScanPart {
                component,
                dc: usize::from(tables >> 4) & 3,
                ac: usize::from(tables & 3),
            })
        };
        let parts: Option<Vec<_>> = parts.as_chunks::<2>().0.iter().map(part).collect();
        let parts = parts.ok_or("JPEG: scan of a component that is not in the frame")?;
        let is_repeated =
            (1..parts.len()).any(|i| parts[..i].iter().any(|p| p.component == parts[i].component));
        if parts.is_empty() || is_repeated {
            return Err(format!("JPEG: scan of {n} components").into());
        }
        let (high, low) = (u32::from(bits >> 4), u32::from(bits & 15));
        Ok(Self { parts, first: usize::from(first), last: usize::from(last), high, low })
    }
}

/// What a stream has stated so far.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub(super) frame: Option<Frame>,
    quantisers: [Option<[i32; 64]>; 4],
    pub(super) dc: [Option<Rc<Huffman>>; 4],
    pub(super) ac: [Option<Rc<Huffman>>; 4],
    /// Units between restart markers, or 0.
    pub(super) restart_interval: usize,
    pub(super) has_jfif: bool,
    /// The colour transform of Adobe's marker.
    pub(super) adobe_transform: Option<u8>,
}

impl State {
    /// Forgets all but the tables.
    pub(super) fn start_image(&mut self) {
        self.frame = None;
        self.restart_interval = 0;
        (self.has_jfif, self.adobe_transform) = (false, None);
    }

    /// Reads markers up to the next scan, which starts at the new `at`; `None` where the stream ends before.
    pub(super) fn next_scan(&mut self, stream: &[u8], at: &mut usize) -> Result<Option<Scan>, Problem> {
        while let Some((code, body)) = next_segment(stream, at) {
            match code {
                marker::START_OF_SCAN => {
                    let frame = self.frame.as_ref().ok_or("JPEG: scan without a frame header")?;
                    return Scan::parse(body, frame).map(Some);
                }
                marker::END_OF_IMAGE => return Ok(None),
                marker::QUANTISERS => self.read_quantisers(body)?,
                marker::HUFFMAN_TABLES => self.read_codes(body)?,
                marker::RESTART_INTERVAL => {
                    let interval = body.first_chunk().map_or(0, |&bytes| u16::from_be_bytes(bytes));
                    self.restart_interval = usize::from(interval);
                }
                marker::JPEG_EXTENSION | marker::ARITHMETIC_TABLES => {}
                0xC0..=0xCF => {
                    if self.frame.is_some() {
                        return Err("JPEG: second frame header".into());
                    }
                    self.frame = Some(Frame::parse(code, body)?);
                }
                marker::JFIF => self.has_jfif |= body.starts_with(b"JFIF\0"),
                marker::ADOBE if body.starts_with(b"Adobe") => self.adobe_transform = body.get(11).copied(),
                _ => {}
            }
        }
        Ok(None)
    }

    fn read_quantisers(&mut self, mut body: &[u8]) -> Result<(), Problem> {
        while let Some((&head, rest)) = body.split_first() {
            let (len, is_wide) = if head >> 4 == 0 { (64, false) } else { (128, true) };
            let truncated = || Problem::from("JPEG: truncated quantisers");
            let (values, rest) = rest.split_at_checked(len).ok_or_else(truncated)?;
            let table = self.quantisers.get_mut(usize::from(head & 15)).ok_or("JPEG: quantisers beyond 3")?;
            let value = |i: usize| {
                if is_wide {
                    i32::from(u16::from_be_bytes([values[2 * i], values[2 * i + 1]]))
                } else {
                    i32::from(values[i])
                }
            };
            *table = Some(std::array::from_fn(value));
            body = rest;
        }
        Ok(())
    }

    fn read_codes(&mut self, mut body: &[u8]) -> Result<(), Problem> {
        while let Some((&head, rest)) = body.split_first() {
            let truncated = || Problem::from("JPEG: truncated Huffman table");
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or_else(truncated)?;
            let n_codes = counts.iter().map(|&count| usize::from(count)).sum();
            let (symbols, rest) = rest.split_at_checked(n_codes).ok_or_else(truncated)?;
            let class = if head >> 4 == 0 { &mut self.dc } else { &mut self.ac };
            let table = class.get_mut(usize::from(head & 15)).ok_or("JPEG: Huffman table beyond 3")?;
            *table = Some(Rc::new(Huffman::new(counts, symbols)?));
            body = rest;
        }
        Ok(())
    }

    /// The quantisers of a component, in coded order.
    pub(super) fn quantiser(&self, component: &Component) -> Result<&[i32; 64], Problem> {
        let table = self.quantisers.get(component.quantiser).and_then(Option::as_ref);
        table.ok_or_else(|| format!("JPEG: no quantisers {}", component.quantiser).into())
    }
}

/// The code and body of the segment at or after `at`, which moves behind it.
fn next_segment<'a>(stream: &'a [u8], at: &mut usize) -> Option<(u8, &'a [u8])> {
    loop {
        // Garbage and fill bytes before a marker are skipped, as in libjpeg.
        *at += memchr::memchr(0xFF, stream.get(*at..)?)?;
        *at += stream.get(*at..)?.iter().position(|&byte| byte != 0xFF)?;
        let code = *stream.get(*at)?;
        *at += 1;
        match code {
            0x00 | 0x01 | marker::FIRST_RESTART..=marker::START_OF_IMAGE => {}
            marker::END_OF_IMAGE => return Some((code, &[])),
            _ => {
                let rest = stream.get(*at..)?;
                let len = usize::from(u16::from_be_bytes(*rest.first_chunk()?)).max(2);
                let body = rest.get(2..len)?;
                *at += len;
                return Some((code, body));
            }
        }
    }
}

/// Entropy-coded bytes between two markers.
pub(super) struct Intervals<'a> {
    stream: &'a [u8],
    /// Where the next interval starts.
    pub(super) at: usize,
    is_done: bool,
}

impl<'a> Intervals<'a> {
    pub(super) const fn new(stream: &'a [u8], at: usize) -> Self {
        Self { stream, at, is_done: false }
    }

    /// Fills `clean` with the bytes up to the next marker, and goes behind it if it is a restart.
    pub(super) fn next(&mut self, clean: &mut Vec<u8>) {
        clean.clear();
        if std::mem::replace(&mut self.is_done, true) {
            return;
        }
        let mut rest = self.stream.get(self.at..).unwrap_or_default();
        while let Some(n) = memchr::memchr(0xFF, rest) {
            let n_fill = rest[n..].iter().take_while(|&&byte| byte == 0xFF).count();
            let Some(&code) = rest.get(n + n_fill) else { break };
            clean.extend_from_slice(&rest[..n]);
            if code == 0 {
                clean.push(0xFF);
                rest = &rest[n + n_fill + 1..];
                continue;
            }
            let is_restart = (marker::FIRST_RESTART..=marker::LAST_RESTART).contains(&code);
            self.is_done = !is_restart;
            self.at = self.stream.len() - rest.len() + n + if is_restart { n_fill + 1 } else { 0 };
            return;
        }
        clean.extend_from_slice(rest);
        self.at = self.stream.len();
    }
}

#[cfg(test)]
mod tests {
    use super::{Intervals, State};

    #[test]
    fn intervals_end_at_markers_and_lose_their_stuffing() {
        let stream = [9, 1, 0xFF, 0, 2, 0xFF, 0xD0, 3, 0xFF, 0xFF, 0xD9, 4];
        let mut intervals = Intervals::new(&stream, 1);
        let mut clean = Vec::new();
        let mut seen = Vec::new();
        for _ in 0..3 {
            intervals.next(&mut clean);
            seen.push(clean.clone());
        }
        assert_eq!(seen, [vec![1, 0xFF, 2], vec![3], vec![]]);
        assert_eq!(intervals.at, 8);
    }

    #[test]
    fn reads_headers() {
        let stream = [
            0xFF, 0xD8, 0xFF, 0xDD, 0, 4, 0, 7, 0xFF, 0xC0, 0, 11, 8, 0, 5, 0, 9, 1, 3, 0x21, 0, 0xFF, 0xDA,
            0, 8, 1, 3, 0x10, 0, 63, 0, 0xAB,
        ];
        let (mut state, mut at) = (State::default(), 0);
        let scan = state.next_scan(&stream, &mut at).unwrap_or_else(|_| panic!("damaged")).unwrap();
        let frame = state.frame.unwrap();
        assert_eq!((frame.width, frame.height, frame.max_h, frame.max_v), (9, 5, 2, 1));
        assert_eq!((state.restart_interval, scan.parts[0].dc, scan.last, at), (7, 1, 63, 31));
    }
}

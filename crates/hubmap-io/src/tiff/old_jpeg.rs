//! Old JPEG (compression 6 of TIFF 6.0): streams whose tables, headers and data lie apart in the file.
//!
//! The ways that libtiff's `tif_ojpeg.c` reads: whole streams as chunks, one stream that holds the data of all
//! chunks, a stream of headers beside the data, and tables under tags of their own beside the data.

use super::ifd::Directory;
use super::jpeg;
use super::page::Page;
use super::source::Source;
use super::tag::{self, photometric};
use crate::{Result, Size};

/// Baseline coding; 14 is lossless coding, of which no files are known.
const BASELINE: u64 = 1;

const START_OF_IMAGE: [u8; 2] = [0xFF, 0xD8];

/// Longest stream of headers that is read beside the data.
const MAX_HEADER_LEN: u64 = 1 << 16;

/// Size and components of the thumbnail that an Exif page consists of: a JPEG stream and none of the usual tags.
pub(super) fn thumbnail(source: &Source, directory: &Directory) -> Option<(Size, usize)> {
    if directory.has(tag::COMPRESSION) || directory.has(tag::IMAGE_WIDTH) {
        return None;
    }
    let start = directory.number(source, tag::JPEG_INTERCHANGE_FORMAT).ok()??;
    let mut head = vec![0; MAX_HEADER_LEN.min(source.len().checked_sub(start)?) as usize];
    source.read_at(start, &mut head, String::new).ok()?;
    jpeg::size_of(&head)
}

/// The only chunk of such a page.
pub(super) fn thumbnail_chunk(source: &Source, directory: &Directory) -> Result<Option<(u64, u64)>> {
    let start = directory.number(source, tag::JPEG_INTERCHANGE_FORMAT)?;
    let length = directory.number(source, tag::JPEG_INTERCHANGE_FORMAT_LENGTH)?;
    Ok(start.zip(length))
}

/// Points the chunks of `page` to their data and gives it the headers that these lack.
pub(super) fn assemble(page: &mut Page, source: &Source, directory: &Directory) -> Result<()> {
    let process = directory.number(source, tag::JPEG_PROC)?.unwrap_or(BASELINE);
    if process != BASELINE {
        return Err(source.unsupported(format!("JPEGProc (tag 512) = {process}, page {}", page.name)));
    }
    let (Some(&first), Some(&count)) = (page.offsets.first(), page.byte_counts.first()) else {
        return Ok(());
    };
    let starts_stream = |offset: u64| {
        let mut head = [0; 2];
        source.read_at(offset, &mut head, || page.chunk_name(0)).is_ok() && head == START_OF_IMAGE
    };
    let is_single = page.offsets.len() == 1;
    let are_streams = page.offsets.iter().all(|&offset| starts_stream(offset));
    if are_streams && !is_single {
        return Ok(());
    }
    let start = directory.number(source, tag::JPEG_INTERCHANGE_FORMAT)?.filter(|&start| starts_stream(start));
    let Some(start) = start else {
        if !are_streams {
            page.jpeg_tables = headers(page, source, directory)?;
            page.has_blocky_chroma = true;
        }
        return Ok(());
    };
    let stated = directory.number(source, tag::JPEG_INTERCHANGE_FORMAT_LENGTH)?.filter(|&length| length > 0);
    let last = page.offsets.iter().zip(&page.byte_counts).map(|(&at, &n)| at.saturating_add(n)).max();
    let last = last.unwrap_or_else(|| first.saturating_add(count));
    let end = stated.map_or(last, |length| start.saturating_add(length));
    page.has_blocky_chroma = !are_streams;
    if page.offsets.iter().all(|offset| (start..end).contains(offset)) {
        page.chunk = page.size;
        (page.across, page.down, page.is_tiled) = (1, 1, false);
        (page.offsets, page.byte_counts) = (vec![start], vec![end.min(source.len()).saturating_sub(start)]);
    } else if !are_streams {
        let len = stated.unwrap_or(MAX_HEADER_LEN).min(MAX_HEADER_LEN).min(source.len() - start);
        page.jpeg_tables = vec![0; len as usize];
        source.read_at(start, &mut page.jpeg_tables, || "JPEGInterchangeFormat (tag 513)".to_owned())?;
    }
    Ok(())
}

/// The headers of a stream of one chunk, with the tables that the tags point to.
fn headers(page: &Page, source: &Source, directory: &Directory) -> Result<Vec<u8>> {
    let n = page.bands_per_chunk();
    if n > 4 {
        return Err(source.unsupported(format!("old JPEG with {n} samples, page {}", page.name)));
    }
    let mut stream = START_OF_IMAGE.to_vec();
    let segment = |stream: &mut Vec<u8>, code: u8, body: &[u8]| {
        stream.extend([0xFF, code]);
        stream.extend((body.len() as u16 + 2).to_be_bytes());
        stream.extend_from_slice(body);
    };
    for (i, offset) in tables(page, source, directory, tag::JPEG_Q_TABLES, n)?.into_iter().enumerate() {
        let mut body = [i as u8; 65];
        source.read_at(offset, &mut body[1..], || "JPEGQTables (tag 519)".to_owned())?;
        segment(&mut stream, 0xDB, &body);
    }
    for (class, tag) in [(0, tag::JPEG_DC_TABLES), (1, tag::JPEG_AC_TABLES)] {
        for (i, offset) in tables(page, source, directory, tag, n)?.into_iter().enumerate() {
            let what = || format!("Huffman table under tag {tag}");
            let mut counts = [0; 16];
            source.read_at(offset, &mut counts, what)?;
            let n_codes = counts.iter().map(|&count| usize::from(count)).sum::<usize>().min(256);
            let mut body = vec![0; 17 + n_codes];
            body[0] = class << 4 | i as u8;
            source.read_at(offset, &mut body[1..], what)?;
            segment(&mut stream, 0xC4, &body);
        }
    }
    if let Some(interval) = directory.number(source, tag::JPEG_RESTART_INTERVAL)?.filter(|&n| n > 0) {
        segment(&mut stream, 0xDD, &(interval as u16).to_be_bytes());
    }
    let [h, v] = match directory.numbers(source, tag::YCBCR_SUBSAMPLING)?.as_deref() {
        _ if n == 1 || page.photometric != u32::from(photometric::YCBCR) => [1, 1],
        Some(&[h @ (1 | 2 | 4), v @ (1 | 2 | 4)]) => [h as u8, v as u8],
        _ => [2, 2],
    };
    let dimension = |pixels: u32| u16::try_from(pixels).unwrap_or(u16::MAX).to_be_bytes();
    let (mut frame, mut scan) = (vec![8], vec![n as u8]);
    frame.extend(dimension(page.chunk.height));
    frame.extend(dimension(page.chunk.width));
    frame.push(n as u8);
    for i in 0..n as u8 {
        frame.extend([i + 1, if i == 0 { h << 4 | v } else { 0x11 }, i]);
        scan.extend([i + 1, i << 4 | i]);
    }
    scan.extend([0, 63, 0]);
    segment(&mut stream, 0xC0, &frame);
    segment(&mut stream, 0xDA, &scan);
    Ok(stream)
}

/// Where the tables of `n` components are.
fn tables(page: &Page, source: &Source, directory: &Directory, tag: u16, n: usize) -> Result<Vec<u64>> {
    let offsets = directory.numbers(source, tag)?.unwrap_or_default();
    if offsets.len() < n {
        return Err(source.format(format!(
            "page {} is old JPEG with {} tables under tag {tag}, expected {n}",
            page.name,
            offsets.len()
        )));
    }
    Ok(offsets.into_iter().take(n).collect())
}

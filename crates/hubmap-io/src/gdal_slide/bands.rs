//! What the bands, pages and overviews of GDAL's datasets are to a slide.

use std::path::{Path, PathBuf};

use gdal::raster::{ColorInterpretation, ColorTable, GdalDataType, RasterBand};
use gdal::{Dataset, Metadata as _};

use super::handles::{message, open_dataset};
use crate::{Error, Level, Result, SampleKind, Size};

/// Where a band of the slide comes from.
#[derive(Debug)]
pub(super) struct Band {
    /// Index among the datasets of a handle.
    pub(super) dataset_idx: usize,
    /// GDAL's number of the band, from 1.
    pub(super) number: usize,
    /// The pixel of every sample, where they differ.
    pub(super) table: Option<Box<[u8; 256]>>,
}

fn raster_band<'a>(path: &Path, dataset: &'a Dataset, number: usize) -> Result<RasterBand<'a>> {
    dataset.rasterband(number).map_err(|e| Error::format(path, message(e)))
}

/// Type and bits of the samples of a band.
fn sample_bits(band: &RasterBand<'_>) -> (GdalDataType, u32) {
    let bits = band.metadata_item("NBITS", "IMAGE_STRUCTURE").and_then(|bits| bits.parse().ok());
    (band.band_type(), bits.unwrap_or_else(|| band.band_type().bits().into()))
}

/// The bands that are shown of a dataset; refuses those that are not pixels of 8 or 16 bits.
pub(super) fn bands_of(path: &Path, dataset: &Dataset) -> Result<(SampleKind, Vec<Band>)> {
    let n_stored = dataset.raster_count();
    let unsupported = |what: String| {
        Err(Error::unsupported(path, format!("{what}, GDAL driver {}", dataset.driver().short_name())))
    };
    if n_stored == 0 {
        let names = subdatasets(dataset);
        return unsupported(format!("file without an image of its own; open one of {names:?}"));
    }
    let first = raster_band(path, dataset, 1)?;
    let (data_type, bits) = sample_bits(&first);
    let is_signed = first.metadata_item("PIXELTYPE", "IMAGE_STRUCTURE").is_some_and(|t| t == "SIGNEDBYTE");
    let sample_kind = match data_type {
        GdalDataType::UInt8 if !is_signed => SampleKind::U8,
        GdalDataType::UInt16 => SampleKind::U16,
        _ if is_signed => return unsupported("samples of type Int8".to_owned()),
        other => return unsupported(format!("samples of type {}", other.name())),
    };
    let color = first.color_interpretation();
    let is_rgb = color == ColorInterpretation::RedBand;
    let palette = first.color_table().filter(|palette| !is_black_and_white(palette));
    let is_inverted = dataset.metadata_item("MINISWHITE", "IMAGE_STRUCTURE").is_some_and(|v| v == "YES");
    if matches!(
        color,
        ColorInterpretation::CyanBand | ColorInterpretation::YCbCrSpaceYBand | ColorInterpretation::HueBand
    ) {
        return unsupported(format!("colour space whose first band is {}", color.name()));
    }

    let plain = |number| Band { dataset_idx: 0, number, table: None };
    let gray = |table| vec![Band { table, ..plain(1) }];
    let bands: Vec<Band> = match (sample_kind, n_stored) {
        (SampleKind::U16, _) if is_inverted || palette.is_some() => {
            return unsupported("palette or inverted gray of 16 bits".to_owned());
        }
        // What follows red, green and blue is alpha.
        (SampleKind::U16, _) => (1..=if is_rgb { n_stored.min(3) } else { n_stored }).map(plain).collect(),
        (SampleKind::U8, 1 | 2) if is_inverted => gray(Some(gray_table(bits, true))),
        (SampleKind::U8, 1 | 2) if let Some(palette) = &palette => {
            let mut tables = [[0; 256]; 3];
            for idx in 0..palette.entry_count().min(256) {
                let Some(entry) = palette.entry_as_rgb(idx) else { continue };
                for (table, value) in tables.iter_mut().zip([entry.r, entry.g, entry.b]) {
                    table[idx] = value.clamp(0, 255) as u8;
                }
            }
            tables.into_iter().map(|table| Band { table: Some(Box::new(table)), ..plain(1) }).collect()
        }
        (SampleKind::U8, 1 | 2) if matches!(bits, 1 | 8) => gray(None),
        (SampleKind::U8, 1 | 2) => gray(Some(gray_table(bits, false))),
        (SampleKind::U8, _) if bits == 8 => (1..=3).map(plain).collect(),
        _ => return unsupported(format!("{n_stored} bands of {bits} bits")),
    };
    for band in &bands {
        if sample_bits(&raster_band(path, dataset, band.number)?) != (data_type, bits) {
            return unsupported("bands of different types".to_owned());
        }
    }
    Ok((sample_kind, bands))
}

/// Whether a palette is the one that GDAL makes up for masks of 1 bit.
fn is_black_and_white(palette: &ColorTable<'_>) -> bool {
    let entry = |idx| palette.entry_as_rgb(idx).map(|color| [color.r, color.g, color.b]);
    palette.entry_count() == 2 && (entry(0), entry(1)) == (Some([0; 3]), Some([255; 3]))
}

/// Gray of fewer than 8 bits spread over 0 to 255, and 1 bit as 0 and 1.
fn gray_table(bits: u32, is_inverted: bool) -> Box<[u8; 256]> {
    let most = (1_u16 << bits.clamp(1, 8)) - 1;
    let scale = if most == 1 { 1 } else { 255 / most };
    Box::new(std::array::from_fn(|sample| {
        let sample = (sample as u16).min(most);
        (if is_inverted { most - sample } else { sample } * scale) as u8
    }))
}

/// Names of the images in a file of several, as GDAL opens them.
fn subdatasets(dataset: &Dataset) -> Vec<PathBuf> {
    let items = dataset.metadata_domain("SUBDATASETS").unwrap_or_default();
    let names = items.iter().filter_map(|item| item.split_once('='));
    names.filter(|(key, _)| key.ends_with("_NAME")).map(|(_, name)| PathBuf::from(name)).collect()
}

/// The single-band pages that are R, G and B of one slide, if the first page of the file is such a band.
pub(super) fn three_pages(path: &Path, file: &Dataset) -> Result<Option<Vec<(PathBuf, Dataset)>>> {
    let is_band = |dataset: &Dataset| {
        let band = dataset.rasterband(1).ok().filter(|_| dataset.raster_count() == 1);
        let is_gray = |band: &RasterBand<'_>| {
            // Where white is 0, GDAL offers a palette as well.
            band.color_table().is_none() || dataset.metadata_item("MINISWHITE", "IMAGE_STRUCTURE").is_some()
        };
        band.is_some_and(|band| sample_bits(&band) == (GdalDataType::UInt8, 8) && is_gray(&band))
    };
    if file.driver().short_name() != "GTiff" || !is_band(file) {
        return Ok(None);
    }
    let mut pages = Vec::new();
    for name in subdatasets(file) {
        let page = open_dataset(path, &name)?;
        if is_band(&page) && page.raster_size() == file.raster_size() {
            pages.push((name, page));
        }
        if pages.len() == 3 {
            return Ok(Some(pages));
        }
    }
    Ok(None)
}

/// Full resolution and the overviews that every band has, from the largest.
pub(super) fn levels(
    path: &Path,
    datasets: &[Dataset],
    bands: &[Band],
    size: Size,
) -> Result<Vec<(Level, Option<usize>)>> {
    let mut sources = Vec::new();
    for band in bands {
        sources.push(raster_band(path, &datasets[band.dataset_idx], band.number)?);
    }
    // An overview may hold other samples, such as gray means of a 1-bit mask.
    let overview = |source: &RasterBand<'_>, idx| {
        let overview = source.overview(idx).ok()?;
        let (width, height) = overview.size();
        let size = Size::new(u32::try_from(width).ok()?, u32::try_from(height).ok()?);
        (sample_bits(&overview) == sample_bits(source)).then_some(size)
    };
    let n_overviews = sources.first().and_then(|source| source.overview_count().ok()).unwrap_or(0);
    let mut levels = vec![(Level::full(size), None)];
    for idx in 0..usize::try_from(n_overviews).unwrap_or(0) {
        let sizes: Option<Vec<Size>> = sources.iter().map(|source| overview(source, idx)).collect();
        if let Some([first, others @ ..]) = sizes.as_deref()
            && others.iter().all(|other| other == first)
            && (1..size.area()).contains(&first.area())
        {
            levels.push((Level::reduced(*first, size), Some(idx)));
        }
    }
    levels.sort_by_key(|(level, _)| std::cmp::Reverse(level.size.area()));
    levels.dedup_by_key(|(level, _)| level.size.area());
    Ok(levels)
}

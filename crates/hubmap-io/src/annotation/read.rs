//! Reading annotation files.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use super::Feature;
use super::geojson::parse_features;
use crate::{Error, Result};

/// Reads the annotations of a slide in the order of the file.
///
/// The file is a JSON array of features, a `FeatureCollection` or a single `Feature`, plain or compressed by
/// gzip whatever its name says.
/// Geometries are polygons and multi-polygons with holes and fractional vertices; a third coordinate is
/// dropped, a geometry without a `type` is told by the depth of its coordinates, and a point or a line gives a
/// feature without polygons.
///
/// An error names the file and, where it is one feature's fault, the number of that feature, from 0.
pub fn read_annotations(path: &Path) -> Result<Vec<Feature>> {
    let file = File::open(path).map_err(|source| Error::io(path, "open", source))?;
    let mut reader = BufReader::new(file);
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).map_err(|source| Error::io(path, "read", source))?;
    if bytes.starts_with(&GZIP_MAGIC) {
        let mut text = Vec::new();
        MultiGzDecoder::new(bytes.as_slice())
            .read_to_end(&mut text)
            .map_err(|source| Error::format(path, format!("broken gzip stream: {source}")))?;
        bytes = text;
    }
    let text = bytes.strip_prefix(&UTF8_BOM).unwrap_or(&bytes);
    parse_features(text).map_err(|problem| Error::format(path, problem))
}

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const UTF8_BOM: [u8; 3] = [0xef, 0xbb, 0xbf];

//! `NumPy` files of half-precision maps, `[1, height, width]`, written and read by rows.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use half::f16;
use half::slice::HalfFloatSliceExt;
use hubmap_files::PendingFile;
use hubmap_io::Size;
use ndarray::{Array2, ArrayRef2, Axis};

use super::pending_file;
use crate::predictor::RowSink;

/// Start of every `NumPy` file of format 1.0.
const MAGIC: &[u8; 8] = b"\x93NUMPY\x01\x00";
/// Bytes that are written at once, about: more than the buffer of the file, which they then pass by.
const WRITE_BYTES: usize = 4 << 20;
/// The data starts at a multiple of this.
const ALIGNMENT: usize = 64;

/// Writes a float16 `[1, height, width]` file as rows come.
#[derive(Debug)]
pub struct NpyWriter {
    file: PendingFile,
    size: Size,
    next_row: u32,
    /// Rows on their way to the file.
    bytes: Vec<u8>,
}

impl NpyWriter {
    /// Starts a file of a map of this size; it appears at `path` once [finished](NpyWriter::finish) and
    /// committed.
    pub fn create(path: &Path, size: Size) -> Result<Self> {
        let mut file = pending_file::create(path)?;
        file.write_all(&header(size)).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { file, size, next_row: 0, bytes: Vec::new() })
    }

    /// Ends the file; an error if rows are missing.
    pub fn finish(mut self) -> Result<PendingFile> {
        ensure!(
            self.next_row == self.size.height,
            "{}: only {} of {} rows were written",
            self.file.path().display(),
            self.next_row,
            self.size.height
        );
        self.file.flush().with_context(|| format!("cannot write {}", self.file.path().display()))?;
        Ok(self.file)
    }
}

impl RowSink for NpyWriter {
    fn write_rows(&mut self, y0: u32, probabilities: &ArrayRef2<f16>) -> Result<()> {
        ensure!(
            y0 == self.next_row && probabilities.ncols() == self.size.width as usize,
            "{}: rows of {} px from row {y0} do not continue a map of {} at row {}",
            self.file.path().display(),
            probabilities.ncols(),
            self.size,
            self.next_row
        );
        let row_len = 2 * probabilities.ncols();
        let rows_at_once = (WRITE_BYTES / row_len.max(1)).max(1);
        for rows in probabilities.axis_chunks_iter(Axis(0), rows_at_once) {
            self.bytes.resize(rows.len() * 2, 0);
            let (pairs, _) = self.bytes.as_chunks_mut::<2>();
            match rows.as_slice() {
                Some(values) => copy_values(values, pairs),
                None => rows.iter().zip(pairs).for_each(|(value, pair)| *pair = value.to_le_bytes()),
            }
            self.file
                .write_all(&self.bytes)
                .with_context(|| format!("cannot write {}", self.file.path().display()))?;
        }
        self.next_row += probabilities.nrows() as u32;
        Ok(())
    }
}

/// Values in little-endian order; on most machines this is a plain copy.
fn copy_values(values: &[f16], pairs: &mut [[u8; 2]]) {
    for (bits, pair) in values.reinterpret_cast().iter().zip(pairs) {
        let bits: &u16 = bits;
        *pair = bits.to_le_bytes();
    }
}

fn header(size: Size) -> Vec<u8> {
    let dict = format!(
        "{{'descr': '<f2', 'fortran_order': False, 'shape': (1, {}, {}), }}",
        size.height, size.width
    );
    // Magic, two bytes of length, the dictionary, spaces and a line feed fill whole alignment units.
    let total = (MAGIC.len() + 2 + dict.len() + 1).next_multiple_of(ALIGNMENT);
    let length = (total - MAGIC.len() - 2) as u16;
    let mut bytes = MAGIC.to_vec();
    bytes.extend(length.to_le_bytes());
    bytes.extend(dict.as_bytes());
    bytes.resize(total - 1, b' ');
    bytes.push(b'\n');
    bytes
}

/// Reads rows of a float16 `[1, height, width]` or `[height, width]` file, as [`NpyWriter`] and numpy write it.
#[derive(Debug)]
pub struct NpyReader {
    reader: BufReader<File>,
    path: PathBuf,
    size: Size,
    data_start: u64,
}

impl NpyReader {
    /// Opens a file and checks that it is a complete half-precision map.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let n_bytes = file.metadata().with_context(|| format!("cannot read {}", path.display()))?.len();
        let mut reader = BufReader::new(file);
        let (size, data_start) = read_header(&mut reader).with_context(|| path.display().to_string())?;
        let expected = size.area().checked_mul(2).and_then(|n| n.checked_add(data_start));
        ensure!(
            expected == Some(n_bytes),
            "{}: a map of {size} does not take {n_bytes} bytes: the file is damaged",
            path.display()
        );
        Ok(Self { reader, path: path.to_owned(), size, data_start })
    }

    /// Size of the map in pixels.
    pub const fn size(&self) -> Size {
        self.size
    }

    /// Rows `y0..y0 + n_rows` as `[n_rows, width]`.
    pub fn read_rows(&mut self, y0: u32, n_rows: u32) -> Result<Array2<f16>> {
        let within = y0.checked_add(n_rows).is_some_and(|end| end <= self.size.height);
        ensure!(within, "{}: rows {y0}+{n_rows} are not on a map of {}", self.path.display(), self.size);
        let width = self.size.width as usize;
        let mut bytes = vec![0; 2 * width * n_rows as usize];
        let start = self.data_start + 2 * u64::from(y0) * u64::from(self.size.width);
        self.reader
            .seek(SeekFrom::Start(start))
            .and_then(|_| self.reader.read_exact(&mut bytes))
            .with_context(|| format!("cannot read {}", self.path.display()))?;
        let values = bytes.as_chunks::<2>().0.iter().map(|&bytes| f16::from_le_bytes(bytes)).collect();
        Ok(Array2::from_shape_vec((n_rows as usize, width), values)?)
    }
}

fn read_header(reader: &mut impl Read) -> Result<(Size, u64)> {
    let mut start = [0; 8];
    reader.read_exact(&mut start).context("not a NumPy file: it ends within the header")?;
    ensure!(start[..6] == MAGIC[..6], "not a NumPy file");
    let (length, n_length_bytes) = match start[6] {
        1 => {
            let mut length = [0; 2];
            reader.read_exact(&mut length)?;
            (u32::from(u16::from_le_bytes(length)), 2)
        }
        2 | 3 => {
            let mut length = [0; 4];
            reader.read_exact(&mut length)?;
            (u32::from_le_bytes(length), 4)
        }
        version => bail!("NumPy format {version} is not known"),
    };
    ensure!(length <= 65_535, "a header of {length} bytes is not one of a map");
    let mut text = vec![0; length as usize];
    reader.read_exact(&mut text).context("it ends within the header")?;
    let text = String::from_utf8_lossy(&text);
    let value_of = |key: &str| {
        let after = text.split_once(&format!("'{key}'"))?.1.split_once(':')?.1;
        Some(after.trim_start())
    };
    ensure!(
        value_of("descr").is_some_and(|v| v.starts_with("'<f2'")),
        "not little-endian float16: {}",
        text.trim()
    );
    ensure!(
        value_of("fortran_order").is_some_and(|v| v.starts_with("False")),
        "not in C order: {}",
        text.trim()
    );
    let shape = value_of("shape").and_then(|v| v.strip_prefix('(')).and_then(|v| v.split_once(')'));
    let shape = shape.map(|(inner, _)| inner).with_context(|| format!("no shape in {}", text.trim()))?;
    let sides = shape.split(',').map(str::trim).filter(|side| !side.is_empty()).map(str::parse);
    let sides: Vec<u32> = sides.collect::<Result<_, _>>().with_context(|| format!("shape ({shape})"))?;
    let (&[1, height, width] | &[height, width]) = sides.as_slice() else {
        bail!("shape ({shape}) is not that of one map")
    };
    Ok((Size::new(width, height), 8 + n_length_bytes + u64::from(length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_and_cut_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/map.npy");
        let map = Array2::from_shape_fn((5, 3), |(y, x)| f16::from_f32((y * 3 + x) as f32 / 16.0));
        let mut writer = NpyWriter::create(&path, Size::new(3, 5)).unwrap();
        writer.write_rows(0, &map.slice(ndarray::s![..2, ..])).unwrap();
        assert!(writer.write_rows(3, &map.slice(ndarray::s![..2, ..])).is_err());
        writer.write_rows(2, &map.slice(ndarray::s![2.., ..])).unwrap();
        let pending = writer.finish().unwrap();
        assert!(!path.exists());
        pending.commit().unwrap();

        let mut reader = NpyReader::open(&path).unwrap();
        assert_eq!(reader.size(), Size::new(3, 5));
        assert_eq!(reader.read_rows(1, 3).unwrap(), map.slice(ndarray::s![1..4, ..]));
        assert!(reader.read_rows(3, 3).is_err());

        let bytes = std::fs::read(&path).unwrap();
        for n in 0..bytes.len() {
            std::fs::write(&path, &bytes[..n]).unwrap();
            assert!(NpyReader::open(&path).is_err(), "{n}");
        }
    }

    #[test]
    fn an_unfinished_file_vanishes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("map.npy");
        assert!(NpyWriter::create(&path, Size::new(3, 5)).unwrap().finish().is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

//! The results of blocks on disk, so that a slide that was interrupted goes on where it stopped.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use ndarray::{Array2, ArrayRef2};

/// Start of every journal; the number is that of the format.
const MAGIC: &[u8; 8] = b"hubmapJ1";
/// Bytes of a record before its values: block, rows, columns, checksum; each a little-endian u32.
const HEADER_BYTES: u64 = 16;

/// Results of a slide's blocks in an append-only file, for [`Predictor::predict`](crate::Predictor::predict).
///
/// A record holds what the merge uses of a block's probabilities, in single precision as the networks gave it, with a
/// checksum. Blocks that are in the journal are neither read nor predicted again, and the map has the same bits as
/// without an interruption.
///
/// Each record goes to the operating system in one call before the next block is waited for. It survives the process,
/// also one that is killed; it is not forced to the disk, so that a crash of the whole machine may lose the end.
/// What was cut off or damaged is dropped when the journal is opened, with everything after it.
///
/// The file grows to four bytes for each pixel of the reduced slide: at scale 3, 0.45 bytes a slide pixel, 540 MB for
/// 30,000 × 40,000. Blocks that overlap are kept whole, which multiplies it by `(block / (block - overlap))²`.
/// Who opened the journal [removes](BlockJournal::remove) it when the slide's files are in place.
#[derive(Debug)]
pub struct BlockJournal {
    path: PathBuf,
    file: File,
    /// Where the next record goes: the end of the last whole one.
    end: u64,
    records: HashMap<usize, Record>,
}

/// A record's place and shape.
#[derive(Debug, Clone, Copy)]
struct Record {
    offset: u64,
    shape: (usize, usize),
}

impl Record {
    fn value_bytes(self) -> u64 {
        4 * self.shape.0 as u64 * self.shape.1 as u64
    }
}

impl BlockJournal {
    /// Opens the journal at `path`, whose folder must exist, or starts one.
    ///
    /// `key` stands for all that results depend on: settings, weights, the slide. A journal with another key, and a file
    /// that is no journal, is emptied. An error if the file cannot be read or written, or another process has it open.
    pub fn open(path: &Path, key: &[u8]) -> Result<Self> {
        let what = || format!("cannot open journal {}", path.display());
        let mut options = OpenOptions::new();
        let file =
            options.read(true).write(true).create(true).truncate(false).open(path).with_context(what)?;
        // Not every file system has locks; without them, nothing warns of a second run into the same folder.
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            bail!("{} is in use: another run predicts this slide into the same folder", path.display());
        }
        let mut journal = Self { path: path.to_owned(), file, end: 0, records: HashMap::new() };
        let header = header(key)?;
        journal.scan(&header).with_context(what)?;
        if journal.end == 0 {
            journal.file.set_len(0).with_context(what)?;
            journal.write(&header)?;
        } else {
            // What is left of a record that was cut off must not follow the next one.
            journal.file.set_len(journal.end).with_context(what)?;
        }
        Ok(journal)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Number of blocks in the journal.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether no block is in the journal.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Closes the journal and deletes its file.
    pub fn remove(self) -> Result<()> {
        std::fs::remove_file(&self.path)
            .with_context(|| format!("cannot delete journal {}", self.path.display()))
    }

    /// Whether there is a result of a block, of the shape `[rows, columns]`.
    pub(crate) fn has(&self, block_idx: usize, shape: (usize, usize)) -> bool {
        self.records.get(&block_idx).is_some_and(|record| record.shape == shape)
    }

    /// Adds a block's result.
    pub(crate) fn append(&mut self, block_idx: usize, kept: &ArrayRef2<f32>) -> Result<()> {
        let (rows, columns) = kept.dim();
        let mut bytes = Vec::with_capacity(HEADER_BYTES as usize + 4 * kept.len());
        for number in [block_idx, rows, columns] {
            let number = u32::try_from(number).context("a block too large for a journal")?;
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend([0; 4]);
        bytes.extend(kept.iter().flat_map(|value| value.to_le_bytes()));
        let checksum = checksum(&bytes[..12], &bytes[HEADER_BYTES as usize..]);
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
        let offset = self.end;
        self.write(&bytes)?;
        self.records.insert(block_idx, Record { offset, shape: (rows, columns) });
        Ok(())
    }

    /// A block's result; an error if there is none.
    pub(crate) fn read(&mut self, block_idx: usize) -> Result<Array2<f32>> {
        let what = || format!("cannot read block {block_idx} from journal {}", self.path.display());
        let record = *self.records.get(&block_idx).with_context(what)?;
        let mut bytes = vec![0; (HEADER_BYTES + record.value_bytes()) as usize];
        let mut read = || -> io::Result<()> {
            self.file.seek(SeekFrom::Start(record.offset))?;
            self.file.read_exact(&mut bytes)
        };
        read().with_context(what)?;
        let (header, values) = bytes.split_at(HEADER_BYTES as usize);
        ensure!(
            checksum(&header[..12], values).to_le_bytes() == header[12..],
            "journal {} changed while it was in use: delete it and run again",
            self.path.display()
        );
        let values = values.as_chunks().0.iter().map(|&value| f32::from_le_bytes(value)).collect();
        Ok(Array2::from_shape_vec(record.shape, values)?)
    }

    /// Writes at the end of what is whole; what is written of a record before an error is dropped at the next opening.
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let mut write = || -> io::Result<()> {
            self.file.seek(SeekFrom::Start(self.end))?;
            self.file.write_all(bytes)
        };
        write().with_context(|| {
            format!("cannot write journal {}, where blocks are kept to resume the slide", self.path.display())
        })?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// Finds the whole records behind `header`; `end` stays 0 if the file does not begin with it.
    fn scan(&mut self, header: &[u8]) -> io::Result<()> {
        let n_bytes = self.file.metadata()?.len();
        if n_bytes < header.len() as u64 {
            return Ok(());
        }
        let mut reader = BufReader::with_capacity(1 << 20, &self.file);
        let mut found = vec![0; header.len()];
        reader.read_exact(&mut found)?;
        if found != header {
            return Ok(());
        }
        self.end = header.len() as u64;
        let mut values = Vec::new();
        while n_bytes - self.end >= HEADER_BYTES {
            let mut fields = [0; HEADER_BYTES as usize];
            reader.read_exact(&mut fields)?;
            let [block_idx, rows, columns, expected] = [0, 4, 8, 12]
                .map(|at| u32::from_le_bytes([fields[at], fields[at + 1], fields[at + 2], fields[at + 3]]));
            let record = Record { offset: self.end, shape: (rows as usize, columns as usize) };
            // Numbers that are damaged may ask for anything.
            let n_values = 4_u64.checked_mul(u64::from(rows) * u64::from(columns));
            let Some(n_values) = n_values.filter(|&n| n <= n_bytes - self.end - HEADER_BYTES) else { break };
            values.resize(n_values as usize, 0);
            reader.read_exact(&mut values)?;
            if checksum(&fields[..12], &values) != expected {
                break;
            }
            self.records.insert(block_idx as usize, record);
            self.end += HEADER_BYTES + n_values;
        }
        Ok(())
    }
}

impl Drop for BlockJournal {
    fn drop(&mut self) {
        // Closing alone would leave the lock to a child process that is being started at this moment.
        let _ = self.file.unlock();
    }
}

/// The first bytes of a journal with a key.
fn header(key: &[u8]) -> Result<Vec<u8>> {
    let n_bytes = u32::try_from(key.len()).context("a journal's key is too long")?;
    let mut header = MAGIC.to_vec();
    header.extend(n_bytes.to_le_bytes());
    header.extend(key);
    Ok(header)
}

fn checksum(fields: &[u8], values: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(fields), values)
}

#[cfg(test)]
mod tests;

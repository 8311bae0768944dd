//! Event files that TensorBoard reads.
//!
//! A file is a sequence of `TFRecord`s: length, its checksum, bytes, their checksum. The bytes are `Event` messages of
//! protocol buffers (`tensorflow/core/util/event.proto`, `framework/summary.proto`), of which we write the few
//! fields that scalars and pictures need.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

/// Writes the events of one process into a folder of logs.
#[derive(Debug)]
pub struct EventWriter {
    file: File,
    path: PathBuf,
}

impl EventWriter {
    /// A new file in `dir`, which is created.
    ///
    /// TensorBoard shows all files of a folder as one run. What an earlier file logged at `first_step` or later, it
    /// forgets: that is work that a killed process lost.
    ///
    /// # Errors
    ///
    /// The file cannot be written; the message names it.
    pub fn create(dir: &Path, first_step: u64) -> Result<Self> {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let (file, path) =
            new_file(dir).with_context(|| format!("cannot write logs to {}", dir.display()))?;
        let mut writer = Self { file, path };
        let mut version = Message::default();
        version.bytes(3, b"brain.Event:2");
        writer.write(first_step, &version)?;
        let (mut start, mut session) = (Message::default(), Message::default());
        session.varint(1, 1);
        start.bytes(7, &session.0);
        writer.write(first_step, &start)?;
        Ok(writer)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Logs numbers under their names.
    ///
    /// # Errors
    ///
    /// As [`EventWriter::create`].
    pub fn scalars<S: AsRef<str>>(&mut self, step: u64, values: &[(S, f64)]) -> Result<()> {
        let mut summary = Message::default();
        for (name, number) in values {
            let mut value = Message::default();
            value.bytes(1, name.as_ref().as_bytes());
            value.float(2, *number as f32);
            summary.bytes(1, &value.0);
        }
        self.summary(step, &summary)
    }

    /// Logs a picture, an RGB PNG of `width` times `height` pixels, under a name.
    ///
    /// # Errors
    ///
    /// As [`EventWriter::create`].
    pub fn image(&mut self, step: u64, name: &str, [width, height]: [u32; 2], png: &[u8]) -> Result<()> {
        let (mut summary, mut value, mut image) =
            (Message::default(), Message::default(), Message::default());
        image.varint(1, u64::from(height));
        image.varint(2, u64::from(width));
        image.varint(3, 3);
        image.bytes(4, png);
        value.bytes(1, name.as_bytes());
        value.bytes(4, &image.0);
        summary.bytes(1, &value.0);
        self.summary(step, &summary)
    }

    fn summary(&mut self, step: u64, summary: &Message) -> Result<()> {
        let mut event = Message::default();
        event.bytes(5, &summary.0);
        self.write(step, &event)
    }

    /// Appends an event with the time and the step; in one piece, so that a killed process leaves whole records.
    fn write(&mut self, step: u64, fields: &Message) -> Result<()> {
        let mut event = Message::default();
        event.double(1, since_epoch().as_secs_f64());
        event.varint(2, step);
        event.0.extend_from_slice(&fields.0);
        self.file
            .write_all(&record(&event.0))
            .with_context(|| format!("cannot write {}", self.path.display()))
    }
}

/// `events.out.tfevents.<seconds>.<process>.<n>`, which TensorBoard reads in the order of the names.
fn new_file(dir: &Path) -> io::Result<(File, PathBuf)> {
    let (seconds, process) = (since_epoch().as_secs(), std::process::id());
    let mut n = 0;
    loop {
        let path = dir.join(format!("events.out.tfevents.{seconds:010}.{process}.{n}"));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((file, path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => n += 1,
            Err(error) => return Err(error),
        }
    }
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A `TFRecord`.
fn record(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u64).to_le_bytes();
    [&length[..], &masked_crc(&length).to_le_bytes(), bytes, &masked_crc(bytes).to_le_bytes()].concat()
}

/// CRC-32C, rotated and shifted because checksums of checksums are weak.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The fields of a protocol buffer message, encoded one after the other.
#[derive(Debug, Default)]
struct Message(Vec<u8>);

impl Message {
    /// Field number and wire type.
    fn key(&mut self, field: u64, wire_type: u64) {
        self.raw_varint(field << 3 | wire_type);
    }

    fn raw_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn varint(&mut self, field: u64, value: u64) {
        self.key(field, 0);
        self.raw_varint(value);
    }

    fn double(&mut self, field: u64, value: f64) {
        self.key(field, 1);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.key(field, 2);
        self.raw_varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    fn float(&mut self, field: u64, value: f32) {
        self.key(field, 5);
        self.0.extend_from_slice(&value.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_and_numbers_are_those_of_the_formats() {
        // RFC 3720, B.4: 32 bytes of zeros.
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(masked_crc(&[0; 32]), 0x0fd7_fffa);
        let mut message = Message::default();
        message.varint(1, 150);
        message.bytes(2, b"testing");
        // The examples of the protocol buffers documentation.
        assert_eq!(message.0, [0x08, 0x96, 0x01, 0x12, 0x07, b't', b'e', b's', b't', b'i', b'n', b'g']);
    }

    #[test]
    fn files_of_one_second_differ_and_hold_whole_records() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = EventWriter::create(folder.path(), 0).unwrap();
        let second = EventWriter::create(folder.path(), 5).unwrap();
        assert_ne!(first.path(), second.path());
        first.scalars(3, &[("loss/train", 0.25), ("rate", 1e-3)]).unwrap();
        first.image(3, "samples", [2, 1], b"not looked at").unwrap();
        let bytes = std::fs::read(first.path()).unwrap();
        let (mut rest, mut n_records) = (bytes.as_slice(), 0);
        while let Some((length, after)) = rest.split_first_chunk::<8>() {
            let (crc, after) = after.split_first_chunk::<4>().unwrap();
            assert_eq!(u32::from_le_bytes(*crc), masked_crc(length));
            let (event, after) = after.split_at(u64::from_le_bytes(*length) as usize);
            let (crc, after) = after.split_first_chunk::<4>().unwrap();
            assert_eq!(u32::from_le_bytes(*crc), masked_crc(event));
            (rest, n_records) = (after, n_records + 1);
        }
        assert_eq!((rest.len(), n_records), (0, 4));
    }
}

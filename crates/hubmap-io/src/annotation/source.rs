//! The text of an annotation file, whatever it is wrapped in.

use std::io::{self, BufReader, Chain, Cursor, Read};

use flate2::bufread::MultiGzDecoder;

const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
const UTF8_BOM: &[u8] = &[0xef, 0xbb, 0xbf];
const UTF16_BOMS: [&[u8]; 2] = [&[0xff, 0xfe], &[0xfe, 0xff]];

/// Bytes of a compressed file that are read at once.
const GZIP_BLOCK_BYTES: usize = 256 << 10;

/// What may go wrong between a file and its text.
#[derive(Debug)]
pub(super) enum SourceError {
    /// The file could not be read.
    Io(io::Error),
    /// The file is broken, or not what it should be.
    Format(String),
}

/// A text in UTF-8, decompressed and without its byte order mark.
#[derive(Debug)]
pub(super) struct Source<R> {
    text: Peeked<Bytes<R>>,
}

/// The bytes of a file, decompressed.
#[derive(Debug)]
enum Bytes<R> {
    Plain(Peeked<R>),
    Gzip(Box<MultiGzDecoder<BufReader<Peeked<R>>>>),
}

/// A reader of which the first bytes were looked at.
type Peeked<R> = Chain<Cursor<Vec<u8>>, R>;

impl<R: Read> Source<R> {
    /// Looks at the first bytes of a file and takes off what is around the text.
    pub(super) fn new(reader: R) -> Result<Self, SourceError> {
        let (start, file) = peek(reader, GZIP_MAGIC.len()).map_err(SourceError::Io)?;
        let mut bytes = if start == GZIP_MAGIC {
            let file = BufReader::with_capacity(GZIP_BLOCK_BYTES, file);
            Bytes::Gzip(Box::new(MultiGzDecoder::new(file)))
        } else {
            Bytes::Plain(file)
        };
        let mut start = Vec::new();
        bytes
            .by_ref()
            .take(UTF8_BOM.len() as u64)
            .read_to_end(&mut start)
            .map_err(|error| bytes.error(error))?;
        if UTF16_BOMS.iter().any(|mark| start.starts_with(mark)) {
            return Err(SourceError::Format("UTF-16 text; save the file as UTF-8".to_owned()));
        }
        if start == UTF8_BOM {
            start.clear();
        }
        Ok(Self { text: Cursor::new(start).chain(bytes) })
    }

    /// What an error of [`Read`] says about the file.
    pub(super) fn error(&self, error: io::Error) -> SourceError {
        self.text.get_ref().1.error(error)
    }
}

impl<R> Bytes<R> {
    fn error(&self, error: io::Error) -> SourceError {
        match self {
            // Errors of the operating system have a number, those of the decoder have none.
            Self::Gzip(_) if error.raw_os_error().is_none() => {
                SourceError::Format(format!("broken gzip stream: {error}"))
            }
            Self::Gzip(_) | Self::Plain(_) => SourceError::Io(error),
        }
    }
}

impl<R: Read> Read for Bytes<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read(out),
            Self::Gzip(file) => file.read(out),
        }
    }
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.text.read(out)
    }
}

/// The first `n_bytes`, or as many as there are, and all of them again with the rest.
fn peek<R: Read>(mut reader: R, n_bytes: usize) -> io::Result<(Vec<u8>, Peeked<R>)> {
    let mut start = Vec::new();
    reader.by_ref().take(n_bytes as u64).read_to_end(&mut start)?;
    Ok((start.clone(), Cursor::new(start).chain(reader)))
}

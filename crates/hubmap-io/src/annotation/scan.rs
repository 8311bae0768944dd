//! A JSON text cut into its values, of which one is held at a time.

use std::io::{self, Read};

/// Bytes that are read at once.
const BLOCK_BYTES: u64 = 256 << 10;

/// A place in a text, for messages: both are counted from 1, columns in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// Why there is no value.
#[derive(Debug)]
pub(super) enum ScanError {
    Io(io::Error),
    /// The text ends before the value does.
    End,
    /// A comma, colon or closing bracket where a value belongs.
    NoValue,
    /// The value is longer than the limit.
    TooLong,
}

impl From<io::Error> for ScanError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Reads a text in blocks and finds where its values end, without looking at what they are.
#[derive(Debug)]
pub(super) struct Scanner<R> {
    reader: R,
    buffer: Vec<u8>,
    /// What is before this byte of the buffer is done with.
    start: usize,
    place: Place,
    max_value_bytes: usize,
}

impl<R: Read> Scanner<R> {
    pub(super) fn new(reader: R, max_value_bytes: usize) -> Self {
        let place = Place { line: 1, column: 1 };
        Self { reader, buffer: Vec::new(), start: 0, place, max_value_bytes }
    }

    /// The next byte that is not white space, or `None` at the end; it is still there afterwards.
    pub(super) fn peek(&mut self) -> io::Result<Option<u8>> {
        loop {
            let unread = self.unread();
            let n_spaces = unread.iter().position(|byte| !is_space(*byte));
            let n_done = n_spaces.unwrap_or(unread.len());
            self.consume(n_done);
            if let Some(&byte) = self.unread().first() {
                return Ok(Some(byte));
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// Goes past the byte that [`Scanner::peek`] found.
    pub(super) fn skip_byte(&mut self) {
        self.consume(self.unread().len().min(1));
    }

    /// Goes past the next value and returns its text and where that starts.
    pub(super) fn value(&mut self) -> Result<(&[u8], Place), ScanError> {
        if self.peek()?.is_none() {
            return Err(ScanError::End);
        }
        let place = self.place;
        let mut extent = Extent::default();
        let n_bytes = loop {
            if let Some(n_bytes) = extent.find_end(&self.buffer[self.start..]) {
                break n_bytes;
            }
            if extent.n_seen > self.max_value_bytes {
                return Err(ScanError::TooLong);
            }
            if !self.fill()? {
                break extent.end_of_text().ok_or(ScanError::End)?;
            }
        };
        if n_bytes == 0 {
            return Err(ScanError::NoValue);
        }
        Ok((self.consume(n_bytes), place))
    }

    /// The place of the next byte.
    pub(super) const fn place(&self) -> Place {
        self.place
    }

    /// Where the bytes come from.
    pub(super) const fn reader(&self) -> &R {
        &self.reader
    }

    fn unread(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// Reads another block behind what is unread; false at the end of the text.
    fn fill(&mut self) -> io::Result<bool> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let n_bytes = self.reader.by_ref().take(BLOCK_BYTES).read_to_end(&mut self.buffer)?;
        Ok(n_bytes > 0)
    }

    /// Goes past `n_bytes` and returns them.
    fn consume(&mut self, n_bytes: usize) -> &[u8] {
        let start = self.start;
        self.start += n_bytes;
        let done = &self.buffer[start..self.start];
        match done.iter().rposition(|&byte| byte == b'\n') {
            None => self.place.column += n_bytes,
            Some(last) => {
                self.place.line += done.split(|&byte| byte == b'\n').count() - 1;
                self.place.column = n_bytes - last;
            }
        }
        done
    }
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// How much of a value has been seen.
#[derive(Debug, Default)]
struct Extent {
    n_seen: usize,
    depth: usize,
    in_string: bool,
    is_escaped: bool,
}

impl Extent {
    /// How long the value is that `text` starts with, or `None` if it goes on behind it.
    ///
    /// `text` is that of the last call, with more behind it.
    fn find_end(&mut self, text: &[u8]) -> Option<usize> {
        for &byte in text.get(self.n_seen..)? {
            let n_before = self.n_seen;
            self.n_seen += 1;
            if self.in_string {
                match byte {
                    _ if self.is_escaped => self.is_escaped = false,
                    b'\\' => self.is_escaped = true,
                    b'"' => {
                        self.in_string = false;
                        if self.depth == 0 {
                            return Some(self.n_seen);
                        }
                    }
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' if self.depth > 1 => self.depth -= 1,
                b'}' | b']' if self.depth == 1 => return Some(self.n_seen),
                b'}' | b']' | b',' | b':' if self.depth == 0 => return Some(n_before),
                _ if self.depth == 0 && is_space(byte) => return Some(n_before),
                _ => {}
            }
        }
        None
    }

    /// How long the value is if the text ends here: a number or a word may.
    fn end_of_text(&self) -> Option<usize> {
        (self.depth == 0 && !self.in_string).then_some(self.n_seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reader that hands out one byte at a time, so that every byte is the end of a block once.
    struct Bytewise<'a>(&'a [u8]);

    impl Read for Bytewise<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let n = out.len().min(self.0.len()).min(1);
            out[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    #[test]
    fn values_end_where_they_do() {
        let text = br#" 12.5e-3 , "a\"]\\" :{"x":[1,{"}":"]"}]}[[],[]] true"#;
        let values = ["12.5e-3", r#""a\"]\\""#, r#"{"x":[1,{"}":"]"}]}"#, "[[],[]]", "true"];
        let mut scanner = Scanner::new(Bytewise(text), 100);
        for value in values {
            if matches!(scanner.peek().unwrap(), Some(b',' | b':')) {
                assert!(matches!(scanner.value(), Err(ScanError::NoValue)));
                scanner.skip_byte();
            }
            assert_eq!(scanner.value().unwrap().0, value.as_bytes());
        }
        assert!(matches!(scanner.value(), Err(ScanError::End)));
    }

    #[test]
    fn places_are_those_of_an_editor() {
        let mut scanner = Scanner::new(&b"\n\n  [1,\n2] 3"[..], 100);
        let (text, place) = scanner.value().unwrap();
        assert_eq!((text, place.line, place.column), (&b"[1,\n2]"[..], 3, 3));
        let (text, place) = scanner.value().unwrap();
        assert_eq!((text, place.line, place.column), (&b"3"[..], 4, 4));
    }

    #[test]
    fn open_and_endless_values_are_errors() {
        for text in ["[1", "{\"a\":\"}", "\"abc\\\"", "[[[[]]]"] {
            assert!(matches!(Scanner::new(text.as_bytes(), 100).value(), Err(ScanError::End)), "{text}");
        }
        let endless = io::repeat(b'[');
        assert!(matches!(Scanner::new(endless, 1 << 20).value(), Err(ScanError::TooLong)));
    }
}

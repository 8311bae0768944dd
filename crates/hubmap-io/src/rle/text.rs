//! Runs as text: decimal numbers with spaces between them.

use std::fmt::{Formatter, Result as FmtResult};

use super::{Rle, RleError, Run};

/// Reads the runs of a text; see [`Rle::parse`].
pub(super) fn parse(text: &str) -> Result<Rle, RleError> {
    let mut tokens = Tokens { text, at: 0, n_read: 0 };
    let mut rle = Rle::default();
    while let Some(start) = tokens.next_number("starts")? {
        let previous_last = rle.runs.last().map_or(0, Run::last);
        if start <= previous_last {
            return Err(RleError::Unsorted { position: tokens.n_read, start, previous_last });
        }
        let Some(length) = tokens.next_number("lengths")? else {
            return Err(RleError::OddCount { count: tokens.n_read });
        };
        if start.checked_add(length).is_none() {
            return Err(RleError::Overflow { position: tokens.n_read });
        }
        rle.push(start, length);
    }
    Ok(rle)
}

/// The numbers of a text, one after the other.
struct Tokens<'a> {
    text: &'a str,
    /// Byte after the last token.
    at: usize,
    n_read: usize,
}

impl Tokens<'_> {
    /// The next number, which must not be 0, or `None` at the end; `what` it counts is for the message.
    fn next_number(&mut self, what: &'static str) -> Result<Option<u64>, RleError> {
        let bytes = self.text.as_bytes();
        while bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        let first = self.at;
        let mut value: u64 = 0;
        self.n_read += 1;
        let position = self.n_read;
        while let Some(&byte) = bytes.get(self.at) {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                if byte.is_ascii_whitespace() {
                    break;
                }
                return Err(RleError::NotANumber { position, token: token_at(self.text, first) });
            }
            let next = value.checked_mul(10).and_then(|tens| tens.checked_add(digit as u64));
            value = next.ok_or(RleError::Overflow { position })?;
            self.at += 1;
        }
        if self.at == first {
            self.n_read -= 1;
            return Ok(None);
        }
        if value == 0 { Err(RleError::Zero { position, what }) } else { Ok(Some(value)) }
    }
}

/// The token that starts at byte `first`, at most 32 characters of it.
fn token_at(text: &str, first: usize) -> String {
    let from = text.get(first..).unwrap_or_default();
    from.chars().take_while(|c| !c.is_ascii_whitespace()).take(32).collect()
}

/// Writes the runs of a mask.
pub(super) fn write(rle: &Rle, f: &mut Formatter<'_>) -> FmtResult {
    const CHUNK_RUNS: usize = 512;
    let mut text = String::new();
    for (i, runs) in rle.runs.chunks(CHUNK_RUNS).enumerate() {
        text.clear();
        for (j, run) in runs.iter().enumerate() {
            if i + j > 0 {
                text.push(' ');
            }
            push_number(&mut text, run.start);
            text.push(' ');
            push_number(&mut text, run.length);
        }
        f.write_str(&text)?;
    }
    Ok(())
}

/// Appends a number; several times as fast as the formatting machinery.
fn push_number(text: &mut String, mut value: u64) {
    let mut digits = [b'0'; 20];
    let mut first = digits.len();
    for (i, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
        first = i;
        if value == 0 {
            break;
        }
    }
    text.push_str(std::str::from_utf8(&digits[first..]).unwrap_or_default());
}

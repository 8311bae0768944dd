//! Image file directories: the header of a file, the chain of its pages, and the values of their tags.

use std::collections::HashSet;

use super::source::Source;
use super::tag;
use crate::{Error, Result};

/// Pages in one file beyond which it is taken for an attack; GDAL has the same limit.
const MAX_DIRECTORIES: usize = 65_535;

/// Tags in all pages of one file beyond which it is taken for an attack.
const MAX_ENTRIES: usize = 4_000_000;

/// How the numbers of a file are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Encoding {
    /// 64-bit offsets.
    pub(super) is_big: bool,
    /// Most significant byte first.
    pub(super) big_endian: bool,
}

impl Encoding {
    /// An unsigned number of 1 to 8 bytes.
    pub(super) fn number(self, bytes: &[u8]) -> u64 {
        let push = |number: u64, &byte: &u8| (number << 8) | u64::from(byte);
        if self.big_endian { bytes.iter().fold(0, push) } else { bytes.iter().rev().fold(0, push) }
    }

    const fn offset_len(self) -> usize {
        if self.is_big { 8 } else { 4 }
    }

    const fn entry_len(self) -> usize {
        4 + 2 * self.offset_len()
    }
}

/// One tag of one page.
#[derive(Debug, Clone, Copy)]
struct Entry {
    tag: u16,
    /// Field type code.
    kind: u16,
    count: u64,
    /// The value itself, or where it is if it needs more room.
    inline: [u8; 8],
}

/// All tags of one page.
#[derive(Debug, Clone)]
pub(super) struct Directory {
    /// Place in the chain, such as `3`, or `0/sub1` for the second child of the first page.
    pub(super) name: String,
    encoding: Encoding,
    entries: Vec<Entry>,
}

/// The directories of a file.
pub(super) struct Chain {
    pub(super) encoding: Encoding,
    /// In the order of the chain, children after their parent; at least one.
    pub(super) directories: Vec<Directory>,
    /// What ended the chain early, if it was not its last link.
    pub(super) damage: Option<Error>,
}

/// Reads the header and all directories; damage after the first page is reported, not fatal.
pub(super) fn directories(source: &Source) -> Result<Chain> {
    let (encoding, first) = header(source)?;
    let mut walk = Walk {
        source,
        encoding,
        seen: HashSet::new(),
        seen_children: HashSet::new(),
        n_entries: 0,
        found: Vec::new(),
    };
    let mut next = first;
    let mut idx = 0;
    let mut damage = None;
    while next != 0 {
        match walk.visit(next, idx.to_string()) {
            Ok(following) => next = following,
            Err(error) if idx == 0 => return Err(error),
            Err(error) => {
                damage = Some(error);
                break;
            }
        }
        idx += 1;
    }
    if walk.found.is_empty() {
        return Err(source.format("no image: the first directory offset is 0"));
    }
    Ok(Chain { encoding, directories: walk.found, damage })
}

fn header(source: &Source) -> Result<(Encoding, u64)> {
    let mut head = [0; 8];
    if source.len() < 8 {
        return Err(source.format(format!("not a TIFF file: {} bytes", source.len())));
    }
    source.read_at(0, &mut head, || "the header".to_owned())?;
    let big_endian = match &head[..2] {
        b"II" => false,
        b"MM" => true,
        _ => return Err(source.format("not a TIFF file: it starts with neither II nor MM")),
    };
    let encoding = Encoding { is_big: false, big_endian };
    match encoding.number(&head[2..4]) {
        42 => Ok((encoding, encoding.number(&head[4..8]))),
        43 => {
            let encoding = Encoding { is_big: true, big_endian };
            if encoding.number(&head[4..6]) != 8 {
                return Err(source.format("BigTIFF header with offsets that are not 8 bytes"));
            }
            let mut first = [0; 8];
            source.read_at(8, &mut first, || "the header".to_owned())?;
            Ok((encoding, encoding.number(&first)))
        }
        version => Err(source.format(format!("not a TIFF file: version {version}, expected 42 or 43"))),
    }
}

/// State of the walk through the directories of a file.
struct Walk<'a> {
    source: &'a Source,
    encoding: Encoding,
    /// Directories of the chain.
    seen: HashSet<u64>,
    seen_children: HashSet<u64>,
    n_entries: usize,
    found: Vec<Directory>,
}

impl Walk<'_> {
    /// Reads the directory at `offset` and its children; returns the offset of the next one.
    fn visit(&mut self, offset: u64, name: String) -> Result<u64> {
        if !self.seen.insert(offset) {
            return Err(self
                .source
                .format(format!("page {name} leads back to the directory at byte {offset}")));
        }
        if self.found.len() >= MAX_DIRECTORIES {
            return Err(self.source.format(format!("more than {MAX_DIRECTORIES} pages")));
        }
        let (directory, next) = self.read(offset, name)?;
        let children = match directory.numbers(self.source, tag::SUB_IFDS) {
            Ok(children) => children.unwrap_or_default(),
            // Damage to reduced copies does not keep the page itself from being read.
            Err(_) => Vec::new(),
        };
        let name = directory.name.clone();
        self.found.push(directory);
        for (idx, &child) in children.iter().enumerate() {
            // The chain may list a child again, as a page of its own.
            let is_new = !self.seen.contains(&child) && self.seen_children.insert(child);
            if child != 0 && is_new && self.found.len() < MAX_DIRECTORIES {
                // Children of children do not occur in slides; the chain of a child is not followed.
                if let Ok((directory, _)) = self.read(child, format!("{name}/sub{idx}")) {
                    self.found.push(directory);
                }
            }
        }
        Ok(next)
    }

    fn read(&mut self, offset: u64, name: String) -> Result<(Directory, u64)> {
        let encoding = self.encoding;
        let count_len = if encoding.is_big { 8 } else { 2 };
        let mut count = [0; 8];
        let what = || format!("the directory of page {name}");
        self.source.read_at(offset, &mut count[..count_len], what)?;
        let n_entries = encoding.number(&count[..count_len]);
        let body_len = n_entries.saturating_mul(encoding.entry_len() as u64);
        self.source.check(offset + count_len as u64, body_len, what)?;
        self.n_entries = self.n_entries.saturating_add(n_entries as usize);
        if self.n_entries > MAX_ENTRIES {
            return Err(self.source.format(format!("more than {MAX_ENTRIES} tags")));
        }
        let mut body = vec![0; body_len as usize];
        let body_at = offset + count_len as u64;
        self.source.read_at(body_at, &mut body, what)?;
        let mut next = [0; 8];
        let next = &mut next[..encoding.offset_len()];
        // Some writers leave out the link after the last directory.
        let next_at = body_at + body_len;
        let next = if next_at + next.len() as u64 <= self.source.len() {
            self.source.read_at(next_at, next, what)?;
            encoding.number(next)
        } else {
            0
        };
        let entries = body.chunks_exact(encoding.entry_len()).map(|bytes| entry(encoding, bytes)).collect();
        Ok((Directory { name, encoding, entries }, next))
    }
}

fn entry(encoding: Encoding, bytes: &[u8]) -> Entry {
    let n = encoding.offset_len();
    let mut inline = [0; 8];
    inline[..n].copy_from_slice(&bytes[4 + n..]);
    Entry {
        tag: encoding.number(&bytes[..2]) as u16,
        kind: encoding.number(&bytes[2..4]) as u16,
        count: encoding.number(&bytes[4..4 + n]),
        inline,
    }
}

/// Bytes per value of a field type, or `None` for an unknown one.
const fn kind_len(kind: u16) -> Option<u64> {
    match kind {
        1 | 2 | 6 | 7 => Some(1),
        3 | 8 => Some(2),
        4 | 9 | 11 | 13 => Some(4),
        5 | 10 | 12 | 16 | 17 | 18 => Some(8),
        _ => None,
    }
}

const RATIONAL: u16 = 5;
const FLOAT: u16 = 11;
const DOUBLE: u16 = 12;

impl Directory {
    fn entry(&self, tag: u16) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.tag == tag)
    }

    /// Whether the page has the tag.
    pub(super) fn has(&self, tag: u16) -> bool {
        self.entry(tag).is_some()
    }

    /// The bytes of a tag's values, if the page has it.
    pub(super) fn bytes(&self, source: &Source, tag: u16) -> Result<Option<Vec<u8>>> {
        let Some(entry) = self.entry(tag) else { return Ok(None) };
        let what = || format!("tag {tag} of page {}", self.name);
        let Some(len) = kind_len(entry.kind) else {
            return Err(source.format(format!("{} has the unknown field type {}", what(), entry.kind)));
        };
        let n_bytes = entry
            .count
            .checked_mul(len)
            .ok_or_else(|| source.format(format!("{} has the impossible count {}", what(), entry.count)))?;
        let inline_len = self.encoding.offset_len();
        if n_bytes <= inline_len as u64 {
            return Ok(Some(entry.inline[..n_bytes as usize].to_vec()));
        }
        let offset = self.encoding.number(&entry.inline[..inline_len]);
        source.check(offset, n_bytes, what)?;
        let mut bytes = vec![0; n_bytes as usize];
        source.read_at(offset, &mut bytes, what)?;
        Ok(Some(bytes))
    }

    /// The values of a tag of unsigned integers, if the page has it.
    pub(super) fn numbers(&self, source: &Source, tag: u16) -> Result<Option<Vec<u64>>> {
        let Some(entry) = self.entry(tag) else { return Ok(None) };
        let len = match (entry.kind, kind_len(entry.kind)) {
            (5 | 10..=12, _) | (_, None) => {
                return Err(source.format(format!(
                    "tag {tag} of page {} has field type {}, expected integers",
                    self.name, entry.kind
                )));
            }
            (_, Some(len)) => len as usize,
        };
        let Some(bytes) = self.bytes(source, tag)? else { return Ok(None) };
        Ok(Some(bytes.chunks_exact(len).map(|value| self.encoding.number(value)).collect()))
    }

    /// The first value of a tag of unsigned integers, if the page has it.
    pub(super) fn number(&self, source: &Source, tag: u16) -> Result<Option<u64>> {
        let values = self.numbers(source, tag)?;
        match values.as_deref() {
            Some([]) => Err(source.format(format!("tag {tag} of page {} is empty", self.name))),
            Some([first, ..]) => Ok(Some(*first)),
            None => Ok(None),
        }
    }

    /// The first value of a tag of fractions or floats, if the page has a sensible one.
    pub(super) fn real(&self, source: &Source, tag: u16) -> Option<f64> {
        self.reals(source, tag).map(|[value]| value)
    }

    /// The first values of a tag of fractions, floats or whole numbers, if the page has as many sensible ones.
    pub(super) fn reals<const N: usize>(&self, source: &Source, tag: u16) -> Option<[f64; N]> {
        let kind = self.entry(tag)?.kind;
        let bytes = self.bytes(source, tag).ok()??;
        let mut values = bytes.chunks_exact(kind_len(kind)? as usize).map(|value| {
            let number = |range: std::ops::Range<usize>| self.encoding.number(&value[range]);
            match kind {
                RATIONAL => Some(number(0..4) as f64 / number(4..8) as f64),
                FLOAT => Some(f64::from(f32::from_bits(number(0..4) as u32))),
                DOUBLE => Some(f64::from_bits(number(0..8))),
                10 => None,
                _ => Some(number(0..value.len()) as f64),
            }
            .filter(|value| value.is_finite())
        });
        let mut reals = [0.0; N];
        for real in &mut reals {
            *real = values.next()??;
        }
        Some(reals)
    }

    /// A text tag up to its terminating zero, if the page has it; broken text is not an error.
    pub(super) fn text(&self, source: &Source, tag: u16) -> Option<String> {
        let bytes = self.bytes(source, tag).ok()??;
        let text = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
        Some(String::from_utf8_lossy(text).into_owned())
    }
}

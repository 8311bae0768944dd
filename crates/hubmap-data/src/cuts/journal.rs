//! What became of the windows of one kind on one slide so far, for a run that is killed in between.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::record::{Outcome, Outcomes};
use super::stamp::{Stamp, digest_json};
use crate::tile_file::write_atomically;

/// Format of the journals; others are treated as if they were not there.
const VERSION: u32 = 1;

/// A journal under way: lines of JSON, one per window, each appended by one write once its tile is in place.
///
/// A kill may cut the last line short; it is then as if it had not been written.
#[derive(Debug)]
pub(super) struct Journal(Mutex<File>);

/// The first line.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    version: u32,
    stamp: String,
}

impl Header {
    fn new(stamp: &Stamp) -> Result<Self> {
        Ok(Self { version: VERSION, stamp: digest_json(stamp)? })
    }
}

/// Reads what became of windows under the same stamp; `None` if there is no such journal.
pub(super) fn read(path: &Path, stamp: &Stamp) -> Result<Option<Outcomes>> {
    let text = match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.with_context(|| format!("cannot read {}", path.display()))?,
    };
    let mut lines = text.split_inclusive(|&byte| byte == b'\n').filter(|line| line.ends_with(b"\n"));
    let header = lines.next().and_then(|line| serde_json::from_slice::<Header>(line).ok());
    if header != Some(Header::new(stamp)?) {
        return Ok(None);
    }
    Ok(Some(lines.filter_map(|line| serde_json::from_slice::<(usize, Outcome)>(line).ok()).collect()))
}

impl Journal {
    /// Starts a journal in place of an older one, with what is known already.
    pub(super) fn start(path: &Path, stamp: &Stamp, known: &Outcomes) -> Result<Self> {
        write_atomically(path, |out| {
            out.write_all(&line(&Header::new(stamp)?)?)?;
            known.iter().try_for_each(|entry| Ok(out.write_all(&line(&entry)?)?))
        })?;
        let file = File::options().append(true).open(path);
        Ok(Self(Mutex::new(file.with_context(|| format!("cannot write {}", path.display()))?)))
    }

    /// Notes what became of a window.
    pub(super) fn add(&self, tile_idx: usize, outcome: Outcome) -> Result<()> {
        let line = line(&(tile_idx, outcome))?;
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&line).context("cannot write the journal of tiles")
    }
}

fn line<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_cut_anywhere_gives_a_part_of_its_entries() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.journal");
        let stamp = Stamp::default().with("a", "1");
        let kept = |x| Outcome::Kept { x, y: -7, image_bytes: 1234, mask_bytes: 56 };
        let journal = Journal::start(&path, &stamp, &Outcomes::from([(4, kept(1))])).unwrap();
        journal.add(2, Outcome::Skipped).unwrap();
        journal.add(0, kept(-3)).unwrap();
        let all = Outcomes::from([(0, kept(-3)), (2, Outcome::Skipped), (4, kept(1))]);
        assert_eq!(read(&path, &stamp).unwrap(), Some(all));

        let text = std::fs::read(&path).unwrap();
        let mut n_found = std::collections::BTreeSet::new();
        for len in 0..text.len() {
            std::fs::write(&path, &text[..len]).unwrap();
            let found = read(&path, &stamp).unwrap();
            assert_eq!(found.is_some(), len > text.iter().position(|&b| b == b'\n').unwrap());
            n_found.extend(found.map(|found| found.len()));
        }
        assert_eq!(n_found.into_iter().collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn journals_of_other_settings_and_damaged_ones_are_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.journal");
        let stamp = Stamp::default().with("a", "1");
        assert_eq!(read(&path, &stamp).unwrap(), None);
        Journal::start(&path, &stamp, &Outcomes::new()).unwrap();
        assert_eq!(read(&path, &stamp).unwrap(), Some(Outcomes::new()));
        assert_eq!(read(&path, &stamp.clone().with("a", "2")).unwrap(), None);
        std::fs::write(&path, "{}\n").unwrap();
        assert_eq!(read(&path, &stamp).unwrap(), None);
    }
}

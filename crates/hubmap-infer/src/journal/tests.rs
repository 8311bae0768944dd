use super::*;

fn block(seed: usize) -> Array2<f32> {
    Array2::from_shape_fn((3 + seed, 5), |(y, x)| (seed * 100 + y * 10 + x) as f32 / 7.0)
}

/// A journal of three blocks.
fn written(path: &Path) {
    let mut journal = BlockJournal::open(path, b"key").unwrap();
    for idx in [4, 0, 2] {
        journal.append(idx, &block(idx)).unwrap();
    }
}

/// Which blocks a journal has, after checking that they are whole.
fn blocks(journal: &mut BlockJournal) -> Vec<usize> {
    let mut found: Vec<_> = journal.records.keys().copied().collect();
    found.sort_unstable();
    assert_eq!(found.len(), journal.len());
    for &idx in &found {
        assert_eq!(journal.read(idx).unwrap(), block(idx));
        assert!(journal.has(idx, block(idx).dim()) && !journal.has(idx, (5, 3)));
    }
    found
}

#[test]
fn blocks_come_back_and_more_can_follow() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slide.journal");
    written(&path);
    let mut journal = BlockJournal::open(&path, b"key").unwrap();
    assert_eq!(blocks(&mut journal), [0, 2, 4]);
    journal.append(1, &block(1)).unwrap();
    assert_eq!(blocks(&mut journal), [0, 1, 2, 4]);
    assert!(journal.read(3).unwrap_err().to_string().contains("block 3"));
    drop(journal);
    let mut journal = BlockJournal::open(&path, b"key").unwrap();
    assert_eq!(blocks(&mut journal), [0, 1, 2, 4]);
    journal.remove().unwrap();
    assert!(!path.exists());
}

#[test]
fn a_journal_cut_off_anywhere_keeps_its_whole_records() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slide.journal");
    written(&path);
    let bytes = std::fs::read(&path).unwrap();
    let header_bytes = header(b"key").unwrap().len();
    let record_bytes = |idx| HEADER_BYTES as usize + 4 * block(idx).len();
    let ends = [record_bytes(4), record_bytes(4) + record_bytes(0)].map(|end| end + header_bytes);
    assert_eq!(ends[1] + record_bytes(2), bytes.len());
    for length in 0..=bytes.len() {
        std::fs::write(&path, &bytes[..length]).unwrap();
        let mut journal = BlockJournal::open(&path, b"key").unwrap();
        let expected: &[usize] = match length {
            _ if length == bytes.len() => &[0, 2, 4],
            _ if length >= ends[1] => &[0, 4],
            _ if length >= ends[0] => &[4],
            _ => &[],
        };
        assert_eq!(blocks(&mut journal), expected, "{length} bytes");
        assert_eq!(std::fs::metadata(&path).unwrap().len(), journal.end, "the tail is gone");
        journal.append(1, &block(1)).unwrap();
        drop(journal);
        assert_eq!(BlockJournal::open(&path, b"key").unwrap().len(), expected.len() + 1, "{length} bytes");
    }
}

#[test]
fn a_damaged_byte_drops_its_record_and_those_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slide.journal");
    written(&path);
    let bytes = std::fs::read(&path).unwrap();
    let first = header(b"key").unwrap().len();
    let second = first + HEADER_BYTES as usize + 4 * block(4).len();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x81;
        std::fs::write(&path, damaged).unwrap();
        let mut journal = BlockJournal::open(&path, b"key").unwrap();
        let found = blocks(&mut journal);
        assert!(!found.contains(&2), "byte {at}: {found:?}");
        assert_eq!(found.contains(&4), at >= second, "byte {at}: {found:?}");
    }
}

#[test]
fn a_journal_of_other_settings_is_emptied() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slide.journal");
    for other in [b"kez".as_slice(), b"ke", b"key and more", b""] {
        written(&path);
        assert!(BlockJournal::open(&path, other).unwrap().is_empty());
        assert!(BlockJournal::open(&path, b"key").unwrap().is_empty(), "it stays empty");
    }
}

#[test]
fn a_journal_in_use_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slide.journal");
    let _open = BlockJournal::open(&path, b"key").unwrap();
    let error = BlockJournal::open(&path, b"key").unwrap_err().to_string();
    assert!(error.contains("slide.journal") && error.contains("another run"), "{error}");
}

/// `/dev/full` takes no byte: a disk without space.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error_that_names_the_file() {
    let mut journal = BlockJournal {
        path: "folder/slide.journal".into(),
        file: OpenOptions::new().write(true).open("/dev/full").unwrap(),
        end: 0,
        records: HashMap::new(),
    };
    let error = format!("{:#}", journal.append(0, &block(0)).unwrap_err());
    assert!(error.contains("folder/slide.journal") && error.contains("No space left"), "{error}");
    assert!(journal.is_empty());
}

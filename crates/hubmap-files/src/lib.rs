#![doc = include_str!("../README.md")]

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::fs::{File, TryLockError};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use tempfile::{Builder, TempPath};

/// Writers put out bytes of a few KiB at a time; network file systems want more at once.
const BUFFER_BYTES: usize = 1 << 20;

/// What names of files under way begin with; then comes their final name, [`MARK`] and a random part.
const UNFINISHED: &str = ".unfinished-";
const MARK: char = '~';
/// Bytes of the final name, and of its extension once more, that fit beside the rest into what file systems take.
const MAX_NAME_BYTES: usize = 160;
const MAX_EXTENSION_BYTES: usize = 40;

/// A file under way: buffered, seekable, and without its final name until [`PendingFile::commit`].
///
/// Dropped without it, the file is deleted.
#[derive(Debug)]
pub struct PendingFile {
    writer: BufWriter<File>,
    temporary: TempPath,
    path: PathBuf,
}

impl PendingFile {
    /// An empty file in the folder of `path`, which must exist.
    pub fn create(path: &Path) -> io::Result<Self> {
        let folder = folder_of(path);
        // Writers that are given the path may go by it.
        let extension = path.extension().map(|extension| extension.to_string_lossy());
        let suffix = extension.filter(|it| it.len() <= MAX_EXTENSION_BYTES).map(|it| format!(".{it}"));
        let mut builder = Builder::new();
        let prefix = format!("{UNFINISHED}{}{MARK}", beginning_of_name(path));
        builder.prefix(&prefix).suffix(suffix.as_deref().unwrap_or_default());
        // The default is a private file, which the rename would keep; the umask still applies.
        #[cfg(unix)]
        let readable = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        #[cfg(unix)]
        builder.permissions(readable);
        let (file, temporary) = builder.tempfile_in(folder)?.into_parts();
        Ok(Self { writer: BufWriter::with_capacity(BUFFER_BYTES, file), temporary, path: path.to_owned() })
    }

    /// The final name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the bytes are until then, for writers that want a path.
    pub fn temporary_path(&self) -> &Path {
        &self.temporary
    }

    /// The file behind the buffer, which is written out first, for positioned writes.
    pub fn file(&mut self) -> io::Result<&File> {
        self.writer.flush()?;
        Ok(self.writer.get_ref())
    }

    /// Writes out what is buffered and gives the file its name, over what was there.
    pub fn commit(mut self) -> io::Result<()> {
        self.writer.flush()?;
        self.temporary.persist(&self.path).map_err(|e| e.error)
    }
}

impl Write for PendingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl Seek for PendingFile {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.writer.seek(position)
    }
}

/// Writes a whole file; it appears, or replaces the old one, when all its bytes are on their way.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = PendingFile::create(path)?;
    file.write_all(bytes)?;
    file.commit()
}

/// As much of a file's name as files under way have in theirs.
fn beginning_of_name(path: &Path) -> String {
    let mut name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    name.truncate(name.floor_char_boundary(MAX_NAME_BYTES));
    name
}

/// Removes the files under way from a folder, which a writer that was killed leaves behind.
///
/// Only for folders that nobody is writing to. A folder that does not exist has none.
pub fn remove_unfinished(folder: &Path) -> io::Result<()> {
    remove_if(folder, |_| true)
}

/// Removes from the folders of `files` what a writer of these files that was killed left there.
///
/// For folders in which others write other files. Each folder is listed once.
pub fn remove_unfinished_of(files: &[PathBuf]) -> io::Result<()> {
    let mut names: HashMap<&Path, HashSet<String>> = HashMap::new();
    for file in files {
        names.entry(folder_of(file)).or_default().insert(beginning_of_name(file));
    }
    names.iter().try_for_each(|(folder, names)| remove_if(folder, |name| names.contains(name)))
}

/// Which of `files` are under way, in their order, or were when their writer was killed.
///
/// Each folder is listed once. One that does not exist has none.
pub fn are_under_way(files: &[PathBuf]) -> io::Result<Vec<bool>> {
    let mut found: HashMap<&Path, HashSet<String>> = HashMap::new();
    for file in files {
        if let Entry::Vacant(folder) = found.entry(folder_of(file)) {
            let names = unfinished_in(folder.key())?.into_iter().map(|(name, _)| name).collect();
            folder.insert(names);
        }
    }
    Ok(files.iter().map(|file| found[folder_of(file)].contains(&beginning_of_name(file))).collect())
}

/// Removes files under way of which the final name, as far as it is known, is wanted.
fn remove_if(folder: &Path, is_wanted: impl Fn(&str) -> bool) -> io::Result<()> {
    let unfinished = unfinished_in(folder)?.into_iter();
    unfinished.filter(|(name, _)| is_wanted(name)).try_for_each(|(_, path)| remove_if_there(&path))
}

/// Removes a file; one that is gone is no error, as network file systems list files for a while that another machine has
/// given their names.
fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The files under way in a folder: final names, as far as they are known, and where they are.
fn unfinished_in(folder: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let entries = match std::fs::read_dir(or_current(folder)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let Some(rest) = name.strip_prefix(UNFINISHED) else { continue };
        let name = rest.rsplit_once(MARK).map_or(rest, |(name, _)| name);
        found.push((name.to_owned(), entry.path()));
    }
    Ok(found)
}

/// The folder of a file.
fn folder_of(file: &Path) -> &Path {
    or_current(file.parent().unwrap_or(Path::new("")))
}

/// The folder of this name; without one, the current folder.
fn or_current(folder: &Path) -> &Path {
    if folder.as_os_str().is_empty() { Path::new(".") } else { folder }
}

/// Keeps other processes from writing to a folder, until it is dropped or the process ends, however that happens.
#[derive(Debug)]
pub struct FolderLock {
    file: File,
    /// Whether the file system has locks; without, nobody is kept from anything.
    pub is_effective: bool,
}

impl FolderLock {
    /// Takes the lock whose file is `path`, in a folder that exists, or `None` if another holds it.
    ///
    /// The file is made if needed and stays; it is always empty.
    pub fn take(path: &Path) -> io::Result<Option<Self>> {
        Self::take_with(path, File::try_lock)
    }

    /// Takes a part in the lock, or `None` if another holds it for itself: others may have parts as well.
    pub fn take_shared(path: &Path) -> io::Result<Option<Self>> {
        Self::take_with(path, File::try_lock_shared)
    }

    fn take_with(path: &Path, lock: fn(&File) -> Result<(), TryLockError>) -> io::Result<Option<Self>> {
        let file = File::options().create(true).truncate(false).read(true).write(true).open(path)?;
        match lock(&file) {
            Ok(()) => Ok(Some(Self { file, is_effective: true })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                Ok(Some(Self { file, is_effective: false }))
            }
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        // Closing the file is not enough while a child that is being started has a copy of it. Without an unlock that
        // succeeds, the lock ends with that.
        drop(self.file.unlock());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_by_one_until_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = FolderLock::take(&path).unwrap().unwrap();
        if held.is_effective {
            assert!(FolderLock::take(&path).unwrap().is_none());
        }
        drop(held);
        assert!(FolderLock::take(&path).unwrap().is_some());
        assert!(FolderLock::take(&folder.path().join("none/lock")).is_err());
    }

    #[test]
    fn parts_of_a_lock_exclude_a_holder_of_the_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let parts = [
            FolderLock::take_shared(&path).unwrap().unwrap(),
            FolderLock::take_shared(&path).unwrap().unwrap(),
        ];
        if parts.iter().all(|part| part.is_effective) {
            assert!(FolderLock::take(&path).unwrap().is_none());
            drop(parts);
            let whole = FolderLock::take(&path).unwrap().unwrap();
            assert!(FolderLock::take_shared(&path).unwrap().is_none());
            drop(whole);
        }
    }

    #[test]
    fn only_what_is_left_of_the_files_named_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let long = "x".repeat(240) + ".csv";
        let paths = ["a.csv", "a~b.csv", &long, "c.csv"].map(|name| folder.path().join(name));
        for path in &paths {
            let mut file = PendingFile::create(path).unwrap();
            file.write_all(b"half").unwrap();
            std::mem::forget(file);
        }
        let with_others =
            [paths.as_slice(), &[folder.path().join("d.csv"), folder.path().join("none/a.csv")]].concat();
        assert_eq!(are_under_way(&with_others).unwrap(), [true, true, true, true, false, false]);
        remove_unfinished_of(&paths[1..3]).unwrap();
        assert_eq!(are_under_way(&paths).unwrap(), [true, false, false, true]);
        remove_unfinished_of(&[folder.path().join("none/a.csv")]).unwrap();
        let left = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut left: Vec<_> = left.map(|name| name.to_string_lossy()[..14].to_owned()).collect();
        left.sort();
        assert_eq!(left, [".unfinished-a.", ".unfinished-c."]);
        remove_unfinished(folder.path()).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_gone_already_is_removed_and_what_cannot_be_removed_is_told() {
        let folder = tempfile::tempdir().unwrap();
        remove_if_there(&folder.path().join(".unfinished-a.csv~b.csv")).unwrap();
        assert!(remove_if_there(folder.path()).is_err(), "a folder is no file");
    }

    #[test]
    fn a_dropped_file_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        let mut file = PendingFile::create(&path).unwrap();
        file.write_all(b"half").unwrap();
        drop(file);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_committed_file_replaces_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        write_whole(&path, b"old").unwrap();
        write_whole(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_killed_writer_leaves_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        write_whole(&folder.path().join("a.csv"), b"whole").unwrap();
        let mut file = PendingFile::create(&folder.path().join("b.csv")).unwrap();
        file.write_all(b"half").unwrap();
        std::mem::forget(file);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
        remove_unfinished(folder.path()).unwrap();
        remove_unfinished(&folder.path().join("none")).unwrap();
        let names = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(names.collect::<Vec<_>>(), ["a.csv"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_committed_file_has_the_permissions_of_a_new_one() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (ours, plain) = (folder.path().join("ours"), folder.path().join("plain"));
        write_whole(&ours, b"").unwrap();
        std::fs::write(&plain, b"").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
    }

    #[test]
    fn a_lock_ends_though_another_has_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = FolderLock::take(&path).unwrap().unwrap();
        // As a child process has it while it is being started.
        let _of_a_child = held.file.try_clone().unwrap();
        drop(held);
        assert!(FolderLock::take(&path).unwrap().is_some(), "the next run would be refused");
    }

    #[test]
    fn a_file_system_without_locks_keeps_nobody_out_and_other_trouble_is_an_error() {
        fn error(kind: io::ErrorKind) -> Result<(), TryLockError> {
            Err(TryLockError::Error(kind.into()))
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let lock = FolderLock::take_with(&path, |_| error(io::ErrorKind::Unsupported)).unwrap().unwrap();
        assert!(!lock.is_effective);
        assert!(FolderLock::take_with(&path, |_| error(io::ErrorKind::PermissionDenied)).is_err());
    }

    #[test]
    fn names_of_any_length_and_letters_are_written_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        // 255 bytes, what file systems take; letters of two and three bytes across the cut.
        let names = [
            "x".repeat(250) + ".tiff",
            format!("x{}", "é".repeat(127)),
            format!("xx{}.csv", "字".repeat(82)),
            format!("a.{}", "b".repeat(253)),
            "no extension".to_owned(),
        ];
        for path in names.iter().map(|name| folder.path().join(name)) {
            let file = PendingFile::create(&path).unwrap();
            std::mem::forget(file);
            remove_unfinished_of(std::slice::from_ref(&path)).unwrap();
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
            write_whole(&path, b"whole").unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), b"whole");
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn writers_that_go_by_names_see_the_extension_and_all_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tiff");
        let mut file = PendingFile::create(&path).unwrap();
        assert_eq!(file.temporary_path().extension(), path.extension());
        file.write_all(b"1234").unwrap();
        assert_eq!(file.file().unwrap().metadata().unwrap().len(), 4);
    }

    /// A full disk shows only when the buffer is written out.
    #[test]
    fn a_file_whose_end_could_not_be_written_does_not_appear() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        let mut file = PendingFile::create(&path).unwrap();
        // Takes bytes into the buffer, but no disk takes them from there.
        let read_only = File::open(file.temporary_path()).unwrap();
        file.writer = BufWriter::with_capacity(BUFFER_BYTES, read_only);
        file.write_all(b"the end").unwrap();
        assert!(file.commit().is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_missing_folder_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(write_whole(&folder.path().join("none/a.csv"), b"").is_err());
    }
}

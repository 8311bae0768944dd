//! What a user who made a slip may have meant.

use std::path::{Path, PathBuf};

use anyhow::anyhow;

use crate::outcome::UsageError;

/// Names less alike than this are another word, not a slip.
const LEAST_LIKENESS: f64 = 0.5;

/// How alike two words are, 0 to 1: one slip, even a swap of neighbours, takes one letter's share away.
pub(crate) fn likeness(a: &str, b: &str) -> f64 {
    strsim::normalized_damerau_levenshtein(&a.to_lowercase(), &b.to_lowercase())
}

/// The most alike of some names, unless all are far off.
pub(crate) fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let scored = names.into_iter().map(|name| (likeness(word, name), name));
    // Of equals the first.
    let best = scored.fold(None, |best: Option<(f64, &str)>, next| match best {
        Some(best) if best.0 >= next.0 => Some(best),
        _ => Some(next),
    });
    best.filter(|(likeness, _)| *likeness >= LEAST_LIKENESS).map(|(_, name)| name)
}

/// Refuses inputs that are not there, each with the nearest name that is: every file or folder that a user names to be
/// read goes through this first.
///
/// # Errors
///
/// A [`UsageError`] that names the path.
pub fn check_inputs<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> anyhow::Result<()> {
    paths.into_iter().try_for_each(|path| check_input(path.as_ref()))
}

/// Refuses a file to be written that cannot be, which users want to know before hours of work and not after them: one in a
/// folder that is not there, one that is a folder, and one that is among the files to be read.
///
/// # Errors
///
/// A [`UsageError`] that names the path.
pub fn check_output<P: AsRef<Path>>(path: &Path, inputs: impl IntoIterator<Item = P>) -> anyhow::Result<()> {
    let refuse = |path: &Path, why: &str| Err(UsageError::mark(anyhow!("{} {why}", path.display())));
    if path.is_dir() {
        return refuse(path, "is a folder: name a file to write");
    }
    if let Some(folder) = folder_of(path).filter(|folder| !folder.is_dir()) {
        check_input(folder)?;
        return refuse(folder, "is no folder");
    }
    // A path that is not there is nobody's.
    if let Ok(output) = path.canonicalize()
        && inputs.into_iter().any(|input| input.as_ref().canonicalize().is_ok_and(|input| input == output))
    {
        return refuse(path, "is the file to read: name another one to write");
    }
    Ok(())
}

fn check_input(path: &Path) -> anyhow::Result<()> {
    match std::fs::metadata(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let shown = path.display();
            if let Some((scheme, _)) = path.to_str().and_then(|text| text.split_once("://")) {
                return Err(UsageError::mark(anyhow!(
                    "{shown}: only slides are read from {scheme}:// addresses, by executables that take --slides; \
                     mount this or copy it here"
                )));
            }
            Err(UsageError::mark(match nearest_path(path) {
                Some(near) => anyhow!("no such file or folder: {shown}; did you mean {}?", near.display()),
                None => match missing_folder(path) {
                    Some(folder) => {
                        anyhow!("no such file or folder: {shown}; there is no folder {}", folder.display())
                    }
                    None => anyhow!("no such file or folder: {shown}"),
                },
            }))
        }
        Err(error) => Err(UsageError::mark(anyhow!("cannot open {}: {error}", path.display()))),
    }
}

/// The folder that holds a path.
fn folder_of(path: &Path) -> Option<&Path> {
    let folder = path.parent()?;
    Some(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })
}

/// The outermost folder on the way to a path that is missing.
fn missing_folder(path: &Path) -> Option<&Path> {
    path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()).last()
}

/// A path with its wrong name replaced by the nearest in that folder, if that is there.
fn nearest_path(path: &Path) -> Option<PathBuf> {
    let wrong = missing_folder(path).unwrap_or(path);
    let rest = path.strip_prefix(wrong).ok()?;
    let name = wrong.file_name()?.to_str()?;
    let folder = folder_of(wrong)?;
    let entries = std::fs::read_dir(folder).ok()?.filter_map(Result::ok);
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    // Folders are listed in any order.
    names.sort();
    let names = names.iter().map(String::as_str).filter(|known| with_rest(folder, known, rest).exists());
    let stem = |name: &str| Path::new(name).file_stem().map(|stem| stem.to_string_lossy().into_owned());
    // `slide.tif` for `slide.tiff`, `slide.svs` or `slide`: an ending is easily wrong.
    let of_this_stem = names.clone().find(|known| stem(known) == stem(name) && *known != name);
    let near = of_this_stem.or_else(|| nearest(name, names))?;
    Some(with_rest(if folder == Path::new(".") { Path::new("") } else { folder }, near, rest))
}

fn with_rest(folder: &Path, name: &str, rest: &Path) -> PathBuf {
    let path = folder.join(name);
    // Joining nothing would leave a slash.
    if rest.as_os_str().is_empty() { path } else { path.join(rest) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(path: &Path) -> String {
        let error = check_inputs([path]).unwrap_err();
        assert!(error.downcast_ref::<UsageError>().is_some());
        error.to_string()
    }

    #[test]
    fn the_nearest_name_wins_and_far_ones_are_not_named() {
        let names = ["epochs", "batch_size", "seed"];
        assert_eq!(nearest("epohcs", names), Some("epochs"));
        assert_eq!(nearest("BATCHSIZE", names), Some("batch_size"));
        assert_eq!(nearest("weights", names), None);
        assert_eq!(nearest("x", []), None);
        assert_eq!(nearest("ab", ["aa", "bb"]), Some("aa"));
    }

    #[test]
    fn files_that_cannot_be_written_are_refused_before_the_work() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let refused = |output: &str, inputs: &[&str]| {
            let error = check_output(&path(output), inputs.iter().map(|name| path(name))).unwrap_err();
            assert!(error.downcast_ref::<UsageError>().is_some());
            error.to_string()
        };
        std::fs::create_dir(path("masks")).unwrap();
        std::fs::write(path("slide.tiff"), "").unwrap();
        std::fs::write(path("old.tiff"), "").unwrap();
        assert!(refused("masks", &[]).ends_with("masks is a folder: name a file to write"));
        assert!(refused("mask/a.tiff", &[]).contains("mask; did you mean"));
        assert!(refused("slide.tiff/a.tiff", &[]).ends_with("slide.tiff is no folder"));
        assert!(refused("masks/../slide.tiff", &["old.tiff", "slide.tiff"]).contains("is the file to read"));
        for output in ["new.tiff", "old.tiff"] {
            check_output(&path(output), [path("slide.tiff"), path("none.tiff")]).unwrap();
        }
        check_output(Path::new("new.tiff"), None::<&Path>).unwrap();
    }

    #[test]
    fn missing_inputs_are_named_with_the_nearest_that_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(path("HUBMAP/test")).unwrap();
        std::fs::create_dir_all(path("HUBMAP/train")).unwrap();
        std::fs::write(path("HUBMAP/test/2ec3f1bb9.tiff"), "").unwrap();
        check_inputs([path("HUBMAP"), path("HUBMAP/test/2ec3f1bb9.tiff")]).unwrap();
        for (wrong, right) in [
            ("HUBMAP/tets", "HUBMAP/test"),
            ("HUBMPA/test/2ec3f1bb9.tiff", "HUBMAP/test/2ec3f1bb9.tiff"),
            ("HUBMAP/test/2ec3f1bb9.svs", "HUBMAP/test/2ec3f1bb9.tiff"),
            ("HUBMAP/test/2ec3f1bb9", "HUBMAP/test/2ec3f1bb9.tiff"),
        ] {
            let (wrong, right) = (path(wrong), path(right));
            let expected =
                format!("no such file or folder: {}; did you mean {}?", wrong.display(), right.display());
            assert_eq!(message(&wrong), expected);
        }
        let far = path("HUBMAP/validation/of/all");
        assert!(message(&far).ends_with(&format!("no folder {}", path("HUBMAP/validation").display())));
        // `train` is near, but has no such slide.
        let near = path("HUBMAP/trian/2ec3f1bb9.tiff");
        assert!(!message(&near).contains("did you mean"), "{}", message(&near));
        assert!(message(&path("HUBMAP/zzz")).ends_with("HUBMAP/zzz"));
    }

    #[test]
    fn names_without_a_folder_are_looked_up_here() {
        // Tests run in the folder of their package.
        assert_eq!(
            message(Path::new("Cargo.tmol")),
            "no such file or folder: Cargo.tmol; did you mean Cargo.toml?"
        );
    }

    #[test]
    fn addresses_of_what_is_no_slide_are_no_missing_files() {
        assert!(message(Path::new("s3://bucket/run")).contains("only slides are read from s3:// addresses"));
    }
}

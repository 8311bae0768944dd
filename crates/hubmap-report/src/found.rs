//! What the named folders are.

use std::path::{Path, PathBuf};

use crate::ReportError;

/// Folders of each kind, and what lies beside them.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Found {
    /// A run folder of training.
    pub(crate) run: Option<PathBuf>,
    /// An output folder of inference or of an ensemble.
    pub(crate) predictions: Option<PathBuf>,
    /// The truth of the slides of a demo folder.
    pub(crate) truth: Option<PathBuf>,
    /// Where else slides may be.
    pub(crate) slides: Vec<PathBuf>,
    /// What was left out.
    pub(crate) notes: Vec<String>,
}

/// What a folder of `hubmap-demo` keeps of the competition's folder.
const DEMO_INPUT: &str = "input/HUBMAP";

impl Found {
    /// Tells the folders apart by what they contain.
    pub(crate) fn look(inputs: &[PathBuf]) -> Result<Self, ReportError> {
        let mut found = Self::default();
        if inputs.is_empty() {
            return Err(ReportError::NothingNamed);
        }
        for input in inputs {
            let is_inside = input.file_name().is_some_and(|name| name == "predicts");
            let folder = input.parent().filter(|parent| !parent.as_os_str().is_empty());
            let input = if is_inside { folder.unwrap_or(Path::new(".")) } else { input };
            let (run, predictions) = (is_run(input), is_predictions(input)?);
            if run {
                found.set_run(input)?;
            }
            if predictions {
                found.set_predictions(input)?;
            }
            if !run && !predictions {
                found.look_into(input)?;
            }
        }
        Ok(found)
    }

    /// Takes the newest run and the newest predictions of a folder of such folders, as `hubmap-demo` makes it.
    fn look_into(&mut self, folder: &Path) -> Result<(), ReportError> {
        let mut runs = Vec::new();
        let mut predictions = Vec::new();
        for child in folders(folder)? {
            let grandchildren = folders(&child)?;
            for path in std::iter::once(child).chain(grandchildren) {
                if is_run(&path) {
                    runs.push(path.clone());
                }
                if is_predictions(&path)? {
                    predictions.push(path);
                }
            }
        }
        if runs.is_empty() && predictions.is_empty() {
            return Err(ReportError::NothingInFolder { path: folder.to_owned() });
        }
        // Names of runs are times.
        runs.sort();
        predictions.sort_by_key(|path| (modified(&path.join("summary.json")), path.clone()));
        for (kind, paths) in [("run", &mut runs), ("output", &mut predictions)] {
            if let Some(newest) = paths.pop() {
                if !paths.is_empty() {
                    let n = paths.len();
                    self.notes
                        .push(format!("{n} older {kind} folders in {} are left out.", folder.display()));
                }
                match kind {
                    "run" => self.set_run(&newest)?,
                    _ => self.set_predictions(&newest)?,
                }
            }
        }
        let input = folder.join(DEMO_INPUT);
        self.truth =
            self.truth.take().or_else(|| Some(input.join("truth.csv")).filter(|path| path.is_file()));
        self.slides.extend(Some(input.join("test")).filter(|path| path.is_dir()));
        Ok(())
    }

    fn set_run(&mut self, path: &Path) -> Result<(), ReportError> {
        set(&mut self.run, "run folder", path)
    }

    fn set_predictions(&mut self, path: &Path) -> Result<(), ReportError> {
        set(&mut self.predictions, "output folder", path)
    }
}

fn set(place: &mut Option<PathBuf>, kind: &'static str, path: &Path) -> Result<(), ReportError> {
    match place {
        Some(first) if first != path => {
            Err(ReportError::TwoOfAKind { kind, first: first.clone(), second: path.to_owned() })
        }
        _ => {
            *place = Some(path.to_owned());
            Ok(())
        }
    }
}

fn is_run(folder: &Path) -> bool {
    folder.join("config.toml").is_file()
}

fn is_predictions(folder: &Path) -> Result<bool, ReportError> {
    if folder.join("summary.json").is_file() || folder.join("predicts").is_dir() {
        return Ok(true);
    }
    Ok(entries(folder)?.iter().any(|path| {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        name.starts_with(b"submission__") && name.ends_with(b".csv")
    }))
}

/// Folders in a folder, hidden ones aside.
fn folders(folder: &Path) -> Result<Vec<PathBuf>, ReportError> {
    let mut folders = entries(folder)?;
    folders.retain(|path| {
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        !hidden && path.is_dir()
    });
    Ok(folders)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, ReportError> {
    let list =
        || std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>();
    let mut entries = list().map_err(|source| ReportError::Folder { path: folder.to_owned(), source })?;
    entries.sort();
    Ok(entries)
}

/// When a file was last written, if it is there and the file system says so.
pub(crate) fn modified(path: &Path) -> Option<std::time::SystemTime> {
    std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(folder: &Path, files: &[&str]) {
        for file in files {
            let path = folder.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
    }

    #[test]
    fn folders_are_told_apart_by_what_they_contain() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        place(
            dir.path(),
            &["run/config.toml", "out/summary.json", "table/submission__0.5.csv", "bare/predicts/raw/a.npy"],
        );
        let look = |names: &[&str]| Found::look(&names.iter().map(|name| at(name)).collect::<Vec<_>>());
        let found = look(&["run", "out"]).unwrap();
        assert_eq!((found.run, found.predictions), (Some(at("run")), Some(at("out"))));
        for (name, folder) in [("table", "table"), ("bare", "bare"), ("bare/predicts", "bare")] {
            let found = look(&[name, "run"]).unwrap();
            assert_eq!((found.run, found.predictions), (Some(at("run")), Some(at(folder))), "{name}");
        }
        assert!(matches!(
            look(&["out", "table"]),
            Err(ReportError::TwoOfAKind { kind: "output folder", .. })
        ));
        assert!(look(&["out", "out"]).is_ok());
        assert!(matches!(look(&["none"]), Err(ReportError::Folder { .. })));
        assert!(matches!(look(&["bare/predicts/raw"]), Err(ReportError::NothingInFolder { .. })));
        assert!(matches!(look(&[]), Err(ReportError::NothingNamed)));
    }

    #[test]
    fn a_demo_folder_is_taken_whole_with_its_newest_run() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        place(
            dir.path(),
            &[
                "output/2026_11_02/config.toml",
                "output/2026_11_10/config.toml",
                "results/summary.json",
                "input/HUBMAP/truth.csv",
                "input/HUBMAP/test/a.tiff",
                ".hidden/config.toml",
            ],
        );
        let found = Found::look(&[dir.path().to_owned()]).unwrap();
        assert_eq!(found.run, Some(at("output/2026_11_10")));
        assert_eq!(found.predictions, Some(at("results")));
        assert_eq!(found.truth, Some(at("input/HUBMAP/truth.csv")));
        assert_eq!(found.slides, [at("input/HUBMAP/test")]);
        assert_eq!(found.notes.len(), 1);
        assert!(found.notes[0].starts_with("1 older run folders"));
    }
}

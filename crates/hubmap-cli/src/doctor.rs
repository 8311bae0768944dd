//! Whether this build and this machine do what hubmap needs: the checks of `hubmap-doctor` that need no networks.

mod codecs;
mod machine;
mod speed;

use std::io;
use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value};
use tempfile::TempDir;

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, but slowly or not for everything.
    Warn,
    /// Work will fail.
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    /// What it is about, in a word or two.
    pub name: String,
    /// How it came out.
    pub verdict: Verdict,
    /// What was found, for a person.
    pub found: String,
    /// What to do about it, unless all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The numbers behind `found`, for programs, with units in their names.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub values: Map<String, Value>,
}

impl Check {
    /// A check that found what it should.
    pub fn ok(name: &str, found: impl Into<String>) -> Self {
        let (name, found) = (name.to_owned(), found.into());
        Self { name, verdict: Verdict::Ok, found, hint: None, values: Map::new() }
    }

    /// The same as a warning, with what to do.
    #[must_use]
    pub fn warn(self, hint: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warn, hint: Some(hint.into()), ..self }
    }

    /// The same as a failure, with what to do.
    #[must_use]
    pub fn fail(self, hint: impl Into<String>) -> Self {
        Self { verdict: Verdict::Fail, hint: Some(hint.into()), ..self }
    }

    /// The same with a number or a word for programs.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.values.insert(key.to_owned(), value.into());
        self
    }

    /// The check as lines of text.
    pub fn lines(&self) -> String {
        let verdict = match self.verdict {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
        };
        let hint =
            self.hint.as_ref().map(|hint| format!("\n                     {hint}")).unwrap_or_default();
        format!("{verdict:<5}{:<16}{}{hint}", self.name, self.found)
    }
}

/// Everything but networks: build, processor, memory, disk, codecs, and the speed at which a slide is written and read.
///
/// Files are made in `folder`, where results would be written, and are gone afterwards. Takes about five seconds.
pub fn checks(folder: &Path) -> Vec<Check> {
    let mut checks = vec![machine::build(), machine::processor(), machine::cores(), machine::memory()];
    checks.push(machine::disk(folder));
    checks.extend(codecs::checks(folder));
    checks.extend(speed::checks(folder));
    checks
}

/// A folder for what is written; nothing else may be writable, in a container.
fn place_in(folder: &Path) -> io::Result<TempDir> {
    tempfile::Builder::new().prefix(".hubmap-doctor-").tempdir_in(folder)
}

/// A check that could not write to the folder.
fn cannot_write(name: &str, error: &anyhow::Error) -> Check {
    Check::ok(name, format!("{error:#}"))
        .fail("name a folder that can be written to: hubmap-doctor --dir DIR")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_shown_with_its_hint() {
        let check = Check::ok("memory", "1 GiB").with("free_gib", 1);
        assert_eq!(check.lines(), "ok   memory          1 GiB");
        let check = check.warn("buy some");
        assert_eq!(check.lines(), "warn memory          1 GiB\n                     buy some");
        let json = serde_json::to_value(check.fail("buy more")).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "name": "memory", "verdict": "fail", "found": "1 GiB", "hint": "buy more",
                "values": { "free_gib": 1 },
            })
        );
    }

    #[test]
    fn this_machine_is_fit_to_run_tests() {
        let folder = tempfile::tempdir().unwrap();
        let checks = checks(folder.path());
        let failed: Vec<_> = checks.iter().filter(|check| check.verdict == Verdict::Fail).collect();
        assert!(failed.is_empty(), "{failed:?}");
        let names: Vec<&str> = checks.iter().map(|check| check.name.as_str()).collect();
        assert_eq!(
            names,
            ["build", "processor", "cores", "memory", "disk", "codecs", "features", "writing", "reading"]
        );
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_cannot_be_written_fails() {
        let checks = checks(Path::new("/no/such/folder"));
        let verdict = |name: &str| checks.iter().find(|check| check.name == name).map(|check| check.verdict);
        assert_eq!(verdict("writing"), Some(Verdict::Fail));
        // And not the build's fault.
        let codecs = checks.iter().find(|check| check.name == "codecs").unwrap();
        assert!(codecs.hint.as_ref().unwrap().contains("--dir"), "{codecs:?}");
        assert_eq!(verdict("disk"), Some(Verdict::Fail));
        assert_eq!(verdict("reading"), None);
    }
}

//! Lists of slides in a file.

use std::collections::HashMap;
use std::io::BufRead;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::id::{is_address, slide_id};

/// A slide of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct ManifestEntry {
    /// Names the slide's outputs: that of the list, or [`slide_id`].
    pub id: String,
    /// The slide's file, or an address with a scheme such as `s3://`.
    pub path: PathBuf,
    /// Resolution, where the file states none or a wrong one.
    pub microns_per_px: Option<f64>,
    /// Size of the file, for dividing the list: who has it here need not ask for it.
    pub bytes: Option<u64>,
}

/// A list that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// The file cannot be read.
    #[error("cannot read the list of slides {path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line that says nothing sensible.
    #[error("{path}, line {line}: {message}", path = path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong.
        message: String,
    },
    /// A list of nothing, or a file of another kind.
    #[error("{path}: {message}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
}

/// A line as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    #[serde(default)]
    id: Option<String>,
    path: PathBuf,
    #[serde(default)]
    microns_per_px: Option<f64>,
    #[serde(default)]
    bytes: Option<u64>,
}

/// Reads a list of slides: a CSV file with the columns `path` and, if wanted, `id`, `microns_per_px` and `bytes`, or
/// (`.jsonl`) a JSON object with these keys on every line.
///
/// Paths are relative to the folder of the list. Empty lines are skipped.
///
/// # Errors
///
/// A line that cannot be understood, an id that comes twice or cannot name a file, a resolution that is not positive, and
/// a list without slides; they name the line.
pub fn read_manifest(path: &Path) -> Result<Vec<ManifestEntry>, ManifestError> {
    let is_json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("jsonl"));
    let rows = if is_json { json_rows(path)? } else { csv_rows(path)? };
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut lines = HashMap::new();
    let mut entries = Vec::with_capacity(rows.len());
    for (line, row) in rows {
        let error = |message: String| ManifestError::Line { path: path.to_owned(), line, message };
        let entry = entry(row, folder).map_err(error)?;
        if let Some(first) = lines.insert(entry.id.clone(), line) {
            return Err(error(format!(
                "the id {} is that of line {first}, too; their outputs would overwrite each other",
                entry.id
            )));
        }
        entries.push(entry);
    }
    if entries.is_empty() {
        return Err(ManifestError::File { path: path.to_owned(), message: "lists no slides".to_owned() });
    }
    Ok(entries)
}

fn entry(row: Row, folder: &Path) -> Result<ManifestEntry, String> {
    if row.path.as_os_str().is_empty() {
        return Err("the path is empty".to_owned());
    }
    let id = if let Some(id) = row.id.filter(|id| !id.is_empty()) {
        id
    } else {
        // What follows a `?` may be secret.
        let shown = || row.path.display().to_string().split('?').next().unwrap_or_default().to_owned();
        slide_id(&row.path).ok_or_else(|| format!("{} has no name to take an id from", shown()))?
    };
    if id.starts_with('.') || id.contains(['/', '\\', '\0', '\n', '\r']) {
        return Err(format!("the id `{}` cannot be the name of a file", id.escape_debug()));
    }
    if let Some(resolution) = row.microns_per_px
        && !(resolution.is_finite() && resolution > 0.0)
    {
        return Err(format!("microns_per_px is {resolution}: it must be greater than 0"));
    }
    let is_address = row.path.to_str().is_some_and(is_address);
    let path = if is_address { row.path } else { folder.join(row.path) };
    Ok(ManifestEntry { id, path, microns_per_px: row.microns_per_px, bytes: row.bytes })
}

/// Rows with their lines.
fn csv_rows(path: &Path) -> Result<Vec<(u64, Row)>, ManifestError> {
    let io = |source| ManifestError::Io { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(io)?;
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(file);
    let headers = match reader.headers() {
        Ok(headers) => headers.clone(),
        Err(error) => return Err(csv_error(path, error)),
    };
    if !headers.iter().any(|name| name == "path") {
        let found: Vec<&str> = headers.iter().collect();
        return Err(ManifestError::File {
            path: path.to_owned(),
            message: format!(
                "the first line is `{}`, but must name the columns: path, and if wanted id, microns_per_px and bytes",
                found.join(",")
            ),
        });
    }
    let mut rows = Vec::new();
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(|error| csv_error(path, error))? {
        let line = record.position().map_or(0, csv::Position::line);
        let row = record.deserialize(Some(&headers)).map_err(|error| csv_error(path, error))?;
        rows.push((line, row));
    }
    Ok(rows)
}

fn csv_error(path: &Path, error: csv::Error) -> ManifestError {
    let line = error.position().map(csv::Position::line);
    let message = match error.into_kind() {
        csv::ErrorKind::Io(source) => return ManifestError::Io { path: path.to_owned(), source },
        csv::ErrorKind::Deserialize { err, .. } => err.kind().to_string(),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("{len} values, where the first line has {expected_len}")
        }
        csv::ErrorKind::Utf8 { .. } => "not UTF-8".to_owned(),
        _ => "not CSV".to_owned(),
    };
    match line {
        Some(line) => ManifestError::Line { path: path.to_owned(), line, message },
        None => ManifestError::File { path: path.to_owned(), message },
    }
}

fn json_rows(path: &Path) -> Result<Vec<(u64, Row)>, ManifestError> {
    let io = |source| ManifestError::Io { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(io)?;
    let mut rows = Vec::new();
    for (line, text) in (1..).zip(std::io::BufReader::new(file).lines()) {
        let text = text.map_err(io)?;
        if text.trim().is_empty() {
            continue;
        }
        let row = serde_json::from_str(&text).map_err(|error| ManifestError::Line {
            path: path.to_owned(),
            line,
            message: error.to_string(),
        })?;
        rows.push((line, row));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> Result<Vec<ManifestEntry>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let entries = read_manifest(&path).map_err(|error| error.to_string())?;
        // Without the folder that is another one each time.
        let relative = |entry: ManifestEntry| {
            let path =
                entry.path.strip_prefix(folder.path()).map(Path::to_owned).unwrap_or(entry.path.clone());
            ManifestEntry { path, ..entry }
        };
        Ok(entries.into_iter().map(relative).collect())
    }

    fn entry(id: &str, path: &str, microns_per_px: Option<f64>) -> ManifestEntry {
        ManifestEntry { id: id.to_owned(), path: path.into(), microns_per_px, bytes: None }
    }

    #[test]
    fn both_forms_say_the_same() {
        let expected = [
            entry("a", "slides/a.svs", None),
            entry("other, name", "/archive/b.tiff", Some(0.25)),
            entry("c", "s3://bucket/c.tiff", None),
            entry("d e", "https://host/d%20e.tiff?signature=a.b", None),
        ];
        let csv = "id,path,microns_per_px\n,slides/a.svs,\n\"other, name\", /archive/b.tiff,0.25\n\nc,s3://bucket/c.tiff,\n\
            ,https://host/d%20e.tiff?signature=a.b,\n";
        assert_eq!(read("slides.csv", csv).unwrap(), expected);
        let json = "{\"path\": \"slides/a.svs\"}\n\n\
            {\"id\": \"other, name\", \"path\": \"/archive/b.tiff\", \"microns_per_px\": 0.25}\n\
            {\"id\": null, \"path\": \"s3://bucket/c.tiff\"}\n\
            {\"path\": \"https://host/d%20e.tiff?signature=a.b\"}\n";
        assert_eq!(read("slides.jsonl", json).unwrap(), expected);
        assert_eq!(read("list", "path\na.tiff\n").unwrap(), [entry("a", "a.tiff", None)]);
    }

    #[test]
    fn sizes_are_taken_where_they_are_given() {
        let csv = "path,bytes\na.svs,20000000000\nb.svs,\nc.svs,0\n";
        let json = "{\"path\": \"a.svs\", \"bytes\": 20000000000}\n{\"path\": \"b.svs\"}\n\
            {\"path\": \"c.svs\", \"bytes\": 0}\n";
        for (name, text) in [("s.csv", csv), ("s.jsonl", json)] {
            let sizes: Vec<_> = read(name, text).unwrap().into_iter().map(|entry| entry.bytes).collect();
            assert_eq!(sizes, [Some(20_000_000_000), None, Some(0)], "{name}");
        }
    }

    #[test]
    fn wrong_lists_are_refused_by_line() {
        for (name, text, words) in [
            ("s.csv", "id,path\na,a.tiff\na,b/a.tiff\n", "line 3: the id a is that of line 2"),
            ("s.csv", "path\n../a.tiff\nb/a.svs\n", "line 3: the id a is that of line 2"),
            ("s.csv", "path\n", "lists no slides"),
            ("s.csv", "", "must name the columns"),
            ("s.csv", "a.tiff\nb.tiff\n", "`a.tiff`, but must name the columns: path"),
            ("s.csv", "id,path\na\n", "line 2: 1 values, where the first line has 2"),
            ("s.csv", "id,path\na,\n", "line 2: the path is empty"),
            ("s.csv", "id,path\na/b,a.tiff\n", "line 2: the id `a/b`"),
            ("s.csv", "path\nhttps://host/?s3cret\n", "line 2: https://host/ has no name"),
            ("s.csv", "path,microns_per_px\na.tiff,wide\n", "line 2: "),
            ("s.csv", "path,microns_per_px\na.tiff,-1\n", "greater than 0"),
            ("s.csv", "path,mpp\na.tiff,1\n", "mpp"),
            ("s.csv", "path,bytes\na.tiff,-1\n", "line 2: "),
            ("s.csv", "path,bytes\na.tiff,2 GB\n", "line 2: "),
            ("s.jsonl", "{\"path\": \"a.tiff\", \"bytes\": -1}\n", "line 1: "),
            ("s.jsonl", "{\"path\": \"a.tiff\"}\n{\"path\": 3}\n", "line 2: "),
            ("s.jsonl", "{\"path\": \"a.tiff\", \"mpp\": 1}\n", "unknown field `mpp`"),
            ("s.jsonl", "\n", "lists no slides"),
        ] {
            let message = read(name, text).unwrap_err();
            assert!(message.contains(words) && message.contains(name), "{text:?}: {message}");
        }
        let missing = read_manifest(Path::new("/nowhere/s.csv")).unwrap_err().to_string();
        assert!(missing.contains("/nowhere/s.csv"), "{missing}");
    }
}

//! Reading annotation files.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::Feature;
use super::geojson::parse_feature;
use super::scan::{Place, ScanError, Scanner};
use super::source::{Source, SourceError};
use crate::{Error, Result};

/// The longest text of one feature: an outline of about fifty million vertices.
const MAX_FEATURE_BYTES: usize = 1 << 30;

/// Reads the annotations of a slide in the order of the file.
///
/// What is read, and what is an error, is described at [`AnnotationReader`], which does the same without
/// holding all features in memory.
pub fn read_annotations(path: &Path) -> Result<Vec<Feature>> {
    AnnotationReader::open(path)?.collect()
}

/// The features of an annotation file one after the other.
///
/// Memory is bounded by the text of the longest feature, not by the file, and a feature is handed out before
/// the next one is read.
///
/// The file is a JSON array of features, a `FeatureCollection` or a single `Feature`, plain or compressed by
/// gzip whatever its name says, in UTF-8 with or without a byte order mark.
/// A bare geometry counts as a feature.
///
/// - Geometries are polygons and multi-polygons with holes and fractional vertices, also within a
///   `GeometryCollection`; a third coordinate is dropped, and a geometry without a `type` is told by the depth of
///   its coordinates.
///   A point, a line, an empty polygon or no geometry at all gives a feature without polygons.
/// - Classes, kinds and measurements are read in the forms of QuPath 0.2 to 0.6; objects nested within an object
///   (`childObjects`) follow it.
/// - `NaN` and `Infinity`, which QuPath writes for measurements without a value though JSON has no such numbers,
///   are left out; as a coordinate they are an error.
/// - Members that are not known are skipped.
///
/// An error names the file and, where it is one feature's fault, the number of that feature, from 0, with its
/// line and column.
/// It is the last item: what follows a broken feature is not read.
///
/// ```
/// use hubmap_io::AnnotationReader;
///
/// let text = r#"[{"type":"Feature","geometry":{"type":"Polygon","coordinates":[[[0,0],[4,0],[4,3],[0,0]]]}}]"#;
/// let mut area = 0.0;
/// for feature in AnnotationReader::new("triangle.json".as_ref(), text.as_bytes())? {
///     area += feature?.area();
/// }
/// assert_eq!(area, 6.0);
/// # Ok::<(), hubmap_io::Error>(())
/// ```
#[derive(Debug)]
pub struct AnnotationReader<R> {
    path: PathBuf,
    scanner: Scanner<Source<R>>,
    state: State,
    /// How many features of the list, or the root, have been read.
    n_read: usize,
    /// Features of the last one read that were not handed out yet.
    features: VecDeque<Feature>,
}

/// Where in the file the reader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    /// In the list of features; is it a member of an object?
    List {
        in_object: bool,
    },
    End,
}

/// Why there is no feature, of the list or of the file.
enum Problem {
    Scan(ScanError),
    OfFeature(String),
    OfFile(String),
}

impl From<ScanError> for Problem {
    fn from(error: ScanError) -> Self {
        Self::Scan(error)
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self::Scan(ScanError::Io(error))
    }
}

impl AnnotationReader<File> {
    /// Opens a file.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|source| Error::io(path, "open", source))?;
        Self::new(path, file)
    }
}

impl<R: Read> AnnotationReader<R> {
    /// Reads from any source of bytes; `path` is the name of it in errors.
    ///
    /// A buffer around `reader` is of no use: it is read in large blocks.
    pub fn new(path: &Path, reader: R) -> Result<Self> {
        let source = Source::new(reader).map_err(|error| source_error(path, error))?;
        let scanner = Scanner::new(source, MAX_FEATURE_BYTES);
        let features = VecDeque::new();
        Ok(Self { path: path.to_owned(), scanner, state: State::Start, n_read: 0, features })
    }

    /// Goes on until a feature has been read or the file ends.
    fn advance(&mut self) -> std::result::Result<(), Problem> {
        if self.state == State::Start {
            self.begin()?;
        }
        while self.features.is_empty() {
            let State::List { in_object } = self.state else { return Ok(()) };
            let next = self.scanner.peek()?;
            match next {
                Some(b']') => {
                    self.scanner.skip_byte();
                    return self.end(in_object);
                }
                Some(b',') if self.n_read > 0 => {
                    self.scanner.skip_byte();
                    if self.scanner.peek()? == Some(b']') {
                        return Err(self.misplaced("a comma after the last feature"));
                    }
                }
                Some(_) if self.n_read > 0 => return Err(self.misplaced("no comma after a feature")),
                _ => {}
            }
            let (text, place) = self.scanner.value()?;
            self.features = parse_feature(text).map_err(|error| at_place(&error, place))?.into();
            self.n_read += 1;
        }
        Ok(())
    }

    /// Reads up to the first feature of the list, or the feature that is the whole file.
    fn begin(&mut self) -> std::result::Result<(), Problem> {
        match self.scanner.peek()? {
            Some(b'[') => {
                self.scanner.skip_byte();
                self.state = State::List { in_object: false };
                Ok(())
            }
            Some(b'{') => self.begin_object(),
            Some(_) => Err(Problem::OfFile("it starts with neither [ nor {".to_owned())),
            None => Err(Problem::OfFile("it is empty".to_owned())),
        }
    }

    /// Reads the members of the root up to the list of features; an object without one is itself a feature.
    fn begin_object(&mut self) -> std::result::Result<(), Problem> {
        let place = self.scanner.place();
        self.scanner.skip_byte();
        let mut object = Vec::from(b"{");
        let mut has_geometry = false;
        while let Some(key) = self.next_key(object.len() == 1)? {
            if key == b"\"features\"" && self.scanner.peek()? == Some(b'[') {
                self.scanner.skip_byte();
                self.state = State::List { in_object: true };
                return Ok(());
            }
            has_geometry |=
                [&b"\"geometry\""[..], b"\"geometries\"", b"\"coordinates\""].contains(&key.as_slice());
            if object.len() > 1 {
                object.push(b',');
            }
            object.extend_from_slice(&key);
            object.push(b':');
            object.extend_from_slice(self.scanner.value()?.0);
            if object.len() > MAX_FEATURE_BYTES {
                return Err(ScanError::TooLong.into());
            }
        }
        if !has_geometry {
            return Err(Problem::OfFile("an object without features or geometry".to_owned()));
        }
        object.push(b'}');
        self.features = parse_feature(&object).map_err(|error| at_place(&error, place))?.into();
        self.n_read = 1;
        self.end(false)
    }

    /// The next key of the root with its quotes, and goes past its colon; `None` after the last member.
    fn next_key(&mut self, is_first: bool) -> std::result::Result<Option<Vec<u8>>, Problem> {
        match self.scanner.peek()? {
            Some(b'}') => {
                self.scanner.skip_byte();
                return Ok(None);
            }
            Some(b',') if !is_first => self.scanner.skip_byte(),
            Some(_) if !is_first => return Err(self.misplaced("no comma between two members")),
            _ => {}
        }
        let key = self.scanner.value()?.0.to_vec();
        if !key.starts_with(b"\"") || self.scanner.peek()? != Some(b':') {
            return Err(self.misplaced("a member without a name"));
        }
        self.scanner.skip_byte();
        Ok(Some(key))
    }

    /// Reads what follows the list of features.
    fn end(&mut self, in_object: bool) -> std::result::Result<(), Problem> {
        self.state = State::End;
        if in_object {
            while let Some(key) = self.next_key(false)? {
                if key == b"\"features\"" {
                    return Err(self.misplaced("a second list of features"));
                }
                self.scanner.value()?;
            }
        }
        match self.scanner.peek()? {
            None => Ok(()),
            Some(_) => Err(self.misplaced("something after the end")),
        }
    }

    fn misplaced(&self, what: &str) -> Problem {
        let Place { line, column } = self.scanner.place();
        Problem::OfFile(format!("{what} at line {line} column {column}"))
    }

    fn error(&self, problem: Problem) -> Error {
        let problem = match problem {
            Problem::Scan(ScanError::Io(error)) => {
                return source_error(&self.path, self.scanner.reader().error(error));
            }
            Problem::OfFile(problem) => format!("not an annotation file: {problem}"),
            Problem::OfFeature(problem) => format!("feature {}: {problem}", self.n_read),
            Problem::Scan(ScanError::End) => format!("feature {}: the file ends within it", self.n_read),
            Problem::Scan(ScanError::NoValue) => {
                let Place { line, column } = self.scanner.place();
                format!(
                    "feature {}: nothing where a value belongs at line {line} column {column}",
                    self.n_read
                )
            }
            Problem::Scan(ScanError::TooLong) => {
                format!("feature {}: over {} MiB of text", self.n_read, MAX_FEATURE_BYTES >> 20)
            }
        };
        Error::format(&self.path, problem)
    }
}

impl<R: Read> Iterator for AnnotationReader<R> {
    type Item = Result<Feature>;

    fn next(&mut self) -> Option<Result<Feature>> {
        if self.features.is_empty()
            && let Err(problem) = self.advance()
        {
            self.state = State::End;
            self.features.clear();
            return Some(Err(self.error(problem)));
        }
        self.features.pop_front().map(Ok)
    }
}

impl<R: Read> std::iter::FusedIterator for AnnotationReader<R> {}

fn source_error(path: &Path, error: SourceError) -> Error {
    match error {
        SourceError::Io(source) => Error::io(path, "read", source),
        SourceError::Format(problem) => Error::format(path, problem),
    }
}

/// An error within the text of a feature, with its place in the file.
fn at_place(error: &serde_json::Error, start: Place) -> Problem {
    let message = error.to_string();
    let own_place = format!(" at line {} column {}", error.line(), error.column());
    let problem = message.strip_suffix(own_place.as_str()).unwrap_or(&message);
    let line = start.line + error.line().saturating_sub(1);
    let column =
        if error.line() > 1 { error.column() } else { start.column + error.column().saturating_sub(1) };
    Problem::OfFeature(format!("{problem} at line {line} column {column}"))
}

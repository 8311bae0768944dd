//! Slides with their masks and annotations, found in a competition folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use hubmap_io::{Feature, Mask, Polygon, RasterReader, Rle, Size, read_annotations};
use serde::Deserialize;

/// A slide that is open for reading.
pub struct Slide {
    /// Name of its file without the ending, such as `2f6ecfcdf`.
    pub id: String,
    /// Its pixels, RGB.
    pub reader: Box<dyn RasterReader>,
    /// The truth, of the slide's size; `None` where it is not known.
    pub mask: Option<Mask>,
    /// Annotated objects in the order of their file.
    pub features: Vec<Feature>,
    /// Outlines of cortex and medulla; `None` for a slide without a file of them.
    pub anatomy: Option<Vec<Feature>>,
}

impl Slide {
    /// Opens the pixels of a slide without mask and annotations.
    ///
    /// # Errors
    ///
    /// The file cannot be opened or does not hold RGB.
    pub fn open(id: &str, tiff: &Path) -> Result<Self> {
        let reader = hubmap_io::open(tiff)?;
        let n_bands = reader.bands();
        ensure!(n_bands == 3, "{}: a slide must have 3 bands (RGB), this file has {n_bands}", tiff.display());
        Ok(Self { id: id.to_owned(), reader, mask: None, features: Vec::new(), anatomy: None })
    }
}

/// The polygons of all features whose class is one of `labels`, letter case ignored.
pub fn labelled_polygons<'a>(
    features: impl IntoIterator<Item = &'a Feature>,
    labels: &[String],
) -> impl Iterator<Item = &'a Polygon> {
    let is_one = |feature: &&Feature| {
        let class = feature.class.as_deref();
        class.is_some_and(|class| labels.iter().any(|label| label.eq_ignore_ascii_case(class)))
    };
    features.into_iter().filter(is_one).flat_map(|feature| &feature.polygons)
}

impl std::fmt::Debug for Slide {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slide")
            .field("id", &self.id)
            .field("path", &self.reader.path())
            .field("size", &self.reader.size())
            .field("has_mask", &self.mask.is_some())
            .field("n_features", &self.features.len())
            .field("has_anatomy", &self.anatomy.is_some())
            .finish()
    }
}

/// The files of a slide whose truth is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainSlide {
    /// Name of the TIFF without the ending.
    pub id: String,
    /// The pixels.
    pub tiff: PathBuf,
    /// Outlines of the glomeruli, `<id>.json` or `<id>.geojson`, or either compressed as `.gz`.
    pub objects: PathBuf,
    /// Outlines of cortex and medulla, where there are any.
    pub anatomy: Option<PathBuf>,
    /// Run-length encoding of the mask, from `train.csv`; without that table the outlines of the objects are filled.
    pub encoding: Option<String>,
    /// The file that [`TrainSlide::encoding`] is from.
    table: PathBuf,
}

impl TrainSlide {
    /// Opens the slide with mask, annotated objects and anatomy.
    ///
    /// # Errors
    ///
    /// The pixels or the annotations cannot be read, or the encoding is invalid or leaves the slide.
    pub fn open(&self) -> Result<Slide> {
        let mut slide = Slide::open(&self.id, &self.tiff)?;
        let size = slide.reader.size();
        slide.features = read_annotations(&self.objects)?;
        slide.mask = Some(match &self.encoding {
            Some(encoding) => self.decoded(encoding, size)?,
            None => filled(&slide.features, size),
        });
        slide.anatomy = self.anatomy.as_deref().map(read_annotations).transpose()?;
        Ok(slide)
    }

    fn decoded(&self, encoding: &str, size: Size) -> Result<Mask> {
        Rle::parse(encoding).and_then(|rle| rle.decode(size)).with_context(|| {
            format!(
                "{}: the encoding of slide {} does not describe a mask of {size}",
                self.table.display(),
                self.id
            )
        })
    }
}

/// The mask of everything inside the outlines.
fn filled(features: &[Feature], size: Size) -> Mask {
    let mut mask = Mask::new(size);
    features.iter().flat_map(|feature| &feature.polygons).for_each(|polygon| mask.fill_polygon(polygon));
    mask
}

/// The files of a slide whose truth is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestSlide {
    /// Name of the TIFF without the ending.
    pub id: String,
    /// The pixels.
    pub tiff: PathBuf,
    /// Outlines of cortex and medulla, where there are any.
    pub anatomy: Option<PathBuf>,
}

/// A folder as the competition ships it (pipeline, section 1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Competition {
    /// Slides under `train/`, sorted by id.
    pub train: Vec<TrainSlide>,
    /// Slides under `test/`, sorted by id; none if there is no such folder.
    pub test: Vec<TestSlide>,
}

/// A row of `train.csv`.
#[derive(Deserialize)]
struct EncodingRow {
    id: String,
    encoding: String,
}

impl Competition {
    /// Lists the slides of a competition folder; opens none of them.
    ///
    /// # Errors
    ///
    /// There are no training slides, `train.csv` is there but broken, or a slide lacks its row in it, its file or its
    /// annotations.
    pub fn open(dir: &Path) -> Result<Self> {
        let train_dir = dir.join("train");
        let test_dir = dir.join("test");
        ensure!(
            train_dir.is_dir(),
            "{}: no folder `train` in it; expected slides as train/<id>.tiff with their outlines as train/<id>.geojson",
            dir.display()
        );
        let tiffs = slides_in(&train_dir)?;
        ensure!(!tiffs.is_empty(), "{}: no slides (*.tiff, *.svs) in it", train_dir.display());
        let table = dir.join("train.csv");
        let mut encodings = if table.exists() { Some(read_encodings(&table)?) } else { None };
        let train = tiffs
            .into_iter()
            .map(|(id, tiff)| {
                let encoding = encodings.as_mut().map(|encodings| {
                    let row = encodings.remove(&id);
                    row.with_context(|| {
                        format!("{}: slide {id} has no row in {}", tiff.display(), table.display())
                    })
                });
                let encoding = encoding.transpose()?;
                let anatomy = anatomy_of(&train_dir, &id);
                let objects = outlines(&train_dir, &id).with_context(|| {
                    format!(
                        "{}: slide {id} has no annotations {id}.geojson or {id}.json beside it",
                        tiff.display()
                    )
                })?;
                Ok(TrainSlide { objects, tiff, anatomy, encoding, id, table: table.clone() })
            })
            .collect::<Result<Vec<_>>>()?;
        if let Some(id) = encodings.iter().flatten().map(|(id, _)| id).next() {
            bail!(
                "{}: slide {id} has no file {}",
                table.display(),
                train_dir.join(format!("{id}.tiff")).display()
            );
        }
        let test = if test_dir.is_dir() { slides_in(&test_dir)? } else { BTreeMap::new() };
        let test =
            test.into_iter().map(|(id, tiff)| TestSlide { anatomy: anatomy_of(&test_dir, &id), tiff, id });
        Ok(Self { train, test: test.collect() })
    }

    /// Ids of the training slides, sorted.
    pub fn train_ids(&self) -> Vec<String> {
        self.train.iter().map(|slide| slide.id.clone()).collect()
    }
}

/// The outlines of anatomical structures that lie beside the slide `id` in `dir`, if they do.
pub fn anatomy_of(dir: &Path, id: &str) -> Option<PathBuf> {
    first_file(dir, anatomy_names(id))
}

/// What a file with the anatomical structures of the slide `id` may be called; the first that is there counts.
pub fn anatomy_names(id: &str) -> impl Iterator<Item = String> + use<> {
    outline_names(&format!("{id}-anatomical-structure"))
}

/// The first file of annotations called `name` that exists.
fn outlines(dir: &Path, name: &str) -> Option<PathBuf> {
    first_file(dir, outline_names(name))
}

/// The competition has `.json`, QuPath exports `.geojson`.
fn outline_names(name: &str) -> impl Iterator<Item = String> + use<> {
    let name = name.to_owned();
    ["json", "json.gz", "geojson", "geojson.gz"].into_iter().map(move |ending| format!("{name}.{ending}"))
}

fn first_file(dir: &Path, names: impl Iterator<Item = String>) -> Option<PathBuf> {
    names.map(|name| dir.join(name)).find(|path| path.is_file())
}

/// Ids and paths of the slides in a folder.
fn slides_in(dir: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut tiffs = BTreeMap::new();
    for entry in std::fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let path = entry.with_context(|| format!("cannot list {}", dir.display()))?.path();
        let is_slide = path.extension().is_some_and(|extension| {
            ["tiff", "tif", "svs"].iter().any(|e| extension.eq_ignore_ascii_case(e))
        });
        let Some(id) = path.file_stem().and_then(|stem| stem.to_str()).filter(|id| !id.starts_with('.'))
        else {
            continue;
        };
        if !is_slide {
            continue;
        }
        if let Some(other) = tiffs.insert(id.to_owned(), path.clone()) {
            bail!("{} and {} have the same slide id; remove one", other.display(), path.display());
        }
    }
    Ok(tiffs)
}

/// Encodings of `train.csv` by slide id.
fn read_encodings(table: &Path) -> Result<BTreeMap<String, String>> {
    let mut reader =
        csv::Reader::from_path(table).with_context(|| format!("cannot open {}", table.display()))?;
    let mut encodings = BTreeMap::new();
    for row in reader.deserialize::<EncodingRow>() {
        let row = row.with_context(|| format!("{}: expected rows of id,encoding", table.display()))?;
        if encodings.insert(row.id.clone(), row.encoding).is_some() {
            bail!("{}: slide {} has two rows", table.display(), row.id);
        }
    }
    Ok(encodings)
}

#[cfg(test)]
mod tests {
    use hubmap_io::{TiffSpec, TiffWriter, write_annotations};

    use super::*;

    #[test]
    fn folders_that_do_not_fit_together_are_described() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        let open = || format!("{:#}", Competition::open(dir).unwrap_err());
        let write = |path: &str, text: &str| std::fs::write(dir.join(path), text).unwrap();

        assert!(open().contains("no folder `train`"), "{}", open());
        std::fs::create_dir(dir.join("train")).unwrap();
        assert!(open().contains("no slides"), "{}", open());
        write("train/aa.tiff", "");
        assert!(open().contains("aa.tiff: slide aa has no annotations aa.geojson or aa.json"), "{}", open());
        write("train.csv", "id,predicted\naa,1 2\n");
        assert!(open().contains("train.csv: expected rows of id,encoding"), "{}", open());
        write("train.csv", "id,encoding\nbb,1 2\n");
        assert!(open().contains("aa.tiff: slide aa has no row"), "{}", open());
        write("train.csv", "id,encoding\naa,1 2\naa,3 4\n");
        assert!(open().contains("slide aa has two rows"), "{}", open());
        write("train.csv", "id,encoding\naa,1 2\nbb,\n");
        assert!(open().contains("aa.tiff: slide aa has no annotations"), "{}", open());
        write("train/aa.geojson.gz", "");
        assert!(open().contains("train.csv: slide bb has no file"), "{}", open());
        write("train.csv", "id,encoding\naa,1 2\n");
        write("train/aa.tif", "");
        assert!(open().contains("same slide id"), "{}", open());
        std::fs::remove_file(dir.join("train/aa.tif")).unwrap();

        let competition = Competition::open(dir).unwrap();
        assert_eq!(competition.train_ids(), ["aa"]);
        assert_eq!(competition.train[0].encoding.as_deref(), Some("1 2"));
        assert!(competition.train[0].objects.ends_with("aa.geojson.gz") && competition.test.is_empty());
        std::fs::create_dir(dir.join("test")).unwrap();
        write("test/cc.tiff", "");
        write("test/cc-anatomical-structure.json", "[]");
        let competition = Competition::open(dir).unwrap();
        assert_eq!(competition.test[0].id, "cc");
        assert!(competition.test[0].anatomy.is_some());
    }

    #[test]
    fn without_a_table_the_outlines_are_the_mask() {
        let folder = tempfile::tempdir().unwrap();
        let train = folder.path().join("train");
        std::fs::create_dir(&train).unwrap();
        let spec = TiffSpec::rgb(Size::new(40, 30));
        let mut writer = TiffWriter::create(&train.join("aa.SVS"), spec).unwrap();
        writer.write_rows(&ndarray::Array3::from_elem((30, 40, 3), 7)).unwrap();
        writer.finish().unwrap();
        let square = |x: f64, y: f64| {
            let exterior = vec![[x, y], [x + 5.0, y], [x + 5.0, y + 4.0], [x, y + 4.0]];
            Feature::new("glomerulus", Polygon { exterior, holes: Vec::new() })
        };
        write_annotations(&train.join("aa.geojson"), &[square(3.0, 2.0), square(20.0, 10.0)]).unwrap();

        let competition = Competition::open(folder.path()).unwrap();
        assert_eq!(competition.train[0].encoding, None);
        let slide = competition.train[0].open().unwrap();
        let mask = slide.mask.unwrap();
        assert_eq!((mask.count_ones(), slide.features.len()), (40, 2));
        assert!(mask.get(3, 2) && mask.get(24, 13) && !mask.get(25, 13));
    }
}

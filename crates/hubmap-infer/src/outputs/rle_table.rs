//! Tables of run-length encodings: submissions and `train.csv`.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use hubmap_data::Fault;
use hubmap_io::Rle;

use super::pending_file::{self, PendingFile};

/// Columns of a submission.
const HEADER: [&str; 2] = ["id", "predicted"];

/// Encodings by slide id.
pub type RleTable = BTreeMap<String, Rle>;

/// Reads a table with a column `id` and a column `predicted` or `encoding`.
///
/// An id that comes twice, or an encoding that breaks the rules, is an error that names the id.
pub fn read_rle_table(path: &Path) -> Result<RleTable> {
    let read = || -> Result<RleTable> {
        let mut reader = csv::Reader::from_path(path)?;
        let id_column = column(reader.headers()?, &["id"])?;
        let rle_column = column(reader.headers()?, &["predicted", "encoding"])?;
        let mut table = RleTable::new();
        for record in reader.records() {
            let record = record?;
            let id = record.get(id_column).unwrap_or_default();
            let rle =
                Rle::parse(record.get(rle_column).unwrap_or_default()).with_context(|| format!("id {id}"))?;
            ensure!(table.insert(id.to_owned(), rle).is_none(), "id {id} comes twice");
        }
        Ok(table)
    };
    read().map_err(Fault::or_input).with_context(|| format!("cannot read {}", path.display()))
}

/// The ids of a table, such as `sample_submission.csv`, in its order.
pub fn id_order(path: &Path) -> Result<Vec<String>> {
    let read = || -> Result<Vec<String>> {
        let mut reader = csv::Reader::from_path(path)?;
        let id_column = column(reader.headers()?, &["id"])?;
        let ids = reader.records().map(|record| Ok(record?.get(id_column).unwrap_or_default().to_owned()));
        ids.collect()
    };
    read().map_err(Fault::or_input).with_context(|| format!("cannot read {}", path.display()))
}

/// Writes `id,predicted` rows; ids of `order` come first and in its order, the others as given.
pub fn write_submission(path: &Path, rows: &[(String, Rle)], order: &[String]) -> Result<()> {
    let mut sorted: Vec<_> = rows.iter().collect();
    sort_by_order(&mut sorted, order, |(id, _)| id);
    let file = pending_file::write(path, |out| {
        let mut writer = csv::Writer::from_writer(out);
        writer.write_record(HEADER)?;
        for (id, rle) in sorted {
            writer.write_record([id, &rle.to_string()])?;
        }
        writer.flush()?;
        Ok(())
    })?;
    pending_file::commit(file)
}

/// The table of one slide, which has no name yet.
pub(super) fn write_row(path: &Path, id: &str, rle: &Rle) -> Result<PendingFile> {
    pending_file::write(path, |out| {
        let mut writer = csv::Writer::from_writer(out);
        writer.write_record(HEADER)?;
        writer.write_record([id, &rle.to_string()])?;
        writer.flush()?;
        Ok(())
    })
}

/// Joins the tables of single slides, each an id and a file; one row is in memory at a time.
///
/// Ids of `order` come first and in its order, the others as given.
pub(crate) fn write_merged(path: &Path, mut tables: Vec<(String, PathBuf)>, order: &[String]) -> Result<()> {
    sort_by_order(&mut tables, order, |(id, _)| id);
    let file = pending_file::write(path, |out| {
        let mut writer = csv::Writer::from_writer(out);
        writer.write_record(HEADER)?;
        for (_, table) in &tables {
            let mut copy = || -> csv::Result<()> {
                csv::Reader::from_path(table)?.records().try_for_each(|row| writer.write_record(&row?))
            };
            copy().with_context(|| format!("cannot read {}", table.display()))?;
        }
        writer.flush()?;
        Ok(())
    })?;
    pending_file::commit(file)
}

/// Sorts rows by the place of their ids in `order`; those that are not in it stay behind, as they were.
fn sort_by_order<T>(rows: &mut [T], order: &[String], id: impl Fn(&T) -> &str) {
    let mut places = HashMap::new();
    for (place, id) in order.iter().enumerate() {
        places.entry(id.as_str()).or_insert(place);
    }
    rows.sort_by_key(|row| places.get(id(row)).copied().unwrap_or(order.len()));
}

fn column(headers: &csv::StringRecord, names: &[&str]) -> Result<usize> {
    let found = names.iter().find_map(|name| headers.iter().position(|header| header.trim() == *name));
    found.with_context(|| {
        let headers: Vec<_> = headers.iter().collect();
        format!("no column {} in the header {}", names.join(" or "), headers.join(","))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_submission_comes_back_in_the_sample_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("submission__0.5.csv");
        let rows = vec![
            ("a".to_owned(), Rle::parse("1 2 5 1").unwrap()),
            ("b".to_owned(), Rle::default()),
            ("c".to_owned(), Rle::parse("7 7").unwrap()),
        ];
        write_submission(&path, &rows, &["c".to_owned(), "a".to_owned()]).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "id,predicted\nc,7 7\na,1 2 5 1\nb,\n");
        assert_eq!(read_rle_table(&path).unwrap(), rows.into_iter().collect());
        assert_eq!(id_order(&path).unwrap(), ["c", "a", "b"]);
    }

    #[test]
    fn tables_of_single_slides_join_in_the_sample_order() {
        let folder = tempfile::tempdir().unwrap();
        let tables = ["a", "b", "c"].map(|id| {
            let path = folder.path().join(format!("rle/{id}.csv"));
            let rle = Rle::parse(if id == "b" { "" } else { "1 2 5 1" }).unwrap();
            pending_file::commit(write_row(&path, id, &rle).unwrap()).unwrap();
            (id.to_owned(), path)
        });
        let path = folder.path().join("submission__0.5.csv");
        write_merged(&path, tables.to_vec(), &["c".to_owned(), "z".to_owned(), "a".to_owned()]).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "id,predicted\nc,1 2 5 1\na,1 2 5 1\nb,\n");
        std::fs::remove_file(&tables[1].1).unwrap();
        let error = write_merged(&path, tables.to_vec(), &[]).unwrap_err();
        assert!(format!("{error:#}").contains("b.csv"), "{error:#}");
        assert_eq!(read_rle_table(&path).unwrap().len(), 3, "the old table stays");
    }

    #[test]
    fn broken_tables_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        for (text, words) in [
            ("id,foo\na,1 2\n", "no column predicted or encoding"),
            ("id,encoding\na,1 2\na,3 4\n", "a comes twice"),
            ("id,encoding\nslide,1 x\n", "slide"),
        ] {
            std::fs::write(&path, text).unwrap();
            let message = format!("{:#}", read_rle_table(&path).unwrap_err());
            assert!(message.contains(words) && message.contains("t.csv"), "{message}");
        }
    }
}

//! Keys of settings by their full names, and the nearest to a wrong one.

use toml::{Table, Value};

use crate::nearest::likeness;

use super::OPEN_TABLES;

/// Least likeness of the last parts of two keys, for one to be meant by the other.
const LEAST_LIKENESS: f64 = 0.5;
/// How much the table of a key counts beside the key itself.
const TABLE_SHARE: f64 = 0.4;
/// Keys that are worse than the best by more than this are not named.
const MARGIN: f64 = 0.25;
/// Most keys that are named.
const N_NAMED: usize = 3;

/// A key of the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    /// Its full name, such as `train.loss.bce`.
    pub(crate) path: String,
    pub(crate) is_table: bool,
}

impl Key {
    /// Table and last part.
    fn parts(&self) -> (&str, &str) {
        self.path.rsplit_once('.').unwrap_or(("", &self.path))
    }
}

/// The keys of a table that are no tables.
pub(crate) fn leaves(table: &Table) -> Vec<Key> {
    all(table).into_iter().filter(|key| !key.is_table).collect()
}

/// Every key of a table, and of the tables in it.
fn all(table: &Table) -> Vec<Key> {
    fn add(table: &Table, prefix: &str, keys: &mut Vec<Key>) {
        for (key, value) in table {
            let path = format!("{prefix}{key}");
            keys.push(Key { path: path.clone(), is_table: value.is_table() });
            if let Value::Table(table) = value {
                add(table, &format!("{path}."), keys);
            }
        }
    }
    let mut keys = Vec::new();
    add(table, "", &mut keys);
    keys
}

/// The message for a key that `known` does not have: the nearest of all its tables, with their full names.
pub(crate) fn unknown(wrong: &Key, known: &Table) -> String {
    let (wrong_table, wrong_name) = wrong.parts();
    let is_users_own = |key: &Key| OPEN_TABLES.iter().any(|table| key.path.starts_with(&format!("{table}.")));
    let mut near: Vec<(f64, String)> = all(known)
        .into_iter()
        .filter(|key| key.is_table == wrong.is_table && !is_users_own(key))
        .filter_map(|key| {
            let (table, name) = key.parts();
            let of_name = likeness(wrong_name, name);
            let score = of_name + TABLE_SHARE * likeness(wrong_table, table);
            (of_name >= LEAST_LIKENESS).then(|| (score, key.path.clone()))
        })
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let best = near.first().map_or(0.0, |(score, _)| *score);
    let named: Vec<String> = near
        .into_iter()
        .take_while(|(score, _)| *score >= best - MARGIN)
        .take(N_NAMED)
        .map(|(_, path)| format!("`{path}`"))
        .collect();
    let path = &wrong.path;
    match named.as_slice() {
        [] => format!("unknown key `{path}`; `--generate settings` prints every key"),
        [one] => format!("unknown key `{path}`; did you mean {one}?"),
        [rest @ .., last] => format!("unknown key `{path}`; did you mean {} or {last}?", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BASE_CONFIG;

    fn check(wrong: &str, expected: &str) {
        let is_table = wrong.ends_with(']');
        let key = Key { path: wrong.trim_matches(['[', ']']).to_owned(), is_table };
        let message = unknown(&key, &BASE_CONFIG.parse().unwrap());
        assert_eq!(message, format!("unknown key `{}`; {expected}", key.path));
    }

    #[test]
    fn a_slip_is_mended_in_its_table() {
        check("train.epohcs", "did you mean `train.epochs`?");
        check("infer.treshold", "did you mean `infer.threshold`?");
        check("data_gen.tile", "did you mean `data_gen.tile_px`?");
        check("train.loss.dise", "did you mean `train.loss.dice`?");
        check("trian.epochs", "did you mean `train.epochs`?");
        check("[trian]", "did you mean `train`?");
        check("[data.normalisation]", "did you mean `data.normalization`?");
    }

    #[test]
    fn a_key_of_another_table_is_named_in_full() {
        check("data.epochs", "did you mean `train.epochs`?");
        check("epochs", "did you mean `train.epochs`?");
        check("train.threshold", "did you mean `infer.threshold`?");
        check("train.weight_decay", "did you mean `train.optimizer.weight_decay`?");
        check("data.scale", "did you mean `data_gen.scale` or `infer.scale`?");
        check("infer.batch_size", "did you mean `train.batch_size` or `infer.batch`?");
    }

    #[test]
    fn what_is_like_nothing_is_compared_with_nothing() {
        check("train.zzz", "`--generate settings` prints every key");
        check("[train.epochs]", "`--generate settings` prints every key");
    }
}

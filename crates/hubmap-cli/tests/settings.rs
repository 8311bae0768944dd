//! The reference of settings says what the types take and refuse.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail like tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use hubmap_cli::settings::{Allowed, Bound, settings, settings_page};
use hubmap_cli::{BASE_CONFIG, Config, ConfigArgs};
use hubmap_data::augment::Step;
use hubmap_data::config::{DataConfig, DataGenConfig};
use toml::{Table, Value};

const STALE: &str = "docs/reference/settings.md is stale: cargo run -p hubmap-cli --example settings > docs/reference/settings.md";

/// Settings that a key needs to mean anything, and so to be checked.
const WITH: [(&str, &str); 2] = [
    ("data_gen.n_drawn_folds", "data_gen.folds=drawn"),
    ("data_gen.valid_fraction", "data_gen.folds=random_tiles"),
];

/// Keys with more conditions than a range: what is in the range may still be refused.
const TIED_TO_OTHERS: [&str; 3] = ["infer.block", "infer.overlap", "data.crop_px"];

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/settings.md");
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The values of a table that are no tables, by full name.
fn leaves(table: &Table, prefix: &str, found: &mut BTreeMap<String, Value>) {
    for (key, value) in table {
        match value {
            Value::Table(table) => leaves(table, &format!("{prefix}{key}."), found),
            _ => drop(found.insert(format!("{prefix}{key}"), value.clone())),
        }
    }
}

#[test]
fn the_page_is_made_from_the_base() {
    assert!(page() == settings_page().unwrap(), "{STALE}");
}

#[test]
fn every_key_of_the_base_is_explained_with_its_default() {
    let mut expected = BTreeMap::new();
    leaves(&BASE_CONFIG.parse().unwrap(), "", &mut expected);
    expected.retain(|key, _| !key.starts_with("data.transforms."));
    let (mut table, mut found) = (String::new(), BTreeMap::new());
    for line in page().lines() {
        if let Some(name) = line.strip_prefix("## `[").and_then(|rest| rest.strip_suffix("]`")) {
            name.clone_into(&mut table);
        }
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [key, default, kind, unit, range, meaning] = cells.as_slice() else { continue };
        let Some(key) = key.strip_prefix('`') else { continue };
        let key = format!("{table}.{}", key.trim_end_matches('`'));
        let default = format!("value = {}", default.trim_matches('`')).parse::<Table>();
        found.insert(key.clone(), default.unwrap_or_else(|e| panic!("{key}: {e}"))["value"].clone());
        for cell in [kind, unit, range, meaning] {
            assert!(!cell.is_empty(), "{key} is not explained: {line}");
        }
        assert!(meaning.len() >= 8, "{key}: {line}");
        assert!(!kind.contains("number") || *unit != "–", "{key} has no unit: {line}");
    }
    assert_eq!(found, expected);
}

/// What executables say to settings, for the tables that this build knows.
fn refusal(sets: &[String], table: &str) -> Option<Result<(), String>> {
    let config = Config::load(&ConfigArgs { config: Vec::new(), set: sets.to_vec() });
    let config = config.unwrap_or_else(|e| panic!("{sets:?}: {e}"));
    let checked = match table.split('.').next().unwrap_or_default() {
        "data" => config.section::<DataConfig>("data").and_then(|data| data.validate()),
        "data_gen" => config.section::<DataGenConfig>("data_gen").and_then(|data_gen| data_gen.validate()),
        #[cfg(feature = "inference")]
        "infer" => config.section::<hubmap_infer::PredictConfig>("infer").and_then(|infer| infer.validate()),
        #[cfg(feature = "networks")]
        "train" => config.section::<hubmap_train::TrainConfig>("train").and_then(|train| train.validate()),
        #[cfg(feature = "networks")]
        "model" => config.section::<hubmap_models::SegModelConfig>("model").map(drop),
        _ => return None,
    };
    Some(checked.map_err(|error| format!("{error:#}")))
}

/// A `--set` of a key to a number, or with one of the numbers of its list changed.
fn set_to(path: &str, value: &Value, number: f64) -> String {
    match value {
        Value::Integer(_) => format!("{path}={number}"),
        Value::Array(members) => {
            let mut members = members.clone();
            members[1] = Value::Float(number);
            format!("{path}={}", Value::Array(members))
        }
        _ => format!("{path}={number:?}"),
    }
}

#[test]
fn ranges_are_those_that_executables_keep_to() {
    let mut n_checked = 0;
    for section in settings().unwrap() {
        for setting in &section.keys {
            let path = format!("{}.{}", section.name, setting.key);
            let Allowed::Numbers(range) = &setting.explanation.allowed else { continue };
            let step = if setting.value.is_integer() { 1.0 } else { 1e-6 };
            let with = WITH.iter().filter(|(key, _)| *key == path).map(|(_, set)| (*set).to_owned());
            let with: Vec<String> = with.collect();
            for (bound, outwards) in [(range.min, -1.0), (range.max, 1.0)] {
                let Some(Bound { value, is_included }) = bound else { continue };
                let (inside, outside) = if is_included {
                    (value, value + outwards * step)
                } else {
                    (value - outwards * step, value)
                };
                let check = |number: f64| {
                    let mut sets = with.clone();
                    sets.push(set_to(&path, &setting.value, number));
                    refusal(&sets, &section.name)
                };
                let Some(refused) = check(outside) else { continue };
                let message = refused.expect_err(&format!("{path} = {outside} is taken"));
                assert!(message.contains(&setting.key), "{path} = {outside}: {message}");
                let taken = check(inside);
                assert!(
                    TIED_TO_OTHERS.contains(&path.as_str()) || taken == Some(Ok(())),
                    "{path} = {inside}: {taken:?}"
                );
                n_checked += 1;
            }
        }
    }
    assert!(n_checked > 30, "{n_checked}");
}

/// The names between backticks of serde's message, but the first, which is the wrong one.
fn expected_names(message: &str) -> BTreeSet<String> {
    let list = message.split_once(", expected ").map_or("", |(_, list)| list);
    list.split("; did you mean").next().unwrap().split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn words_are_those_of_the_types() {
    let mut n_checked = 0;
    for section in settings().unwrap() {
        for setting in &section.keys {
            let Allowed::Words(words) = &setting.explanation.allowed else { continue };
            let path = format!("{}.{}", section.name, setting.key);
            let wrong = if setting.value.is_array() { "[\"zzz\"]" } else { "\"zzz\"" };
            let Some(refused) = refusal(&[format!("{path}={wrong}")], &section.name) else { continue };
            let message = refused.unwrap_err();
            let words: BTreeSet<String> = words.iter().cloned().collect();
            assert_eq!(expected_names(&message), words, "{path}: {message}");
            n_checked += 1;
        }
    }
    assert!(n_checked >= 4, "{n_checked}");
}

#[test]
fn steps_are_those_of_the_type() {
    let message = |text: &str| toml::from_str::<Step>(text).unwrap_err().message().to_owned();
    let sections = settings().unwrap();
    let steps = &sections.iter().find(|section| !section.steps.is_empty()).unwrap().steps;
    let names: BTreeSet<String> = steps.iter().map(|step| step.name.clone()).collect();
    assert_eq!(expected_names(&message("kind = \"zzz\"")), names);
    for step in steps {
        let mut keys: BTreeSet<String> = step.keys.iter().map(|(key, _)| key.clone()).collect();
        if !step.name.ends_with("crop") && step.name != "resize" {
            keys.insert("p".to_owned());
        }
        let message = message(&format!("kind = \"{}\"\nzzz = 1", step.name));
        assert_eq!(expected_names(&message), keys, "{}: {message}", step.name);
    }
}

/// A key of a step with a value just inside or outside of its range.
#[test]
fn ranges_of_steps_are_those_that_are_kept_to() {
    let mut sound: BTreeMap<String, Table> = BTreeMap::new();
    collect_steps(&BASE_CONFIG.parse::<Table>().unwrap().into(), &mut sound);
    let sections = settings().unwrap();
    let steps = sections.iter().flat_map(|section| &section.steps);
    let mut n_checked = 0;
    for step in steps {
        let sound = sound.get(&step.name).unwrap_or_else(|| panic!("the base has no step {}", step.name));
        for (key, explanation) in &step.keys {
            let Allowed::Numbers(range) = &explanation.allowed else { continue };
            let Some(value) = sound.get(key).filter(|value| !value.is_array()) else { continue };
            let size = if value.is_integer() { 1.0 } else { 1e-6 };
            let min = range.min.filter(|min| !(min.value == 0.0 && min.is_included && value.is_integer()));
            for (bound, outwards) in [(min, -1.0), (range.max, 1.0)] {
                let Some(Bound { value: limit, is_included }) = bound else { continue };
                let outside = if is_included { limit + outwards * size } else { limit };
                let mut step = sound.clone();
                let number =
                    if value.is_integer() { Value::Integer(outside as i64) } else { Value::Float(outside) };
                step.insert(key.clone(), number);
                let set = format!("data.transforms.mine=[{}]", Value::Table(step.clone()));
                let refused = refusal(&[set], "data").unwrap();
                assert!(refused.is_err(), "{step:?} is taken");
                n_checked += 1;
            }
        }
    }
    assert!(n_checked > 15, "{n_checked}");
}

/// One sound step of every kind, from the transforms of the base.
fn collect_steps(value: &Value, found: &mut BTreeMap<String, Table>) {
    match value {
        Value::Table(table) => {
            if let Some(kind) = table.get("kind").and_then(Value::as_str) {
                found.insert(kind.to_owned(), table.clone());
            }
            table.values().for_each(|value| collect_steps(value, found));
        }
        Value::Array(members) => members.iter().for_each(|value| collect_steps(value, found)),
        _ => {}
    }
}

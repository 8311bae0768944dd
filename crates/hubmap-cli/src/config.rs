//! Settings in layers: the built-in base, files over it, `--set` over them.
//!
//! Every key exists in the base with its value, so a key that is not there is a mistake and is refused
//! with its file and the nearest keys that exist. The exceptions are tables whose keys are names that the user
//! chooses.

mod keys;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::args::ConfigArgs;
use crate::nearest::{check_inputs, nearest};
use crate::outcome::UsageError;

/// The built-in settings, `base.toml` of this package (`configs/base.toml` of the repository).
pub const BASE_CONFIG: &str = include_str!("../base.toml");

/// Tables whose keys are names, so that a layer may add to them.
pub const OPEN_TABLES: [&str; 2] = ["data.transforms", "data.slide_weights"];

/// The merged settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    table: Table,
    /// What set a key, for keys that are not as in the base: a file, or a flag with its value.
    sources: BTreeMap<String, String>,
}

impl Config {
    /// The base with the files of `--config` and the values of `--set` laid over it, in that order.
    ///
    /// Errors are [`UsageError`]s and name the file and the key.
    pub fn load(args: &ConfigArgs) -> anyhow::Result<Self> {
        Self::layered(&[], &args.config, &args.set).map_err(UsageError::mark)
    }

    /// Like [`Config::load`], with a built-in layer of TOML between the base and the files.
    pub fn load_over(built_in: &str, args: &ConfigArgs) -> anyhow::Result<Self> {
        Self::layered(&[built_in], &args.config, &args.set).map_err(UsageError::mark)
    }

    fn layered<P: AsRef<Path>>(built_in: &[&str], files: &[P], sets: &[String]) -> anyhow::Result<Self> {
        let table = BASE_CONFIG.parse().context("built-in base config")?;
        let mut config = Self { table, sources: BTreeMap::new() };
        for text in built_in {
            config.lay(text.parse().context("built-in config")?, "built-in config")?;
        }
        for path in files {
            config.overlay_file(path.as_ref())?;
        }
        for assignment in sets {
            config.set(assignment)?;
        }
        Ok(config)
    }

    /// Lays a TOML file over these settings.
    pub fn overlay_file(&mut self, path: &Path) -> anyhow::Result<()> {
        check_inputs([path])?;
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read config {name}"))?;
        let layer: Table = text.parse().map_err(|e| anyhow!("{name}: not valid TOML: {e}"))?;
        self.lay(layer, &name).with_context(|| name.clone())
    }

    /// Sets one value of a table that exists, such as a path that the program decides.
    pub fn put(&mut self, table: &str, key: &str, value: impl Into<Value>) -> anyhow::Result<()> {
        let layer =
            Table::from_iter([(table.to_owned(), Table::from_iter([(key.to_owned(), value.into())]).into())]);
        self.lay(layer, "the program")
    }

    /// Lays one `table.key=value` over these settings. A value that is no TOML is taken as a string.
    pub fn set(&mut self, assignment: &str) -> anyhow::Result<()> {
        let (key, text) = assignment
            .split_once('=')
            .with_context(|| format!("--set {assignment}: expected TABLE.KEY=VALUE"))?;
        let value = format!("value = {text}")
            .parse::<Table>()
            .ok()
            .and_then(|mut table| table.remove("value"))
            .unwrap_or_else(|| Value::String(text.to_owned()));
        let layer = key
            .trim()
            .rsplit('.')
            .fold(value, |value, part| Value::Table(Table::from_iter([(part.to_owned(), value)])));
        let flag = format!("--set {assignment}");
        let Value::Table(layer) = layer else { bail!("{flag}: expected TABLE.KEY=VALUE") };
        self.lay(layer, &flag).context(flag)
    }

    /// Lays a table over these settings; `source` is what errors call it.
    fn lay(&mut self, layer: Table, source: &str) -> anyhow::Result<()> {
        for key in keys::leaves(&layer) {
            self.sources.insert(key.path, source.to_owned());
        }
        match merge(&mut self.table, layer, "") {
            Ok(()) => Ok(()),
            Err(Refused::Unknown(key)) => Err(anyhow!(keys::unknown(&key, &self.table))),
            Err(Refused::Shape { path, given }) => Err(anyhow!("`{path}` is a table, not {given}")),
        }
    }

    /// The settings of one table, such as `train`, as its type.
    ///
    /// Errors name the key, what gave it its value, and the names that a value may have.
    pub fn section<T: DeserializeOwned>(&self, name: &str) -> anyhow::Result<T> {
        let value = self.table.get(name).with_context(|| format!("config has no [{name}]"));
        value
            .and_then(|value| {
                serde_path_to_error::deserialize(value.clone()).map_err(|error| {
                    let path = match error.path().to_string() {
                        path if path == "." => name.to_owned(),
                        path => format!("{name}.{path}"),
                    };
                    let source = self.source_of(&path).map(|source| format!(" (from {source})"));
                    let source = source.unwrap_or_default();
                    anyhow!("config [{name}]: {path}: {}{source}", explained(error.inner().message()))
                })
            })
            .map_err(UsageError::mark)
    }

    /// What gave a key its value, unless it is the base.
    fn source_of(&self, path: &str) -> Option<&str> {
        // `folds[0].name` is part of what was set as `folds`.
        let of_array = path.split('[').next().unwrap_or(path);
        self.sources.get(of_array).map(String::as_str)
    }

    /// The merged settings as TOML, to be kept beside what they made.
    pub fn to_toml(&self) -> String {
        self.table.to_string()
    }
}

/// A message of serde in words of the config, with the nearest of the names that a value may have.
fn explained(message: &str) -> String {
    if let Some((found, kind)) = message.rsplit_once(", expected ") {
        let kind = match kind {
            "usize" | "u8" | "u32" | "u64" => Some("a whole number, 0 or more"),
            "f32" | "f64" => Some("a number"),
            "a sequence" => Some("a list"),
            _ => None,
        };
        if let Some(kind) = kind {
            return format!("{found}, expected {kind}");
        }
    }
    let mut quoted = message.split('`').skip(1).step_by(2);
    match quoted.next() {
        Some(wrong) if message.starts_with("unknown ") => match nearest(wrong, quoted) {
            Some(near) => format!("{message}; did you mean `{near}`?"),
            None => message.to_owned(),
        },
        _ => message.to_owned(),
    }
}

/// Why a layer cannot be laid over the base.
enum Refused {
    /// A key that the base does not have.
    Unknown(keys::Key),
    /// A value where the base has a table.
    Shape { path: String, given: &'static str },
}

/// Lays `layer` over `base`, table by table; arrays and values are replaced whole.
fn merge(base: &mut Table, layer: Table, prefix: &str) -> Result<(), Refused> {
    for (key, value) in layer {
        let path = format!("{prefix}{key}");
        if !base.contains_key(&key) {
            if prefix.strip_suffix('.').is_some_and(|table| OPEN_TABLES.contains(&table)) {
                base.insert(key, value);
                continue;
            }
            return Err(Refused::Unknown(keys::Key { path, is_table: value.is_table() }));
        }
        match (base.get_mut(&key), value) {
            (Some(Value::Table(base)), Value::Table(layer)) => merge(base, layer, &format!("{path}."))?,
            (Some(Value::Table(_)), other) => return Err(Refused::Shape { path, given: other.type_str() }),
            (Some(old), value) => *old = value,
            (None, _) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Config {
        let table = "[train]\nepochs = 10\nname = \"a\"\n[train.loss]\nbce = 1.0".parse().unwrap();
        Config { table, sources: BTreeMap::new() }
    }

    #[test]
    fn sets_reach_into_tables() {
        let mut config = base();
        config.set("train.epochs=3").unwrap();
        config.set("train.loss.bce=0.5").unwrap();
        config.set("train.name=some words").unwrap();
        assert_eq!(config.table["train"]["epochs"].as_integer(), Some(3));
        assert_eq!(config.table["train"]["loss"]["bce"].as_float(), Some(0.5));
        assert_eq!(config.table["train"]["name"].as_str(), Some("some words"));
    }

    #[test]
    fn a_misspelt_key_names_file_and_nearest_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mine.toml");
        std::fs::write(&path, "[train]\nepohcs = 3").unwrap();
        let error = format!("{:#}", base().overlay_file(&path).unwrap_err());
        assert!(error.contains("mine.toml") && error.contains("did you mean `train.epochs`"), "{error}");
    }

    #[test]
    fn transforms_may_be_added_and_replaced_under_names_of_the_users_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mine.toml");
        let text = "[data.transforms]\nmine = [{ kind = \"center_crop\", size_px = 64 }]\nval = []";
        std::fs::write(&path, text).unwrap();
        let mut config = Config::layered(&[], &[&path], &["data.train_transform=mine".into()]).unwrap();
        config.set("data.transforms.none=[]").unwrap();
        let data = config.section::<hubmap_data::config::DataConfig>("data").unwrap();
        data.validate().unwrap();
        let sizes = data.transform(&data.train_transform).unwrap();
        assert_eq!(sizes.steps(), [hubmap_data::augment::Step::CenterCrop { size_px: Some(64) }]);
        assert!(data.transform("none").unwrap().steps().is_empty());
        assert!(data.transform("val").unwrap().steps().is_empty());
        assert!(!data.transform("light_scale").unwrap().steps().is_empty());
        // The table beside it is as closed as ever.
        assert!(config.set("data.transfroms.mine=[]").is_err());
        assert!(config.set("data.multiply.mine=1").is_err());
    }

    #[test]
    fn wrong_shapes_are_refused() {
        assert!(base().set("train=3").is_err());
        assert!(base().set("train.epochs").is_err());
        assert!(base().set("trian.epochs=1").is_err());
    }

    #[test]
    fn wrong_values_name_the_key_and_what_set_it() {
        let error = |set: &str| {
            let config = Config::layered::<&Path>(&[], &[], &[set.to_owned()]).unwrap();
            let error = config.section::<hubmap_data::config::DataGenConfig>("data_gen").unwrap_err();
            assert!(error.downcast_ref::<UsageError>().is_some());
            error.to_string()
        };
        assert_eq!(
            error("data_gen.tile_px=big"),
            "config [data_gen]: data_gen.tile_px: invalid type: string \"big\", expected a whole number, 0 or more \
             (from --set data_gen.tile_px=big)"
        );
        let message = error("data_gen.tile_px=-1");
        assert!(message.contains("data_gen.tile_px") && message.contains("0 or more"), "{message}");
        let message = error("data_gen.background.keep_probability=often");
        assert!(message.contains("data_gen.background.keep_probability: invalid type"), "{message}");
        let message = error("data_gen.objects_in=cotrex");
        assert!(message.contains("`anywhere` or `cortex`; did you mean `cortex`?"), "{message}");
        let message = error("data_gen.kinds=[\"objects\", \"gird\"]");
        assert!(message.contains("data_gen.kinds[1]") && message.contains("mean `grid`?"), "{message}");
        let message = error("data_gen.listed_folds=[{ name = \"a\", vaild = [] }]");
        assert!(message.contains("unknown field `vaild`") && message.contains("mean `valid`?"), "{message}");
        assert!(message.contains("(from --set data_gen.listed_folds="), "{message}");
    }

    #[test]
    fn the_last_layer_that_set_a_key_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let paths = ["a.toml", "b.toml"].map(|name| dir.path().join(name));
        for path in &paths {
            std::fs::write(path, "[data]\ncrop_px = \"wide\"").unwrap();
        }
        let config = Config::layered(&[], &paths, &[]).unwrap();
        let error = config.section::<hubmap_data::config::DataConfig>("data").unwrap_err().to_string();
        assert!(error.contains("b.toml") && !error.contains("a.toml"), "{error}");
    }

    #[test]
    fn a_missing_file_is_named_with_the_nearest() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("mine.toml"), "").unwrap();
        let error = base().overlay_file(&dir.path().join("mien.toml")).unwrap_err().to_string();
        assert!(error.contains("mien.toml; did you mean") && error.contains("mine.toml?"), "{error}");
    }
}

//! Settings in layers: the built-in base, files over it, `--set` over them.
//!
//! Every key exists in the base with its value, so a key that is not there is a mistake and is refused
//! with its file and the nearest key that exists. The exceptions are tables whose keys are names that the user
//! chooses.

use std::path::Path;

use anyhow::{Context, anyhow, bail};
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::args::CommonArgs;
use crate::outcome::UsageError;

/// The built-in settings, `base.toml` of this package; `configs/base.toml` is a link to it.
pub const BASE_CONFIG: &str = include_str!("../base.toml");

/// Tables whose keys are names, so that a layer may add to them.
const OPEN_TABLES: [&str; 2] = ["data.transforms", "data.slide_weights"];

/// The merged settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    table: Table,
}

impl Config {
    /// The base with the files of `--config` and the values of `--set` laid over it, in that order.
    ///
    /// Errors are [`UsageError`]s and name the file and the key.
    pub fn load(args: &CommonArgs) -> anyhow::Result<Self> {
        Self::layered(&[], &args.config, &args.set).map_err(UsageError::mark)
    }

    /// Like [`Config::load`], with a built-in layer of TOML between the base and the files.
    pub fn load_over(built_in: &str, args: &CommonArgs) -> anyhow::Result<Self> {
        Self::layered(&[built_in], &args.config, &args.set).map_err(UsageError::mark)
    }

    fn layered<P: AsRef<Path>>(built_in: &[&str], files: &[P], sets: &[String]) -> anyhow::Result<Self> {
        let mut config = Self { table: BASE_CONFIG.parse().context("built-in base config")? };
        for text in built_in {
            merge(&mut config.table, text.parse().context("built-in config")?, "")?;
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
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read config {}", path.display()))?;
        let layer: Table = text.parse().map_err(|e| anyhow!("{}: not valid TOML: {e}", path.display()))?;
        merge(&mut self.table, layer, "").with_context(|| path.display().to_string())
    }

    /// Sets one value of a table that exists, such as a path that the program decides.
    pub fn put(&mut self, table: &str, key: &str, value: impl Into<Value>) -> anyhow::Result<()> {
        let layer =
            Table::from_iter([(table.to_owned(), Table::from_iter([(key.to_owned(), value.into())]).into())]);
        merge(&mut self.table, layer, "")
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
        let Value::Table(layer) = layer else { bail!("--set {assignment}: expected TABLE.KEY=VALUE") };
        merge(&mut self.table, layer, "").with_context(|| format!("--set {assignment}"))
    }

    /// The settings of one table, such as `train`, as its type.
    pub fn section<T: DeserializeOwned>(&self, name: &str) -> anyhow::Result<T> {
        let value = self.table.get(name).with_context(|| format!("config has no [{name}]"));
        value
            .and_then(|value| {
                value.clone().try_into().map_err(|e: toml::de::Error| anyhow!("{}", e.message()))
            })
            .with_context(|| format!("config [{name}]"))
            .map_err(UsageError::mark)
    }

    /// The merged settings as TOML, to be kept beside what they made.
    pub fn to_toml(&self) -> String {
        self.table.to_string()
    }
}

/// Lays `layer` over `base`, table by table; arrays and values are replaced whole.
fn merge(base: &mut Table, layer: Table, prefix: &str) -> anyhow::Result<()> {
    for (key, value) in layer {
        let path = format!("{prefix}{key}");
        if !base.contains_key(&key) {
            if prefix.strip_suffix('.').is_some_and(|table| OPEN_TABLES.contains(&table)) {
                base.insert(key, value);
                continue;
            }
            let nearest = base
                .keys()
                .max_by(|a, b| strsim::jaro_winkler(a, &key).total_cmp(&strsim::jaro_winkler(b, &key)));
            match nearest {
                Some(known) => bail!("unknown key `{path}`; did you mean `{prefix}{known}`?"),
                None => bail!("unknown key `{path}`"),
            }
        }
        match (base.get_mut(&key), value) {
            (Some(Value::Table(base)), Value::Table(layer)) => merge(base, layer, &format!("{path}."))?,
            (Some(Value::Table(_)), other) => bail!("`{path}` is a table, not {}", other.type_str()),
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
        Config { table: "[train]\nepochs = 10\nname = \"a\"\n[train.loss]\nbce = 1.0".parse().unwrap() }
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
    fn the_built_in_base_is_valid_toml() {
        Config::layered::<&Path>(&[], &[], &[]).unwrap();
    }
}

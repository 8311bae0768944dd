//! The reference of settings: what the comments of the base say of every key, as data and as a page.
//!
//! `base.toml` is the one place where a key is explained. A comment, before the key or behind it, is the meaning, and ends
//! with `[unit: range]`, `[one of: a, b]` or a kind such as `[path]`; of what is true or false it is the meaning alone.
//! Kinds of steps in `[data.transforms]` are explained in the comment above the table, in the same form.

mod page;
mod range;

use anyhow::{Context, Result, bail, ensure};
use toml::{Table, Value};

use crate::config::{BASE_CONFIG, OPEN_TABLES};

pub use page::settings_page;
pub use range::{Bound, NumberRange};

/// What a value may be.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Allowed {
    /// Numbers.
    Numbers(NumberRange),
    /// These words; where the value is a list, its members.
    Words(Vec<String>),
    /// Whatever this describes, such as `path`.
    Described(String),
}

/// What is known of a key.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// What it is for.
    pub meaning: String,
    /// What is counted, where there is something to count.
    pub unit: Option<String>,
    /// The range as it is written, or the words.
    pub range: String,
    /// What it may be.
    pub allowed: Allowed,
}

/// A key with its value in the base.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// Its name in its table.
    pub key: String,
    /// Its value.
    pub value: Value,
    /// The value as it is written in the base, on one line.
    pub text: String,
    /// What it is.
    pub explanation: Explanation,
}

/// A kind of step of a transform.
#[derive(Debug, Clone, PartialEq)]
pub struct StepKind {
    /// Its `kind`.
    pub name: String,
    /// What it does.
    pub meaning: String,
    /// Its keys besides `kind`, and besides `p`, which all but the crops have.
    pub keys: Vec<(String, Explanation)>,
}

/// A table of the settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Section {
    /// Its name, such as `train.loss`.
    pub name: String,
    /// What it is for.
    pub meaning: String,
    /// Its keys, in the order of the base; none if they are names of the user's own.
    pub keys: Vec<Setting>,
    /// Names of what the base has in a table of names, and what they are.
    pub examples: Vec<(String, String)>,
    /// Kinds of steps that its comment explains.
    pub steps: Vec<StepKind>,
}

/// Every table of the base, in its order.
///
/// # Errors
///
/// A key is not explained as the module says; the message names it.
pub fn settings() -> Result<Vec<Section>> {
    read(BASE_CONFIG)
}

fn read(base: &str) -> Result<Vec<Section>> {
    let values: Table = base.parse().context("built-in base config")?;
    let mut sections: Vec<Section> = Vec::new();
    // Comment lines directly above.
    let mut above: Vec<&str> = Vec::new();
    let mut lines = base.lines();
    while let Some(line) = lines.next() {
        if let Some(comment) = line.strip_prefix('#') {
            above.push(comment.strip_prefix(' ').unwrap_or(comment));
        } else if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let section = section(name, &above).with_context(|| format!("[{name}]"))?;
            sections.push(section);
            above.clear();
        } else if let Some((key, rest)) = line.split_once(" = ") {
            let section = sections.last_mut().with_context(|| format!("{key} is in no table"))?;
            let (mut text, behind) = without_comment(rest);
            // A list over several lines ends with a bracket of its own.
            if text.ends_with('[') && !text.contains(']') {
                for line in lines.by_ref() {
                    text = format!("{text} {}", without_comment(line).0.trim());
                    if line == "]" {
                        break;
                    }
                }
            }
            let comment = above.iter().copied().chain(behind).collect::<Vec<_>>().join(" ");
            above.clear();
            if OPEN_TABLES.contains(&section.name.as_str()) {
                section.examples.push((key.to_owned(), comment));
                continue;
            }
            let path = format!("{}.{key}", section.name);
            let value = path.split('.').try_fold(None, |table: Option<&Value>, part| {
                table.map_or_else(|| values.get(part), |table| table.get(part)).map(Some)
            });
            let value = value.flatten().with_context(|| format!("{path} has no value"))?.clone();
            let explanation = explain(&comment, Some(&value)).with_context(|| path)?;
            section.keys.push(Setting { key: key.to_owned(), value, text, explanation });
        } else if line.is_empty() {
            above.clear();
        } else {
            bail!("{line:?} is neither a comment nor a key");
        }
    }
    Ok(sections)
}

/// A value and the comment behind it.
fn without_comment(text: &str) -> (String, Option<&str>) {
    let mut is_quoted = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' => is_quoted = !is_quoted,
            '#' if !is_quoted => {
                return (text[..at].trim_end().to_owned(), Some(text[at + 1..].trim_start()));
            }
            _ => {}
        }
    }
    (text.trim_end().to_owned(), None)
}

/// A table from the comment above it.
fn section(name: &str, comment: &[&str]) -> Result<Section> {
    let mut section = Section {
        name: name.to_owned(),
        meaning: String::new(),
        keys: Vec::new(),
        examples: Vec::new(),
        steps: Vec::new(),
    };
    let mut meaning: Vec<&str> = Vec::new();
    for &line in comment {
        if let Some(step) = line.strip_prefix("step ") {
            let (name, meaning) =
                step.split_once(": ").with_context(|| format!("step {step} is unexplained"))?;
            section.steps.push(StepKind {
                name: name.to_owned(),
                meaning: meaning.to_owned(),
                keys: Vec::new(),
            });
        } else if let Some(key) = line.strip_prefix("  ") {
            let (key, comment) = key.split_once(": ").with_context(|| format!("{key} is unexplained"))?;
            let step = section.steps.last_mut().with_context(|| format!("{key} is of no step"))?;
            step.keys.push((key.to_owned(), explain(comment, None).with_context(|| key.to_owned())?));
        } else if !line.is_empty() {
            meaning.push(line);
        }
    }
    section.meaning = meaning.join(" ");
    Ok(section)
}

/// What a comment says of a key; `value` tells what kind of range must be there.
fn explain(comment: &str, value: Option<&Value>) -> Result<Explanation> {
    if matches!(value, Some(Value::Boolean(_))) {
        ensure!(!comment.is_empty(), "is not explained");
        let range = "true or false".to_owned();
        let allowed = Allowed::Described(range.clone());
        return Ok(Explanation { meaning: comment.to_owned(), unit: None, range, allowed });
    }
    let bracket = comment.strip_suffix(']').and_then(|comment| comment.rsplit_once(" ["));
    let (meaning, bracket) = bracket.context("its comment does not end with [unit: range]")?;
    let (unit, range) = match bracket.split_once(": ") {
        Some((unit, range)) => (Some(unit), range),
        None => (None, bracket),
    };
    let (unit, allowed) = match (unit, NumberRange::parse(range)) {
        (Some("one of"), _) => (None, Allowed::Words(range.split(", ").map(str::to_owned).collect())),
        (unit, Some(numbers)) => (unit, Allowed::Numbers(numbers)),
        (unit, None) => (unit, Allowed::Described(range.to_owned())),
    };
    let first = match value {
        Some(Value::Array(members)) => members.first(),
        value => value,
    };
    if let Some(Value::Integer(_) | Value::Float(_)) = first {
        let is_range = matches!(allowed, Allowed::Numbers(_));
        ensure!(is_range && unit.is_some(), "a number needs [unit: range], not [{bracket}]");
    }
    Ok(Explanation {
        meaning: meaning.to_owned(),
        unit: unit.map(str::to_owned),
        range: range.to_owned(),
        allowed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(base: &str) -> String {
        format!("{:#}", read(base).unwrap_err())
    }

    #[test]
    fn comments_before_and_behind_a_key_explain_it() {
        let base = "# Of training.\n[train]\nseed = 1 # of all [seed: 0 or more]\n\n# how, \"#\"\n# at\n\
                    # last [one of: a, b]\nwords = [\n    \"a\", # the first\n    \"b\",\n]\non = true # or off\n";
        let sections = read(base).unwrap();
        assert_eq!((sections.len(), sections[0].meaning.as_str()), (1, "Of training."));
        let [seed, words, on] = sections[0].keys.as_slice() else { panic!("{sections:?}") };
        assert_eq!((seed.key.as_str(), seed.text.as_str()), ("seed", "1"));
        assert_eq!(
            (seed.explanation.unit.as_deref(), seed.explanation.range.as_str()),
            (Some("seed"), "0 or more")
        );
        assert_eq!(
            (words.explanation.meaning.as_str(), words.text.as_str()),
            ("how, \"#\" at last", "[ \"a\", \"b\", ]")
        );
        assert_eq!(words.explanation.allowed, Allowed::Words(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(
            (on.explanation.meaning.as_str(), on.explanation.range.as_str()),
            ("or off", "true or false")
        );
    }

    #[test]
    fn what_is_not_explained_is_named() {
        for (line, part) in [
            ("seed = 1", "train.seed: its comment does not end with [unit: range]"),
            ("seed = 1 # of all", "train.seed: its comment does not end"),
            ("seed = 1 # of all [0 or more]", "train.seed: a number needs [unit: range]"),
            ("seed = [1.0] # of all [seed: some]", "train.seed: a number needs [unit: range]"),
            ("on = true", "train.on: is not explained"),
        ] {
            assert!(message(&format!("[train]\n{line}\n")).contains(part), "{line}");
        }
        assert!(message("# step flip\n[data.transforms]\n").contains("step flip is unexplained"));
    }
}

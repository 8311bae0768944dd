//! The reference as a page of Markdown.

use anyhow::Result;
use toml::Value;

use super::{Allowed, Explanation, Section, Setting, settings};

const START: &str = "\
# Settings

Every setting of hubmap, with its default. A file given with `--config` is laid over these, key by key, and
`--set table.key=value` over all files; a key that is not here is refused. `hubmap-train --generate settings > mine.toml`
writes all of them to a file to start from.

This page is made from [`configs/base.toml`](../../configs/base.toml):
`cargo run -p hubmap-cli --example settings > docs/reference/settings.md`. A test holds it to the file, its ranges to what
executables refuse, and its words to what they take.
";

/// `docs/reference/settings.md`.
///
/// # Errors
///
/// As [`settings`].
pub fn settings_page() -> Result<String> {
    let mut page = START.to_owned();
    for section in settings()? {
        add_section(&mut page, &section);
    }
    Ok(page)
}

fn add_section(page: &mut String, section: &Section) {
    page.extend(["\n## `[", &section.name, "]`\n\n", &section.meaning, "\n"]);
    if !section.keys.is_empty() {
        page.push_str(
            "\n| key | default | type | unit | range | meaning |\n| --- | --- | --- | --- | --- | --- |\n",
        );
    }
    for setting in &section.keys {
        let Explanation { meaning, unit, range, .. } = &setting.explanation;
        let cells = [
            format!("`{}`", setting.key),
            format!("`{}`", setting.text),
            kind(setting).to_owned(),
            unit.clone().unwrap_or_else(|| "–".to_owned()),
            range.clone(),
            meaning.clone(),
        ];
        add_row(page, &cells);
    }
    if !section.examples.is_empty() {
        page.push_str("\n| in the base | what it is |\n| --- | --- |\n");
    }
    for (name, meaning) in &section.examples {
        add_row(page, &[format!("`{name}`"), meaning.clone()]);
    }
    if !section.steps.is_empty() {
        page.push_str("\n| kind of step | key | unit | range | meaning |\n| --- | --- | --- | --- | --- |\n");
    }
    for step in &section.steps {
        add_row(
            page,
            &[format!("`{}`", step.name), String::new(), String::new(), String::new(), step.meaning.clone()],
        );
        for (key, Explanation { meaning, unit, range, .. }) in &step.keys {
            let unit = unit.clone().unwrap_or_else(|| "–".to_owned());
            add_row(page, &[String::new(), format!("`{key}`"), unit, range.clone(), meaning.clone()]);
        }
    }
}

fn add_row(page: &mut String, cells: &[String]) {
    // `<id>` in a text would be taken for HTML; in code it is shown as it is.
    let shown = |cell: &String| {
        let cell = cell.replace('|', "\\|");
        if cell.starts_with('`') { cell } else { cell.replace('<', "&lt;") }
    };
    let cells: Vec<String> = cells.iter().map(shown).collect();
    page.extend(["| ", &cells.join(" | "), " |\n"]);
}

/// What a value is.
fn kind(setting: &Setting) -> &'static str {
    let Explanation { range, allowed, .. } = &setting.explanation;
    let is_choice = matches!(allowed, Allowed::Words(_));
    match &setting.value {
        Value::Integer(_) => "whole number",
        Value::Float(_) => "number",
        Value::Boolean(_) => "boolean",
        Value::Array(_) if is_choice => "list of choices",
        Value::Array(members) => match members.first() {
            Some(Value::Float(_) | Value::Integer(_)) => "list of numbers",
            Some(Value::Table(_)) => "list of tables",
            _ => "list of texts",
        },
        _ if is_choice => "choice",
        _ if range == "path" => "path",
        _ => "text",
    }
}

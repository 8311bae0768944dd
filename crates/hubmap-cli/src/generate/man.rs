//! The man page of an executable, its subcommands as sections of it.

use std::io::Write;

use clap::builder::Command;
use clap_mangen::Man;

/// The page, as roff.
pub(super) fn page(mut command: Command) -> String {
    command.build();
    let subs: Vec<Command> =
        command.get_subcommands().filter(|sub| sub.get_name() != "help").cloned().collect();
    let notes = extra(&command, ".SH");
    let man = Man::new(command.clone()).manual("hubmap").source(format!(
        "{} {}",
        command.get_name(),
        command.get_version().unwrap_or_default()
    ));
    let mut page = written(|out| {
        man.render_title(out)?;
        man.render_name_section(out)?;
        man.render_synopsis_section(out)?;
        man.render_description_section(out)?;
        man.render_options_section(out)
    });
    for sub in subs {
        let name = sub.get_bin_name().unwrap_or(sub.get_name()).to_owned();
        let notes = extra(&sub, ".SS");
        let man = Man::new(sub);
        let sections = written(|out| {
            man.render_synopsis_section(out)?;
            man.render_description_section(out)?;
            man.render_options_section(out)
        });
        page.push_str(&format!(".SH \"{}\"\n", escaped(&name)));
        page.push_str(&as_subsections(&sections));
        page.push_str(&notes);
    }
    page.push_str(&notes);
    page
}

/// What is written; writing to memory does not fail.
fn written(write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> String {
    let mut text = Vec::new();
    let _to_memory = write(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// Sections one level down; what defines macros of the page stays out, because the page has it.
fn as_subsections(sections: &str) -> String {
    let lines = sections.lines().filter(|line| !line.starts_with(".ie ") && !line.starts_with(".el "));
    let lines = lines.map(|line| match line.strip_prefix(".SH") {
        Some(heading) => format!(".SS{heading}\n"),
        None => format!("{line}\n"),
    });
    lines.collect()
}

/// The end of the long help: headings as sections, and indented lines as they are.
fn extra(command: &Command, section: &str) -> String {
    let help = command.get_after_long_help().or(command.get_after_help());
    let help = help.map(ToString::to_string).unwrap_or_default();
    let mut roff = String::new();
    let mut is_literal = false;
    // Text before the first heading needs one of its own.
    let mut has_heading = false;
    for line in help.lines() {
        let literal = line.starts_with(' ');
        if literal != is_literal && !line.is_empty() {
            roff.push_str(if literal { ".nf\n" } else { ".fi\n" });
            is_literal = literal;
        }
        let heading = line.strip_suffix(':').filter(|_| !literal);
        if let Some(heading) = heading.filter(|heading| heading.split(' ').count() <= 2) {
            roff.push_str(&format!("{section} \"{}\"\n", escaped(heading).to_uppercase()));
            has_heading = true;
        } else if !line.is_empty() {
            if !has_heading {
                roff.push_str(&format!("{section} \"NOTES\"\n"));
                has_heading = true;
            }
            roff.push_str(&escaped(line));
            roff.push('\n');
            if !literal {
                roff.push_str(".br\n");
            }
        } else if is_literal {
            roff.push('\n');
        }
    }
    if is_literal {
        roff.push_str(".fi\n");
    }
    roff
}

/// Text in which nothing is a request or an escape of roff.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('-', "\\-").replace('"', "\\(dq");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn text_is_no_request() {
        assert_eq!(escaped(".nf --x"), "\\&.nf \\-\\-x");
        assert_eq!(escaped("a\\b"), "a\\\\b");
    }
}

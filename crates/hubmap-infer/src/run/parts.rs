//! Joining what several jobs have predicted into one folder.

use anyhow::{Context, Result, bail, ensure};

use super::record::SlideRecord;
use super::{Summary, exclusive, write_json};
use crate::outputs::{OutputKind, OutputPlan, SlideInput, write_merged};

/// Slides that an error names before it only counts.
const MAX_NAMED: usize = 20;

/// Makes the summary and the submission table of slides that were predicted in parts
/// ([`OutputPlan::part`]), the same as one run over all of them would.
///
/// `plan` says where they are and the order of the table; its kinds of files are those that the slides have.
///
/// # Errors
///
/// Slides that are not finished, by name; slides that were made with other settings or models than the first; files that
/// are gone; a run that is still writing to the folder. Nothing is written then.
pub fn join_parts(slides: &[SlideInput], plan: &OutputPlan) -> Result<Summary> {
    let plan = OutputPlan { part: None, ..plan.clone() };
    let _lock = exclusive(&plan)?;
    let records: Vec<_> = slides.iter().map(|slide| SlideRecord::read(&plan, &slide.id)).collect();
    let missing: Vec<&str> = slides
        .iter()
        .zip(&records)
        .filter(|(_, record)| record.is_none())
        .map(|(slide, _)| slide.id.as_str())
        .collect();
    if !missing.is_empty() {
        bail!(
            "{} of {} slides are not finished in {}: {}; run their parts again",
            missing.len(),
            slides.len(),
            plan.folder.display(),
            named(&missing)
        );
    }
    let records: Vec<SlideRecord> = records.into_iter().flatten().collect();
    let first = records.first().context("no slides to join")?;
    let others: Vec<&str> = records
        .iter()
        .filter(|record| record.identity != first.identity)
        .map(|record| record.summary.id.as_str())
        .collect();
    ensure!(
        others.is_empty(),
        "{} slides were made with other settings or models than {}: {}; run their parts again with those of the others",
        others.len(),
        first.summary.id,
        named(&others)
    );
    let plan = OutputPlan { kinds: first.kinds(), ..plan };
    for record in &records {
        ensure!(
            record.has_files(&plan),
            "{}: files of {} are gone or were changed, of the kinds {}; run its part again",
            plan.folder.display(),
            record.summary.id,
            plan.kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ")
        );
    }
    let summary = Summary {
        settings: first.run.settings.clone(),
        model: first.run.model.clone(),
        n_models: first.run.n_models,
        outputs: plan.kinds.clone(),
        total_seconds: records.iter().map(|record| record.summary.total_seconds).sum(),
        slides: records.iter().map(|record| record.summary.clone()).collect(),
        failed: Vec::new(),
    };
    if plan.wants(OutputKind::Rle) {
        let tables = slides.iter().map(|slide| (slide.id.clone(), plan.path(OutputKind::Rle, &slide.id)));
        write_merged(&plan.submission(first.run.threshold), tables.collect(), &plan.order)?;
    }
    write_json(&plan.summary(), &summary)?;
    Ok(summary)
}

/// A list of ids of a length that a person reads.
fn named(ids: &[&str]) -> String {
    match ids.split_at_checked(MAX_NAMED) {
        Some((first, rest)) if !rest.is_empty() => format!("{} and {} more", first.join(", "), rest.len()),
        _ => ids.join(", "),
    }
}

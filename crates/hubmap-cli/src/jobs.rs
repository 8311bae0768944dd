//! Lists of slides, and the part of them that one job of a cluster takes.

#[cfg(feature = "inference")]
use std::path::PathBuf;
use std::str::FromStr;

#[cfg(feature = "inference")]
use anyhow::Context as _;
use anyhow::Result;
#[cfg(feature = "inference")]
use hubmap_io::Location;
#[cfg(feature = "inference")]
use hubmap_jobs::ManifestEntry;
use hubmap_jobs::{Shard, ShardError};

#[cfg(feature = "inference")]
use crate::locations::{is_address, location, remote_options};
use crate::outcome::UsageError;

/// Which part of a list a job takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShardChoice {
    /// That of this number.
    Given(Shard),
    /// The one that the scheduler has given to this job.
    Scheduled,
}

impl FromStr for ShardChoice {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, ShardError> {
        if text == "auto" { Ok(Self::Scheduled) } else { text.parse().map(Self::Given) }
    }
}

/// Flags of executables that work through a list which several jobs may share.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Clusters")]
pub struct ShardArgs {
    /// Do only part I of N, counted from 0; auto: the part that Slurm or Kubernetes has given to this job
    ///
    /// Jobs with the parts of one list share the output folder. Slides are dealt out by their size, in every job alike.
    /// auto reads `SLURM_ARRAY_TASK_ID` and `SLURM_ARRAY_TASK_COUNT`, or `JOB_COMPLETION_INDEX` and `JOB_COMPLETIONS`.
    #[arg(long, value_name = "I/N")]
    pub shard: Option<ShardChoice>,
}

impl ShardArgs {
    /// The part that this job takes, if the list is shared at all; what a scheduler said goes to the log.
    ///
    /// # Errors
    ///
    /// `auto` outside of a job of a known scheduler, and one that does not say enough; both are usage errors.
    pub fn shard(&self) -> Result<Option<Shard>> {
        match self.shard {
            None => Ok(None),
            Some(ShardChoice::Given(shard)) => Ok(Some(shard)),
            Some(ShardChoice::Scheduled) => {
                let found = Shard::of_job(|name| std::env::var(name).ok()).map_err(UsageError::mark)?;
                let Some(job) = found else {
                    return Err(UsageError::mark(anyhow::anyhow!(
                        "--shard auto: this is no task of a Slurm array and no indexed job of Kubernetes; write --shard I/N"
                    )));
                };
                tracing::info!("part {} of the list, as {} say", job.shard, job.told_by);
                Ok(Some(job.shard))
            }
        }
    }
}

/// Name of a part, for the files that it leaves.
pub fn part_name(shard: Shard) -> String {
    format!("{}-of-{}", shard.index(), shard.count())
}

/// Flags of executables that take slides.
#[cfg(feature = "inference")]
#[derive(Debug, Clone, Default, clap::Args)]
pub struct SlideArgs {
    /// Slides, or folders of .tif, .tiff and .svs files; in builds with the feature `remote` also their addresses
    ///
    /// Addresses begin with s3:, gs:, http: or https:. One on a store that ends in a slash stands for all slides in that folder.
    /// Keys and regions of stores come from the environment, such as `AWS_ACCESS_KEY_ID`. Results are always written to this
    /// machine.
    #[arg(long, value_name = "DIR|FILE|URL", num_args = 1.., required_unless_present = "manifest")]
    pub slides: Vec<PathBuf>,

    /// List of slides, besides or instead of --slides: CSV with the columns path and, if wanted, id, `microns_per_px`
    /// and bytes, or .jsonl with such objects
    ///
    /// Paths in the list are relative to its folder, or addresses as for --slides. `microns_per_px` counts instead of what a slide
    /// states. bytes is the size by which jobs divide the list, so that none has to ask for it.
    #[arg(long, value_name = "FILE")]
    pub manifest: Option<PathBuf>,
}

#[cfg(feature = "inference")]
impl SlideArgs {
    /// The files and folders named, for [`check_inputs`](crate::check_inputs).
    pub fn inputs(&self) -> impl Iterator<Item = &PathBuf> {
        self.slides.iter().filter(|name| !is_address(name)).chain(&self.manifest)
    }

    /// All slides, or those of a part.
    ///
    /// Their order is that of `--slides`, then of the list. Only slides whose size the list does not state are asked for it.
    /// Those that cannot be found have no size, and are dealt out last; whoever gets them reports them.
    ///
    /// # Errors
    ///
    /// Lists, paths and addresses that cannot be used are usage errors. With a part, also a store that does not answer: every
    /// job must know the same sizes.
    pub fn find(&self, shard: Option<Shard>) -> Result<Vec<hubmap_infer::SlideInput>> {
        let mut slides = Vec::new();
        if !self.slides.is_empty() {
            let locations = self.slides.iter().map(|name| location(name)).collect::<Result<Vec<_>>>()?;
            let are_files = locations.iter().all(|location| location.as_file().is_some());
            // A store that does not answer is nobody's to mend on the command line.
            let mark = |error| if are_files { UsageError::mark(error) } else { error };
            slides = hubmap_infer::find_slides(&locations).map_err(mark)?;
        }
        let mut stated = vec![None; slides.len()];
        if let Some(manifest) = &self.manifest {
            let entries = hubmap_jobs::read_manifest(manifest).map_err(UsageError::mark)?;
            let options = remote_options();
            for ManifestEntry { id, path, microns_per_px, bytes } in entries {
                // A file that is not there is the slide's failure, not the list's.
                let location = Location::parse(&path, &options).map_err(UsageError::mark)?;
                slides.push(hubmap_infer::SlideInput { id, location, microns_per_px });
                stated.push(bytes);
            }
            hubmap_infer::check_ids(&slides).map_err(UsageError::mark)?;
        }
        let Some(shard) = shard else { return Ok(slides) };
        let unstated = slides.iter().zip(&stated).filter(|(_, stated)| stated.is_none());
        let unstated: Vec<Location> = unstated.map(|(slide, _)| slide.location.clone()).collect();
        let found = Location::stat_all(&unstated).into_iter().map(size_or_none);
        let mut found = found.collect::<Result<Vec<u64>>>()?.into_iter();
        // There are as many as were asked for.
        let sizes = stated.into_iter().map(|stated| stated.or_else(|| found.next()).unwrap_or_default());
        let sizes: Vec<u64> = sizes.collect();
        let mine = shard.select(&sizes);
        tracing::info!("part {shard}: {} of {} slides", mine.len(), slides.len());
        Ok(mine.into_iter().map(|place| slides[place].clone()).collect())
    }
}

/// The size of a slide, 0 if it is not to be had. That a store did not answer may be so in one job and not in another, and then
/// their parts would not make up the list.
#[cfg(feature = "inference")]
fn size_or_none(stat: hubmap_io::Result<hubmap_io::Stat>) -> Result<u64> {
    use std::io::ErrorKind::{NotFound, PermissionDenied};
    match stat {
        Ok(stat) => Ok(stat.n_bytes),
        Err(hubmap_io::Error::Io { path, source, .. })
            if !is_address(&path) || matches!(source.kind(), NotFound | PermissionDenied) =>
        {
            Ok(0)
        }
        Err(error) => Err(error).context("cannot tell the size of a slide, by which the list is divided"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_given_or_left_to_the_scheduler() {
        let shard = |text: &str| text.parse::<ShardChoice>();
        assert_eq!(shard("1/4").unwrap(), ShardChoice::Given(Shard::new(1, 4).unwrap()));
        assert_eq!(shard("auto").unwrap(), ShardChoice::Scheduled);
        assert!(shard("4/4").is_err() && shard("all").is_err());
        assert_eq!(part_name(Shard::new(1, 4).unwrap()), "1-of-4");
        assert_eq!(ShardArgs { shard: None }.shard().unwrap(), None);
    }

    #[cfg(feature = "inference")]
    #[test]
    fn a_slide_that_is_not_there_has_no_size_and_a_silent_store_divides_nothing() {
        use std::io::{Error as IoError, ErrorKind};

        use hubmap_io::Error;

        let failed = |path: &str, kind| {
            size_or_none(Err(Error::io(std::path::Path::new(path), "open", IoError::from(kind))))
        };
        for (path, kind) in [
            ("a.svs", ErrorKind::NotFound),
            ("a.svs", ErrorKind::Other),
            ("s3://bucket/a.svs", ErrorKind::NotFound),
            ("s3://bucket/a.svs", ErrorKind::PermissionDenied),
        ] {
            assert_eq!(failed(path, kind).unwrap(), 0, "{path}, {kind}");
        }
        let error = failed("s3://bucket/a.svs", ErrorKind::Other).unwrap_err();
        assert!(format!("{error:#}").contains("s3://bucket/a.svs: cannot open"), "{error:#}");
    }

    #[cfg(feature = "inference")]
    #[test]
    fn a_list_is_divided_by_the_sizes_that_it_states() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("slides.csv");
        let slides = SlideArgs { slides: Vec::new(), manifest: Some(list.clone()) };
        let parts = |text: &str| {
            std::fs::write(&list, text).unwrap();
            [0, 1].map(|part| {
                let part = slides.find(Some(Shard::new(part, 2).unwrap())).unwrap();
                part.into_iter().map(|slide| slide.id).collect::<Vec<_>>().join(" ")
            })
        };
        assert_eq!(parts("path,bytes\na.svs,1\nb.svs,2\nc.svs,3\n"), ["c", "a b"]);
        // The file is another by now; the list counts, where it says something.
        std::fs::write(folder.path().join("b.svs"), [0; 9]).unwrap();
        assert_eq!(parts("path,bytes\na.svs,1\nb.svs,2\nc.svs,3\n"), ["c", "a b"]);
        assert_eq!(parts("path,bytes\na.svs,1\nb.svs,\nc.svs,3\n"), ["b", "a c"]);
    }
}

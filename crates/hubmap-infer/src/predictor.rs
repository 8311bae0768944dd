//! From a slide to rows of probabilities: blocks, models, views, merge, enlarge, paste (spec section 6).

use anyhow::{Result, anyhow, bail, ensure};
use half::f16;
use hubmap_data::{Fault, Normalization};
use hubmap_io::{RasterReader, Size};
use ndarray::{Array2, Array3, ArrayRef2, s};

use crate::blocks::{Block, BlockGrid};
use crate::config::PredictConfig;
use crate::journal::BlockJournal;
use crate::merge::Merger;
use crate::pipeline::Pipeline;
use crate::plan::{self, Origin, Tile};
use crate::progress::Progress;
use crate::replica::Replica;
use crate::segment::SegmentTiles;
use crate::stage::{Stage, StageClock, StageSeconds};
use crate::tissue::TissueMask;

/// Receives the probabilities of a slide, whole rows from top to bottom.
///
/// Rows come some at a time, at most a row of blocks, each exactly once and in order, so that files can grow with them
/// and a slide never has to fit in memory. It is called from a thread of the predictor's.
pub trait RowSink {
    /// Takes the `[n_rows, slide width]` probabilities of rows `y0..y0 + n_rows`.
    fn write_rows(&mut self, y0: u32, probabilities: &ArrayRef2<f16>) -> Result<()>;
}

/// The probabilities of a whole slide in memory, two bytes a pixel.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbabilityMap {
    /// `[height, width]`.
    pub probabilities: Array2<f16>,
}

impl ProbabilityMap {
    /// A map of zeros.
    pub fn new(size: Size) -> Self {
        Self { probabilities: Array2::from_elem((size.height as usize, size.width as usize), f16::ZERO) }
    }
}

impl RowSink for ProbabilityMap {
    fn write_rows(&mut self, y0: u32, probabilities: &ArrayRef2<f16>) -> Result<()> {
        let y0 = y0 as usize;
        self.probabilities.slice_mut(s![y0..y0 + probabilities.nrows(), ..]).assign(probabilities);
        Ok(())
    }
}

/// How the prediction of a slide went.
#[derive(Debug, Clone, PartialEq)]
pub struct PredictStats {
    /// Blocks of the slide.
    pub n_blocks: usize,
    /// Those without tissue, which were not read.
    pub n_skipped: usize,
    /// Those whose results were in the journal.
    pub n_replayed: usize,
    /// Where the time went.
    pub seconds: StageSeconds,
    /// Where there is tissue, if blocks without any were left out.
    pub tissue: Option<TissueMask>,
}

/// Predicts slides with one or more models, the folds of a run.
pub struct Predictor {
    replicas: Vec<Replica>,
    normalization: Normalization,
    config: PredictConfig,
    /// Name of the device or devices.
    pub(crate) device: Option<String>,
}

impl Predictor {
    /// A predictor that averages over `models`, which see pixels after `normalization`.
    pub fn new(
        models: Vec<Box<dyn SegmentTiles>>,
        normalization: Normalization,
        config: PredictConfig,
    ) -> Result<Self> {
        Self::with_replicas(vec![models], normalization, config)
    }

    /// The same with several copies of the models, such as one on each device, among which the tiles of a slide are shared.
    ///
    /// Each copy works on a thread of its own. Who predicts a tile does not show in the results, as far as the copies give
    /// the same numbers.
    pub fn with_replicas(
        replicas: Vec<Vec<Box<dyn SegmentTiles>>>,
        normalization: Normalization,
        config: PredictConfig,
    ) -> Result<Self> {
        let n_models = replicas.first().map_or(0, Vec::len);
        ensure!(n_models > 0, "a prediction needs at least one model");
        ensure!(
            replicas.iter().all(|models| models.len() == n_models),
            "copies of the models differ in number: {:?}",
            replicas.iter().map(Vec::len).collect::<Vec<_>>()
        );
        normalization.validate()?;
        config.validate()?;
        let replicas = replicas.into_iter().map(|models| Replica { models }).collect();
        Ok(Self { replicas, normalization, config, device: None })
    }

    /// The same predictor with the name of its device, or of several with commas, for the records of slides.
    #[must_use]
    pub fn on_device(self, name: impl Into<String>) -> Self {
        Self { device: Some(name.into()), ..self }
    }

    /// The settings in use.
    pub const fn config(&self) -> &PredictConfig {
        &self.config
    }

    /// What pixels go through before the models see them.
    pub const fn normalization(&self) -> &Normalization {
        &self.normalization
    }

    /// Number of models that are averaged.
    pub fn n_models(&self) -> usize {
        self.replicas[0].models.len()
    }

    /// The blocks in which a slide of this size is predicted.
    pub fn grid(&self, size: Size) -> BlockGrid {
        self.config.grid(size)
    }

    /// Predicts a slide and hands its probabilities to `sink`, row by row.
    ///
    /// Reading, networks, merging and the sink run on threads of their own, with bounded queues between them; `progress` is
    /// told on the calling thread. An error or panic of any of them ends all, and is the error here.
    /// With a `journal`, blocks that are in it are not predicted again, and the results of others go there, also those that
    /// were under way when the prediction failed or was interrupted.
    ///
    /// Not to be called from within rayon's pool: readers and merge need its threads.
    pub fn predict(
        &self,
        slide: &dyn RasterReader,
        sink: &mut (dyn RowSink + Send),
        journal: Option<&mut BlockJournal>,
        progress: &dyn Progress,
    ) -> Result<PredictStats> {
        if slide.bands() != 3 {
            bail!(Fault::Input.mark(anyhow!(
                "{}: the slide has {} bands, but the networks need the 3 of RGB",
                slide.path().display(),
                slide.bands()
            )));
        }
        let clock = StageClock::default();
        let find_tissue = || TissueMask::find(slide, &self.config.tissue);
        let tissue = self.config.tissue.skip.then(|| clock.time(Stage::Tissue, find_tissue)).transpose()?;
        let blocks: Vec<Block> = self.grid(slide.size()).row_major().collect();
        let origin = |(block_idx, &block): (usize, &Block)| {
            let shape = plan::shape(Merger::kept(&self.config, block));
            let tissue = tissue.as_ref().map(|tissue| tissue.bounds(block.paste));
            match tissue {
                Some(None) => Origin::NoTissue,
                _ if journal.as_ref().is_some_and(|journal| journal.has(block_idx, shape)) => Origin::Journal,
                Some(Some(tissue)) if self.config.tissue.trim => {
                    Origin::Networks(Tile::trimmed(&self.config, block, tissue))
                }
                _ => Origin::Networks(Tile::whole(&self.config, block)),
            }
        };
        let origins: Vec<Origin> = blocks.iter().enumerate().map(origin).collect();
        let count = |wanted| origins.iter().filter(|&&origin| origin == wanted).count();
        let (n_skipped, n_replayed) = (count(Origin::NoTissue), count(Origin::Journal));
        if n_skipped + n_replayed > 0 {
            progress.blocks_done(n_skipped + n_replayed);
        }
        let pipeline = Pipeline {
            slide,
            replicas: &self.replicas,
            normalization: self.normalization,
            config: &self.config,
            blocks: &blocks,
            origins: &origins,
            clock: &clock,
        };
        pipeline.run(sink, journal, progress)?;
        Ok(PredictStats { n_blocks: blocks.len(), n_skipped, n_replayed, seconds: clock.seconds(), tissue })
    }

    /// Predicts a slide into memory.
    pub fn predict_map(&self, slide: &dyn RasterReader) -> Result<ProbabilityMap> {
        let mut map = ProbabilityMap::new(slide.size());
        self.predict(slide, &mut map, None, &())?;
        Ok(map)
    }

    /// Probabilities `[h, w]` of normalised square tiles `[3, h, w]`, averaged over models and views.
    ///
    /// Public for callers with tiles of their own, such as previews; the results do not depend on how tiles
    /// are grouped.
    pub fn probabilities(&self, tiles: &[Array3<f32>]) -> Result<Vec<Array2<f32>>> {
        let whole = |tile: &Array3<f32>| Size::new(tile.dim().2 as u32, tile.dim().1 as u32).window();
        let windows: Vec<_> = tiles.iter().map(whole).collect();
        self.replicas[0].probabilities(tiles, &windows, &self.config)
    }
}

impl std::fmt::Debug for Predictor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Predictor")
            .field("n_models", &self.n_models())
            .field("n_replicas", &self.replicas.len())
            .field("normalization", &self.normalization)
            .field("config", &self.config)
            .field("device", &self.device)
            .finish()
    }
}

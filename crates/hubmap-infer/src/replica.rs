//! From tiles to probabilities: models, views and their means (spec section 6).

use anyhow::{Context, Result, anyhow, bail, ensure};
use hubmap_data::Fault;
use hubmap_io::Window;
use ndarray::{Array2, Array3, Array4, ArrayRef2, ArrayView2, Axis, s};

use crate::config::{Merge, PredictConfig};
use crate::segment::SegmentTiles;

/// One copy of the models that are averaged, such as those on one device.
pub(crate) struct Replica {
    pub(crate) models: Vec<Box<dyn SegmentTiles>>,
}

impl Replica {
    /// Probabilities of normalised square tiles `[3, h, w]`, averaged over models and views: those in one window of each.
    pub(crate) fn probabilities(
        &self,
        tiles: &[Array3<f32>],
        windows: &[Window],
        config: &PredictConfig,
    ) -> Result<Vec<Array2<f32>>> {
        let views = config.tta.views();
        let merge = |sums: Vec<Vec<Array2<f32>>>| {
            let n_views = views.len() as f32;
            let merged = sums.into_iter().map(|groups| {
                mean(groups.into_iter().map(|sum| Ok(sum.mapv_into(|logit| sigmoid(logit / n_views)))))
            });
            merged.collect()
        };
        if let Some(sums) = self.sums_of_devices(tiles, windows, config)? {
            return merge(sums);
        }
        // Sums over views of logits: of the mean over models, or of each model.
        let n_groups = match config.merge {
            Merge::Logits => 1,
            Merge::Probabilities => self.models.len(),
        };
        let zeros = |window: &Window| Array2::zeros((window.height as usize, window.width as usize));
        let mut sums: Vec<Vec<Array2<f32>>> =
            windows.iter().map(|window| vec![zeros(window); n_groups]).collect();

        let jobs: Vec<_> = views.iter().flat_map(|&view| (0..tiles.len()).map(move |i| (view, i))).collect();
        let mut rest = jobs.as_slice();
        while let Some(&(first_view, first)) = rest.first() {
            // One forward pass takes views of one shape; a turn exchanges the sides of a tile.
            let shape = first_view.transform(&tiles[first]).dim();
            let n_alike = rest
                .iter()
                .take(config.batch)
                .take_while(|(view, i)| view.transform(&tiles[*i]).dim() == shape)
                .count();
            let (batch, later) = rest.split_at(n_alike);
            rest = later;

            let mut input = Array4::zeros((n_alike, shape.0, shape.1, shape.2));
            for (mut slot, (view, i)) in input.outer_iter_mut().zip(batch) {
                slot.assign(&view.transform(&tiles[*i]));
            }
            let per_model = self.models.iter().map(|model| checked_logits(model.as_ref(), &input));
            let groups = match config.merge {
                Merge::Logits => vec![mean(per_model)?],
                Merge::Probabilities => per_model.collect::<Result<Vec<_>>>()?,
            };
            for (group_idx, logits) in groups.iter().enumerate() {
                for (logits, (view, i)) in logits.outer_iter().zip(batch) {
                    let logits = view.inverse(&logits);
                    sums[*i][group_idx] += &part(&logits.index_axis(Axis(0), 0), windows[*i]);
                }
            }
        }

        merge(sums)
    }

    /// Sums over views for each tile, of the mean over models or of each model, if the models make views themselves.
    fn sums_of_devices(
        &self,
        tiles: &[Array3<f32>],
        windows: &[Window],
        config: &PredictConfig,
    ) -> Result<Option<Vec<Vec<Array2<f32>>>>> {
        let mut sums = Vec::with_capacity(tiles.len());
        while let Some(first) = tiles.get(sums.len()) {
            // One forward pass takes tiles of one shape.
            let rest = &tiles[sums.len()..];
            let n_alike = rest.iter().take(config.batch).take_while(|tile| tile.dim() == first.dim()).count();
            let views: Vec<_> = rest[..n_alike].iter().map(|tile| tile.view()).collect();
            let input = ndarray::stack(Axis(0), &views)?;
            let mut per_model = Vec::with_capacity(self.models.len());
            for model in &self.models {
                let Some(logits) = model.summed_over_views(&input, config.tta.views())? else {
                    return Ok(None);
                };
                per_model.push(check(logits, &input)?);
            }
            let groups = match config.merge {
                Merge::Logits => vec![mean(per_model.into_iter().map(Ok))?],
                Merge::Probabilities => per_model,
            };
            for i in 0..n_alike {
                let window = windows[sums.len()];
                let tile =
                    groups.iter().map(|logits| part(&logits.slice(s![i, 0, .., ..]), window).to_owned());
                sums.push(tile.collect());
            }
        }
        Ok(Some(sums))
    }
}

/// A window of a `[h, w]` array.
fn part(array: &ArrayRef2<f32>, window: Window) -> ArrayView2<'_, f32> {
    let (x, y) = (window.x as usize, window.y as usize);
    array.slice(s![y..y + window.height as usize, x..x + window.width as usize])
}

fn checked_logits(model: &dyn SegmentTiles, input: &Array4<f32>) -> Result<Array4<f32>> {
    check(model.logits(input)?, input)
}

/// Refuses what no network gives for these tiles.
fn check(logits: Array4<f32>, input: &Array4<f32>) -> Result<Array4<f32>> {
    let (n, _, h, w) = input.dim();
    ensure!(
        logits.dim() == (n, 1, h, w),
        "the network gave logits of shape {:?} for {n} tiles of {w}x{h} px: expected [{n}, 1, {h}, {w}]",
        logits.shape()
    );
    if !logits.iter().all(|logit| logit.is_finite()) {
        let problem =
            "the network gave values that are not finite: its weights are damaged or of another model";
        bail!(Fault::Input.mark(anyhow!(problem)));
    }
    Ok(logits)
}

/// Elementwise mean, summed in order and divided once as the reference does.
fn mean<D: ndarray::Dimension>(
    arrays: impl Iterator<Item = Result<ndarray::Array<f32, D>>>,
) -> Result<ndarray::Array<f32, D>> {
    let (mut sum, mut n) = (None, 0_u32);
    for array in arrays {
        let array = array?;
        n += 1;
        sum = Some(match sum {
            None => array,
            Some(sum) => sum + &array,
        });
    }
    let sum = sum.context("a mean of no models")?;
    Ok(if n == 1 { sum } else { sum / n as f32 })
}

fn sigmoid(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}

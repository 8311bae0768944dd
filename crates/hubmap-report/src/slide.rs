//! One predicted slide: its picture, its objects and how they agree with the truth.

use std::collections::HashMap;

use anyhow::{Context, Result};
use hubmap_infer::{MaskObjects, Masks, OutputKind, Progress, SlideScore, SweepCounts, score_slide};
use hubmap_io::{Location, RasterReader, Size};

use crate::gallery::{Gallery, Objects};
use crate::outline::push_path;
use crate::picture::{Picture, View, data_uri};
use crate::predictions::{ObjectRow, PredictedSlide, Predictions};

/// Outlines of one kind on a slide; the largest objects have them.
const MAX_OUTLINES: usize = 3000;
/// Bytes of their path after which no further ones are added.
const MAX_PATH_BYTES: usize = 1 << 20;
/// A picture of tissue is small; a larger one would not be one of ours.
const MAX_TISSUE_BYTES: u64 = 1 << 20;

/// What is shown of a slide.
#[derive(Debug)]
pub(crate) struct SlideView {
    pub(crate) size: Size,
    pub(crate) microns_per_px: Option<f64>,
    /// Of the picture; none where it is left out, for there are pictures enough.
    pub(crate) view: Option<View>,
    /// Why there is no picture, in words, where there is none.
    pub(crate) picture: Result<Picture, String>,
    /// The file's picture of tissue as an address.
    pub(crate) tissue: Option<String>,
    pub(crate) probability: Option<Picture>,
    pub(crate) predicted: Layer,
    pub(crate) truth: Option<Layer>,
    pub(crate) positive_px: u64,
    pub(crate) score: Option<SlideScore>,
}

/// Outlines of one kind on a slide.
#[derive(Debug)]
pub(crate) struct Layer {
    /// Data of a path, see [`push_path`].
    pub(crate) path: String,
    pub(crate) n_shown: usize,
    pub(crate) n_objects: usize,
}

/// What is collected over slides.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    /// Area of every predicted object in pixels, and the length of a pixel where the slide states it.
    pub(crate) areas: Vec<(f64, Option<f64>)>,
    pub(crate) mean_probabilities: Vec<f64>,
    /// Of slides with probabilities and truth, their ids and counts.
    pub(crate) sweep: Vec<(String, SweepCounts)>,
    pub(crate) gallery: Gallery,
}

/// What all slides are looked at with.
pub(crate) struct Analyst<'a> {
    pub(crate) predictions: &'a Predictions,
    pub(crate) masks: &'a Masks,
    pub(crate) truth: Option<&'a Masks>,
    pub(crate) hausdorff: bool,
    pub(crate) progress: &'a dyn Progress,
}

impl Analyst<'_> {
    /// Looks at a slide, whose file may be missing; its picture has sides of at most `max_side` pixels, and is left out if
    /// that is 0.
    pub(crate) fn look(
        &self,
        slide_idx: usize,
        slide: &PredictedSlide,
        path: Option<&Location>,
        max_side: u32,
        totals: &mut Totals,
    ) -> Result<SlideView> {
        let id = slide.id.as_str();
        let mut missing = "The slide's file is not there: name its folder with --slides.".to_owned();
        let reader = match path.map(|path| (path, path.open())) {
            // Stores may be out of reach where files would be there.
            Some((path, Err(error))) if path.as_file().is_none() => {
                missing = format!("The slide cannot be shown: {error}.");
                None
            }
            other => other.map(|(_, reader)| reader).transpose()?,
        };
        let summary = slide.summary.as_ref();
        let size = reader.as_ref().map(|reader| reader.size());
        let size = size.or_else(|| summary.map(|summary| Size::new(summary.width, summary.height)));
        let size =
            size.context("its file is not there, and nothing tells its size: name its folder with --slides")?;
        // What inference went by: its list of slides may have known better than the file.
        let microns_per_px = summary.and_then(|summary| summary.microns_per_px);
        let microns_per_px =
            microns_per_px.or_else(|| reader.as_ref().and_then(|reader| reader.microns_per_px()));
        let predicted_rle = self.masks.read(id, size)?;
        let predicted = MaskObjects::new(&predicted_rle, size);
        let rows = self.predictions.objects(id)?;
        let probabilities = mean_probabilities(&predicted, rows.as_ref());

        let mut score = None;
        let mut truth = None;
        if let Some(masks) = self.truth {
            let rle = masks.read(id, size)?;
            score = Some(score_slide(id, size, microns_per_px, &predicted_rle, &rle, self.hausdorff));
            if let Some(path) = self.predictions.file(OutputKind::Npy, id) {
                totals.sweep.push((id.to_owned(), SweepCounts::of_slide(&path, size, &rle, self.progress)?));
            }
            truth = Some(MaskObjects::new(&rle, size));
        }

        let objects = predicted.as_slice();
        totals.areas.extend(objects.iter().map(|object| (object.area_px as f64, microns_per_px)));
        totals.mean_probabilities.extend(probabilities.iter().flatten());
        let objects = Objects {
            slide_idx,
            predicted: &predicted,
            truth: truth.as_ref(),
            probabilities: &probabilities,
        };
        totals.gallery.add(&objects);

        let view = (max_side > 0).then(|| View::new(size.window(), max_side));
        let picture = match (reader.as_deref(), &view) {
            (_, None) => Err("Left out: there are pictures of other slides enough.".to_owned()),
            (None, _) => Err(missing),
            (Some(reader), Some(view)) => {
                view.read(reader).map_err(|error| format!("The slide cannot be shown: {error:#}."))
            }
        };
        let of_picture = view.as_ref().filter(|_| picture.is_ok());
        Ok(SlideView {
            size,
            microns_per_px,
            tissue: of_picture.and_then(|_| self.tissue(id)),
            probability: of_picture.and_then(|view| self.probability(id, view, size)),
            picture,
            predicted: Layer::of(&predicted, view.as_ref()),
            truth: truth.map(|truth| Layer::of(&truth, view.as_ref())),
            view,
            positive_px: predicted_rle.count_ones(),
            score,
        })
    }

    /// The picture of tissue as it is; one that cannot be read is none.
    fn tissue(&self, id: &str) -> Option<String> {
        let path = self.predictions.tissue(id)?;
        let is_small = std::fs::metadata(&path).ok()?.len() <= MAX_TISSUE_BYTES;
        Some(data_uri("image/png", &std::fs::read(&path).ok().filter(|_| is_small)?))
    }

    /// The map of probabilities; one that cannot be read, or of another slide, is none.
    fn probability(&self, id: &str, view: &View, size: Size) -> Option<Picture> {
        let path = self.predictions.file(OutputKind::Probability, id)?;
        let map: Box<dyn RasterReader> = hubmap_io::open(&path).ok().filter(|map| map.size() == size)?;
        view.read_map(map.as_ref()).ok()
    }
}

/// Mean probabilities of objects by their place, where the files say them of objects of these numbers and areas.
fn mean_probabilities(objects: &MaskObjects, rows: Option<&HashMap<u64, ObjectRow>>) -> Vec<Option<f64>> {
    let of_object = |(place, area_px)| {
        let row = rows?.get(&(place as u64 + 1)).filter(|row| row.area_px == area_px)?;
        Some(row.mean_probability).filter(|probability| probability.is_finite())
    };
    objects.as_slice().iter().map(|object| object.area_px).enumerate().map(of_object).collect()
}

impl Layer {
    /// Outlines of the largest objects; none without a view.
    fn of(objects: &MaskObjects, view: Option<&View>) -> Self {
        let all = objects.as_slice();
        let mut places: Vec<usize> = (0..all.len()).collect();
        places.sort_by_key(|&place| std::cmp::Reverse(all[place].area_px));
        let mut layer = Self { path: String::new(), n_shown: 0, n_objects: all.len() };
        let Some(view) = view else { return layer };
        for outline in places.into_iter().take(MAX_OUTLINES).filter_map(|place| objects.outline(place)) {
            if layer.path.len() > MAX_PATH_BYTES {
                break;
            }
            push_path(&mut layer.path, &outline, view);
            layer.n_shown += 1;
        }
        layer
    }
}

#[cfg(test)]
mod tests {
    use hubmap_io::{Mask, Rle};

    use super::*;

    fn dots(n: u32) -> MaskObjects {
        let size = Size::new(4 * n, 3);
        let mut mask = Mask::new(size);
        for i in 0..n {
            mask.fill_run(1, 4 * i, 4 * i + 1 + u32::from(i == 0));
        }
        MaskObjects::new(&Rle::encode(&mask), size)
    }

    #[test]
    fn the_largest_objects_have_outlines_up_to_a_limit() {
        let objects = dots(MAX_OUTLINES as u32 + 5);
        let view = View::new(Size::new(4 * MAX_OUTLINES as u32, 3).window(), 1000);
        let layer = Layer::of(&objects, Some(&view));
        assert_eq!((layer.n_shown, layer.n_objects), (MAX_OUTLINES, MAX_OUTLINES + 5));
        assert!(layer.path.starts_with("M0 1h10"), "{}", &layer.path[..20]);
        assert_eq!(layer.path.matches('M').count(), MAX_OUTLINES);
        let layer = Layer::of(&objects, None);
        assert_eq!((layer.path.as_str(), layer.n_shown, layer.n_objects), ("", 0, MAX_OUTLINES + 5));
    }

    #[test]
    fn probabilities_are_those_of_the_same_objects() {
        let row =
            |number, area_px, mean_probability| (number, ObjectRow { number, area_px, mean_probability });
        let rows = HashMap::from([row(1, 2, 0.75), row(2, 9, 0.5), row(3, 1, f64::NAN)]);
        assert_eq!(mean_probabilities(&dots(4), Some(&rows)), [Some(0.75), None, None, None]);
        assert_eq!(mean_probabilities(&dots(2), None), [None, None]);
    }
}

//! Which objects are worth a look, and their pictures.

use hubmap_infer::{MaskObject, MaskObjects, ObjectPair};
use hubmap_io::{RasterReader, Window};

use crate::outline::push_path;
use crate::picture::{Picture, View};

/// Objects of a group.
pub(crate) const N_OF_GROUP: usize = 6;
/// Sides of the pictures of objects in pixels, at most.
const MAX_SIDE: u32 = 320;
/// A crop is larger than its object by this factor, so that the object is seen in its surroundings.
const SURROUNDINGS: f64 = 1.6;
/// Sides of the smallest crop in pixels of the slide.
const LEAST_SIDE: f64 = 64.0;
/// Objects that are outlined in a crop, at most.
const MAX_NEIGHBOURS: usize = 40;
/// Pairs match from more than this on, see `hubmap_infer::ObjectScore`.
const MATCHING_IOU: f64 = 0.5;

/// The objects of a slide.
pub(crate) struct Objects<'a> {
    pub(crate) slide_idx: usize,
    pub(crate) predicted: &'a MaskObjects,
    pub(crate) truth: Option<&'a MaskObjects>,
    /// Of the predicted objects, where they are known.
    pub(crate) probabilities: &'a [Option<f64>],
}

/// Objects of all slides so far, those that are shown and what is needed to choose others.
#[derive(Debug, Default)]
pub(crate) struct Gallery {
    /// Matched objects by their agreement, or without a truth all by their mean probability; descending.
    ranked: Vec<Shown>,
    /// Predicted objects that match none of the truth, the largest first.
    unmatched: Vec<Shown>,
    /// True objects that match none of the prediction, the largest first.
    missed: Vec<Shown>,
    has_truth: bool,
}

/// An object that is shown.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) slide_idx: usize,
    /// Number of the object on its slide, from 1, among those of the prediction or of the truth.
    pub(crate) number: usize,
    pub(crate) is_truth: bool,
    pub(crate) area_px: u64,
    pub(crate) centroid: [f64; 2],
    /// With the object of the other side that it agrees best with.
    pub(crate) iou: Option<f64>,
    pub(crate) probability: Option<f64>,
    pub(crate) view: View,
    /// Paths of the object itself, then of predicted and of true objects around it.
    pub(crate) focus: String,
    pub(crate) predicted: String,
    pub(crate) truth: String,
    pub(crate) picture: Option<Picture>,
    /// What objects of a group are sorted by, descending.
    rank: f64,
}

/// Objects under a common title.
pub(crate) struct Group<'a> {
    pub(crate) title: &'static str,
    /// What they have in common.
    pub(crate) text: &'static str,
    pub(crate) objects: Vec<&'a Shown>,
}

impl Gallery {
    /// Takes those objects of a slide that are more worth a look than the ones so far.
    pub(crate) fn add(&mut self, objects: &Objects<'_>) {
        let all = objects.predicted.as_slice();
        let mut ranked: Vec<Shown> = Vec::new();
        let mut unmatched = Vec::new();
        if let Some(truth) = objects.truth {
            self.has_truth = true;
            let pairs = objects.predicted.pairs(truth);
            let best = best_ious(&pairs, all.len(), |pair| pair.a);
            for (place, (object, &iou)) in all.iter().zip(&best).enumerate() {
                let shown = Shown { iou: Some(iou), ..objects.shown(object, place, false) };
                if iou > MATCHING_IOU {
                    ranked.push(Shown { rank: iou, ..shown });
                } else {
                    unmatched.push(Shown { rank: object.area_px as f64, ..shown });
                }
            }
            let best = best_ious(&pairs, truth.as_slice().len(), |pair| pair.b);
            for (place, (object, &iou)) in truth.as_slice().iter().zip(&best).enumerate() {
                if iou <= MATCHING_IOU {
                    let shown = objects.shown(object, place, true);
                    self.missed.push(Shown { iou: Some(iou), rank: object.area_px as f64, ..shown });
                }
            }
        } else {
            for (place, (object, probability)) in all.iter().zip(objects.probabilities).enumerate() {
                if let Some(probability) = *probability {
                    ranked.push(Shown { rank: probability, ..objects.shown(object, place, false) });
                }
            }
        }
        self.ranked.extend(ranked);
        self.unmatched.extend(unmatched);
        self.prune();
        let of_slide = |shown: &&mut Shown| shown.slide_idx == objects.slide_idx;
        for shown in self.all_mut().filter(of_slide) {
            objects.outline(shown);
        }
    }

    /// Leaves those that may be shown, whatever comes.
    fn prune(&mut self) {
        for list in [&mut self.ranked, &mut self.unmatched, &mut self.missed] {
            // Equal ranks stay in the order of slides and numbers.
            list.sort_by(|a, b| b.rank.total_cmp(&a.rank));
        }
        let n = self.ranked.len();
        if n > 2 * N_OF_GROUP {
            self.ranked.drain(N_OF_GROUP..n - N_OF_GROUP);
        }
        self.unmatched.truncate(N_OF_GROUP);
        self.missed.truncate(N_OF_GROUP);
    }

    /// All objects that are shown.
    pub(crate) fn all_mut(&mut self) -> impl Iterator<Item = &mut Shown> {
        self.ranked.iter_mut().chain(&mut self.unmatched).chain(&mut self.missed)
    }

    /// The groups that have objects; those that stand out most in what the group is about come first.
    pub(crate) fn groups(&self) -> Vec<Group<'_>> {
        // Of few objects, none is shown among the best and among the worst.
        let n_best = self.ranked.len().div_ceil(2).min(N_OF_GROUP);
        let (best, worst) = self.ranked.split_at(n_best);
        let (best, worst): (Vec<_>, Vec<_>) = (best.iter().collect(), worst.iter().rev().collect());
        let group = |title, text, objects| Group { title, text, objects };
        let mut groups = if self.has_truth {
            vec![
                group(
                    "Best matches",
                    "Predicted objects with the highest intersection over union (IoU) with a true one.",
                    best,
                ),
                group("Worst matches", "Matched objects (IoU above 0.5) whose outlines agree least.", worst),
                group(
                    "False positives",
                    "The largest predicted objects that match no true one.",
                    self.unmatched.iter().collect(),
                ),
                group(
                    "Misses",
                    "The largest true objects that no predicted one matches.",
                    self.missed.iter().collect(),
                ),
            ]
        } else {
            vec![
                group("Most certain", "Objects with the highest mean probability.", best),
                group("Least certain", "Objects with the lowest mean probability.", worst),
            ]
        };
        groups.retain(|group| !group.objects.is_empty());
        groups
    }
}

/// For each object, the highest intersection over union of its pairs; 0 without one.
fn best_ious(pairs: &[ObjectPair], n: usize, place: fn(&ObjectPair) -> usize) -> Vec<f64> {
    let mut best = vec![0.0_f64; n];
    for pair in pairs {
        let best = &mut best[place(pair)];
        *best = best.max(pair.iou);
    }
    best
}

impl Objects<'_> {
    fn shown(&self, object: &MaskObject, place: usize, is_truth: bool) -> Shown {
        let probability = if is_truth { None } else { self.probabilities.get(place).copied().flatten() };
        Shown {
            slide_idx: self.slide_idx,
            number: place + 1,
            is_truth,
            area_px: object.area_px,
            centroid: object.centroid,
            iou: None,
            probability,
            view: View::new(surroundings(object.bounds), MAX_SIDE),
            focus: String::new(),
            predicted: String::new(),
            truth: String::new(),
            picture: None,
            rank: 0.0,
        }
    }

    /// Outlines an object and those around it.
    fn outline(&self, shown: &mut Shown) {
        let view = shown.view;
        let focus = (shown.is_truth, shown.number - 1);
        let mut focus_path = String::new();
        for is_truth in [false, true] {
            let Some(objects) = (if is_truth { self.truth } else { Some(self.predicted) }) else { continue };
            let mut path = String::new();
            let in_view = |object: &MaskObject| object.bounds.intersect(&view.window).is_some();
            let places = objects.as_slice().iter().enumerate().filter(|(_, object)| in_view(object));
            let mut n_neighbours = 0;
            for (place, _) in places {
                let is_focus = (is_truth, place) == focus;
                n_neighbours += usize::from(!is_focus);
                if (is_focus || n_neighbours <= MAX_NEIGHBOURS)
                    && let Some(outline) = objects.outline(place)
                {
                    push_path(if is_focus { &mut focus_path } else { &mut path }, &outline, &view);
                }
            }
            *(if is_truth { &mut shown.truth } else { &mut shown.predicted }) = path;
        }
        shown.focus = focus_path;
    }
}

/// The square around an object that is shown.
fn surroundings(bounds: Window) -> Window {
    let longest = f64::from(bounds.width.max(bounds.height));
    let side = (longest * SURROUNDINGS).max(LEAST_SIDE).min(f64::from(u32::MAX / 2)) as u32;
    let middle = |from: i64, length: u32| from + i64::from(length / 2) - i64::from(side / 2);
    Window::new(middle(bounds.x, bounds.width), middle(bounds.y, bounds.height), side, side)
}

impl Shown {
    /// Reads the picture; without one, outlines are shown alone.
    pub(crate) fn read_picture(&mut self, slide: &dyn RasterReader) {
        self.picture = self.view.read(slide).ok();
    }
}

#[cfg(test)]
mod tests {
    use hubmap_io::{Mask, Rle, Size};

    use super::*;

    const SIZE: Size = Size::new(400, 40);

    /// Squares of sides of 10 px at these columns, less rows at the bottom.
    fn objects(squares: &[(u32, u32)]) -> MaskObjects {
        let mut mask = Mask::new(SIZE);
        for &(x, missing) in squares {
            (0..10 - missing).for_each(|y| mask.fill_run(y, x, x + 10));
        }
        MaskObjects::new(&Rle::encode(&mask), SIZE)
    }

    /// Objects of the prediction, of the truth, and probabilities of the former.
    type SlideObjects = (MaskObjects, Option<MaskObjects>, Vec<Option<f64>>);

    fn gallery(slides: &[SlideObjects]) -> Gallery {
        let mut gallery = Gallery::default();
        for (slide_idx, (predicted, truth, probabilities)) in slides.iter().enumerate() {
            gallery.add(&Objects { slide_idx, predicted, truth: truth.as_ref(), probabilities });
        }
        gallery
    }

    fn listed(gallery: &Gallery) -> Vec<(&'static str, Vec<(usize, usize)>)> {
        let of_group = |group: Group<'_>| {
            (group.title, group.objects.iter().map(|shown| (shown.slide_idx, shown.number)).collect())
        };
        gallery.groups().into_iter().map(of_group).collect()
    }

    #[test]
    fn with_a_truth_objects_are_ranked_by_agreement() {
        // On the first slide IoU 0.9, 1, 0.6 and a false positive of 10 columns; on the second 0.8, 0.4 and a miss.
        let truth = || objects(&[(0, 0), (20, 0), (40, 0)]);
        let first = (objects(&[(0, 1), (20, 0), (40, 4), (60, 5)]), Some(truth()), vec![None; 4]);
        let second = (objects(&[(0, 2), (20, 6)]), Some(truth()), vec![Some(0.5); 2]);
        let gallery = gallery(&[first, second]);
        assert_eq!(
            listed(&gallery),
            [
                ("Best matches", vec![(0, 2), (0, 1)]),
                ("Worst matches", vec![(0, 3), (1, 1)]),
                ("False positives", vec![(0, 4), (1, 2)]),
                ("Misses", vec![(1, 2), (1, 3)]),
            ]
        );
        let groups = gallery.groups();
        assert_eq!((groups[0].objects[1].iou, groups[0].objects[1].probability), (Some(0.9), None));
        assert_eq!((groups[2].objects[1].iou, groups[2].objects[1].probability), (Some(0.4), Some(0.5)));
        assert!(groups[3].objects[1].is_truth && groups[3].objects[1].iou == Some(0.0));
        // The focus is the object itself, the rest around it is by side.
        let missed = &groups[3].objects[0];
        assert_eq!(
            [&missed.focus, &missed.predicted, &missed.truth].map(|path| path.matches('M').count()),
            [1, 2, 2]
        );
    }

    #[test]
    fn without_a_truth_objects_are_ranked_by_probability_over_all_slides() {
        let places: Vec<(u32, u32)> = (0..20).map(|i| (20 * i, 0)).collect();
        let probabilities =
            |from: f64| (0..20).map(|i| Some(from + f64::from(i) / 100.0)).collect::<Vec<_>>();
        let mut second = probabilities(0.405);
        second[19] = None;
        let gallery =
            gallery(&[(objects(&places), None, probabilities(0.4)), (objects(&places), None, second)]);
        let listed = listed(&gallery);
        assert_eq!(listed[0], ("Most certain", vec![(0, 20), (1, 19), (0, 19), (1, 18), (0, 18), (1, 17)]));
        assert_eq!(listed[1], ("Least certain", vec![(0, 1), (1, 1), (0, 2), (1, 2), (0, 3), (1, 3)]));
        assert!(self::gallery(&[(objects(&places), None, vec![None; 20])]).groups().is_empty());
    }

    #[test]
    fn crops_are_squares_around_their_objects() {
        assert_eq!(surroundings(Window::new(100, 200, 100, 50)), Window::new(70, 145, 160, 160));
        assert_eq!(surroundings(Window::new(3, 3, 2, 2)), Window::new(-28, -28, 64, 64));
        let huge = surroundings(Window::new(0, 0, u32::MAX, 1));
        assert!(huge.width >= 1 << 30);
    }
}

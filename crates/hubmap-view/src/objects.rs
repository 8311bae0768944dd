//! Objects of a slide, predicted and true, and how they agree.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result};
use hubmap_infer::MaskObjects;
use hubmap_io::{AnnotationReader, Polygon, Rle, Size};
use rayon::prelude::*;
use serde::Serialize;

use crate::outlines::BASE_TOLERANCE_PX;

/// The connected objects of a mask.
#[derive(Debug, Default)]
pub(crate) struct ObjectSet {
    pub(crate) objects: Vec<ViewedObject>,
    /// The outline of each, with fewer vertices than pixels.
    pub(crate) outlines: Vec<Polygon>,
}

/// An object as the page lists it. Lengths are in pixels of the slide.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ViewedObject {
    /// From 1, as in the files of inference.
    pub(crate) number: usize,
    pub(crate) area_px: u64,
    /// Where to jump to, `[x, y]`.
    pub(crate) centre: [f64; 2],
    /// `[left, top, right, bottom]`.
    pub(crate) bounds: [i64; 4],
    /// Mean over its pixels, of predicted objects.
    pub(crate) probability: Option<f64>,
    /// Where there are both prediction and truth.
    pub(crate) agreement: Option<Agreement>,
    /// Number of the object of the other set that it matches.
    pub(crate) partner: Option<usize>,
}

/// Whether an object has a counterpart, see [`hubmap_infer::ObjectScore`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Agreement {
    /// Predicted and true, with more than half of their union in common.
    Matched,
    /// Predicted only.
    False,
    /// True only.
    Missed,
}

/// What is known of a slide's objects.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    pub(crate) predicted: Option<ObjectSet>,
    pub(crate) truth: Option<ObjectSet>,
}

impl Objects {
    /// The objects of masks of a slide; `probabilities` by number, with the area that goes with them.
    pub(crate) fn new(
        predicted: Option<&Rle>,
        truth: Option<&Rle>,
        size: Size,
        probabilities: &HashMap<usize, Measured>,
    ) -> Self {
        let predicted = predicted.map(|mask| MaskObjects::new(mask, size));
        let truth = truth.map(|mask| MaskObjects::new(mask, size));
        let mut objects = Self {
            predicted: predicted.as_ref().map(ObjectSet::new),
            truth: truth.as_ref().map(ObjectSet::new),
        };
        for object in objects.predicted.iter_mut().flat_map(|set| &mut set.objects) {
            let measured = probabilities.get(&object.number);
            object.probability =
                measured.filter(|found| found.area_px == object.area_px).map(|found| found.probability);
        }
        if let (Some(predicted), Some(truth)) = (predicted, truth) {
            objects.compare(&predicted, &truth);
        }
        objects
    }

    fn compare(&mut self, predicted: &MaskObjects, truth: &MaskObjects) {
        let (Some(found), Some(real)) = (&mut self.predicted, &mut self.truth) else { return };
        found.objects.iter_mut().for_each(|object| object.agreement = Some(Agreement::False));
        real.objects.iter_mut().for_each(|object| object.agreement = Some(Agreement::Missed));
        for pair in predicted.pairs(truth).iter().filter(|pair| pair.iou > 0.5) {
            for (object, partner) in
                [(&mut found.objects[pair.a], pair.b), (&mut real.objects[pair.b], pair.a)]
            {
                object.agreement = Some(Agreement::Matched);
                object.partner = Some(partner + 1);
            }
        }
    }
}

impl ObjectSet {
    fn new(mask: &MaskObjects) -> Self {
        let outline = |place| mask.outline(place).unwrap_or_default().simplified(BASE_TOLERANCE_PX);
        let objects = mask.as_slice().iter().zip(1..).map(|(object, number)| {
            let bounds = object.bounds;
            ViewedObject {
                number,
                area_px: object.area_px,
                centre: object.centroid,
                bounds: [bounds.x, bounds.y, bounds.right(), bounds.bottom()],
                probability: None,
                agreement: None,
                partner: None,
            }
        });
        Self {
            objects: objects.collect(),
            outlines: (0..mask.as_slice().len()).into_par_iter().map(outline).collect(),
        }
    }
}

/// What the files of inference say about an object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Measured {
    pub(crate) area_px: u64,
    pub(crate) probability: f64,
}

/// Mean probabilities by object number, from the table that inference writes.
pub(crate) fn read_table(path: &Path) -> Result<HashMap<usize, Measured>> {
    #[derive(serde::Deserialize)]
    struct Row {
        number: usize,
        area_px: u64,
        mean_probability: f64,
    }
    let read = || -> csv::Result<HashMap<usize, Measured>> {
        let rows = csv::Reader::from_path(path)?.into_deserialize();
        let measured =
            |row: Row| (row.number, Measured { area_px: row.area_px, probability: row.mean_probability });
        rows.map(|row| row.map(measured)).collect()
    };
    read().with_context(|| format!("cannot read {}", path.display()))
}

/// The same from the outlines that inference writes; those of other programs have none.
pub(crate) fn read_outlines(path: &Path) -> Result<HashMap<usize, Measured>> {
    let mut found = HashMap::new();
    for feature in AnnotationReader::open(path)? {
        let feature = feature?;
        let value =
            |name: &str| feature.measurements.iter().find(|(key, _)| key == name).map(|(_, value)| *value);
        let measured = (value("Object number"), value("Area px^2"), value("Mean probability"));
        if let (Some(number), Some(area_px), Some(probability)) = measured {
            found.insert(number as usize, Measured { area_px: area_px as u64, probability });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use hubmap_io::Mask;

    use super::*;

    /// The runs of some rectangles `[x, y, width, height]` on 100 × 80 px.
    fn mask(rectangles: &[[u32; 4]]) -> Rle {
        let mut mask = Mask::new(Size::new(100, 80));
        for &[x, y, width, height] in rectangles {
            (y..y + height).for_each(|y| mask.fill_run(y, x, x + width));
        }
        Rle::encode(&mask)
    }

    #[test]
    fn objects_agree_when_they_share_more_than_half_of_their_union() {
        let predicted = mask(&[[10, 5, 20, 10], [60, 10, 10, 10], [10, 50, 12, 10]]);
        let truth = mask(&[[12, 5, 20, 10], [63, 13, 10, 10], [10, 50, 8, 10], [80, 70, 5, 5]]);
        let measured = |area_px| Measured { area_px, probability: 0.75 };
        let probabilities = HashMap::from([(1, measured(200)), (2, measured(7)), (9, measured(1))]);
        let objects = Objects::new(Some(&predicted), Some(&truth), Size::new(100, 80), &probabilities);
        let (predicted, truth) = (objects.predicted.unwrap(), objects.truth.unwrap());
        let seen = |set: &ObjectSet| -> Vec<_> {
            set.objects.iter().map(|o| (o.agreement.unwrap(), o.partner)).collect()
        };
        let (matched, false_, missed) = (Agreement::Matched, Agreement::False, Agreement::Missed);
        // 180 of 220; 49 of 151; 80 of 120.
        assert_eq!(seen(&predicted), [(matched, Some(1)), (false_, None), (matched, Some(3))]);
        assert_eq!(seen(&truth), [(matched, Some(1)), (missed, None), (matched, Some(3)), (missed, None)]);
        let first = &predicted.objects[0];
        assert_eq!((first.number, first.area_px, first.bounds), (1, 200, [10, 5, 30, 15]));
        assert_eq!((first.centre, first.probability), ([20.0, 10.0], Some(0.75)));
        assert_eq!(predicted.objects[1].probability, None, "measured on another object");
        assert_eq!(predicted.outlines[0].exterior.len(), 4);
    }

    #[test]
    fn without_truth_nothing_is_said_of_agreement() {
        let objects = Objects::new(Some(&mask(&[[0, 0, 2, 2]])), None, Size::new(100, 80), &HashMap::new());
        assert_eq!(objects.predicted.unwrap().objects[0].agreement, None);
        assert!(objects.truth.is_none());
    }

    #[test]
    fn probabilities_come_from_the_table_or_the_outlines() {
        let folder = tempfile::tempdir().unwrap();
        let table = folder.path().join("a.csv");
        std::fs::write(&table, "number,uuid,area_px,mean_probability\n3,x,70,0.5\n").unwrap();
        let expected = HashMap::from([(3, Measured { area_px: 70, probability: 0.5 })]);
        assert_eq!(read_table(&table).unwrap(), expected);
        let outlines = folder.path().join("a.geojson");
        let mut feature =
            hubmap_io::Feature::new("glomerulus", Polygon::new(vec![[0.0, 0.0], [9.0, 0.0], [9.0, 9.0]]));
        let measurements = [("Object number", 3.0), ("Area px^2", 70.0), ("Mean probability", 0.5)];
        feature.measurements = measurements.map(|(name, value)| (name.to_owned(), value)).to_vec();
        let bare = hubmap_io::Feature { measurements: Vec::new(), ..feature.clone() };
        hubmap_io::write_annotations(&outlines, [&feature, &bare]).unwrap();
        assert_eq!(read_outlines(&outlines).unwrap(), expected);
        std::fs::write(&table, "number,area_px\n3,70\n").unwrap();
        let message = format!("{:#}", read_table(&table).unwrap_err());
        assert!(message.contains("a.csv") && message.contains("mean_probability"), "{message}");
    }
}

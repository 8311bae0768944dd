use proptest::prelude::*;

use super::*;
use crate::layout::PanelLayout;

/// A chart, where its parts are, and its pixels.
fn drawn(panel: &Panel, check: impl FnOnce(&PanelLayout<'_>, &Canvas)) {
    let canvas = Figure { title: String::new(), panels: vec![panel.clone()] }.draw().unwrap();
    check(&PanelLayout::new(&canvas, panel, (0.0, 0.0)), &canvas);
}

const BLUE: [u8; 3] = [0x00, 0x72, 0xb2];
const VERMILION: [u8; 3] = [0xd5, 0x5e, 0x00];

#[test]
fn lines_lie_where_their_points_are() {
    let panel = Panel {
        y_range: Some((0.0, 1.0)),
        series: vec![
            Series::new("low", [(0.0, 0.25), (10.0, 0.25)]),
            Series::new("rising", [(0.0, 0.3), (10.0, 0.9)]),
        ],
        ..Panel::default()
    };
    drawn(&panel, |layout, canvas| {
        for x in [0.5, 3.3, 9.7] {
            assert_eq!(canvas.pixel(layout.place((x, 0.25))), Some(BLUE), "{x}");
            assert_eq!(canvas.pixel(layout.place((x, 0.3 + 0.06 * x))), Some(VERMILION), "{x}");
            assert_ne!(canvas.pixel(layout.place((x, 0.28))), Some(BLUE), "{x}");
        }
        let (x, y) = layout.place((10.0, 1.0));
        assert!(x < layout.area.right() && (y - layout.area.top()).abs() < 1e-3);
    });
}

#[test]
fn gaps_interrupt_lines_and_a_point_alone_is_a_dot() {
    let panel = Panel {
        y_range: Some((0.0, 1.0)),
        series: vec![Series::new(
            "",
            [
                (0.0, Some(0.5)),
                (1.0, Some(0.5)),
                (2.0, None),
                (3.0, Some(0.5)),
                (4.0, Some(f64::INFINITY)),
                (5.0, Some(0.5)),
            ],
        )],
        ..Panel::default()
    };
    drawn(&panel, |layout, canvas| {
        let is_drawn = |x: f64| canvas.pixel(layout.place((x, 0.5))) == Some(BLUE);
        assert_eq!([0.5, 1.5, 3.0, 3.5, 5.0].map(is_drawn), [true, false, true, false, true]);
    });
}

#[test]
fn what_leaves_the_range_is_cut_off() {
    let panel = Panel {
        title: "t".to_owned(),
        y_range: Some((0.0, 1.0)),
        series: vec![Series::new("a", [(0.0, 0.5), (1.0, 1e300), (2.0, 0.5)])],
        ..Panel::default()
    };
    drawn(&panel, |layout, canvas| {
        let column = |y: f32| canvas.pixel((layout.place((0.0, 0.0)).0 + 0.5, y));
        assert_eq!(column(layout.area.top() + 3.0), Some(BLUE));
        assert_ne!(column(layout.area.top() - 8.0), Some(BLUE));
    });
}

#[test]
fn text_and_legend_are_drawn() {
    let with_text = Panel {
        title: "Title".to_owned(),
        x_label: "epoch".to_owned(),
        y_label: "loss".to_owned(),
        series: vec![Series::new("name", [(0.0, 0.0)])],
        ..Panel::default()
    };
    let ink = |panel: &Panel, (left, top, right, bottom): (f32, f32, f32, f32)| {
        let mut n = 0;
        drawn(panel, |_, canvas| {
            let places =
                (top as i32..bottom as i32).flat_map(|y| (left as i32..right as i32).map(move |x| (x, y)));
            n = places
                .filter(|&(x, y)| canvas.pixel((x as f32, y as f32)).is_some_and(|p| p[0] < 0x60))
                .count();
        });
        n
    };
    let title = (0.0, 0.0, 300.0, 34.0);
    let legend = (50.0, 34.0, 300.0, 54.0);
    let y_label = (14.0, 100.0, 34.0, 300.0);
    let x_label = (200.0, 355.0, 500.0, 380.0);
    for (part, ticks_reach_it) in [(title, false), (legend, false), (y_label, true), (x_label, true)] {
        assert!(ink(&with_text, part) > 20, "{part:?}");
        let without = Panel { series: vec![Series::new("", [(0.0, 0.0)])], ..Panel::default() };
        assert!(ticks_reach_it || ink(&without, part) == 0, "{part:?}");
    }
}

#[test]
fn series_past_the_colours_differ_in_their_lines() {
    let series = |color| Series { color: Some(color), ..Series::new("", [(0.0, 0.5), (1.0, 0.5)]) };
    let panel = |color| Panel { series: vec![series(color)], ..Panel::default() };
    let pictures: Vec<_> =
        [0, 7, 14].map(|i| Figure { panels: vec![panel(i)], ..Figure::default() }.to_png().unwrap()).into();
    assert!(pictures[0] != pictures[1] && pictures[1] != pictures[2]);
}

#[test]
fn panels_stand_in_two_columns() {
    let figure = |n| Figure { title: "f".to_owned(), panels: vec![Panel::default(); n] };
    let size = |n| {
        let png = figure(n).to_png().unwrap();
        let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
        (number(16), number(20))
    };
    assert_eq!(size(1), (930, 636));
    assert_eq!(size(2), (1860, 636));
    assert_eq!(size(3), (1860, 1206));
    let error = figure(65).to_png().unwrap_err().to_string();
    assert!(error.contains("65 panels"), "{error}");
}

#[test]
fn a_file_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none").join("a.png");
    let error = Figure::default().write_png(&path).unwrap_err();
    assert!(error.to_string().contains("a.png"), "{error}");
    Figure::default().write_png(&folder.path().join("b.png")).unwrap();
    assert!(std::fs::read(folder.path().join("b.png")).unwrap().starts_with(b"\x89PNG"));
}

fn any_series() -> impl Strategy<Value = Series> {
    let number = prop_oneof![any::<f64>(), -10.0..10.0_f64, Just(f64::NAN), Just(f64::MAX), Just(5e-324)];
    let points = prop::collection::vec((number.clone(), number), 0..12);
    (any::<String>(), points, any::<Option<usize>>())
        .prop_map(|(name, points, color)| Series { color, ..Series::new(&name, points) })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn anything_can_be_drawn(
        title: String,
        label in "\\PC{0,200}",
        y_range in any::<Option<(f64, f64)>>(),
        series in prop::collection::vec(any_series(), 0..40),
    ) {
        let panel = Panel { title: title.clone(), x_label: label.clone(), y_label: label, y_range, series };
        let png = Figure { title, panels: vec![panel] }.to_png().unwrap();
        prop_assert!(png.starts_with(b"\x89PNG"));
    }
}

//! Ranges of numbers as comments write them.

/// An end of a range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bound {
    /// The number.
    pub value: f64,
    /// Whether the number itself is in the range.
    pub is_included: bool,
}

/// Numbers from one end to another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NumberRange {
    /// The least, if there is one.
    pub min: Option<Bound>,
    /// The greatest, if there is one.
    pub max: Option<Bound>,
}

impl NumberRange {
    /// The range that a text describes, if it describes one: `1 or more`, `0 to 1`, `0 to below 1`, `above 0`,
    /// `above 0 to 1`, `below 1` or `any number`.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "any number" {
            return Some(Self { min: None, max: None });
        }
        if let Some(min) = text.strip_suffix(" or more") {
            return Some(Self { min: Some(bound(min, "above ")?), max: None });
        }
        match text.split_once(" to ") {
            Some((min, max)) => {
                Some(Self { min: Some(bound(min, "above ")?), max: Some(bound(max, "below ")?) })
            }
            None if text.starts_with("below ") => Some(Self { min: None, max: Some(bound(text, "below ")?) }),
            None if text.starts_with("above ") => Some(Self { min: Some(bound(text, "above ")?), max: None }),
            None => None,
        }
    }
}

/// A number, left out if the word that says so is before it.
fn bound(text: &str, left_out: &str) -> Option<Bound> {
    let (number, is_included) = text.strip_prefix(left_out).map_or((text, true), |number| (number, false));
    Some(Bound { value: number.parse().ok()?, is_included })
}

#[cfg(test)]
mod tests {
    use super::{Bound, NumberRange};

    #[test]
    fn every_form_is_read() {
        let range = |min: Option<(f64, bool)>, max: Option<(f64, bool)>| {
            let bound = |(value, is_included)| Bound { value, is_included };
            Some(NumberRange { min: min.map(bound), max: max.map(bound) })
        };
        for (text, expected) in [
            ("any number", range(None, None)),
            ("1 or more", range(Some((1.0, true)), None)),
            ("above 0", range(Some((0.0, false)), None)),
            ("0.001 to 1", range(Some((0.001, true)), Some((1.0, true)))),
            ("0 to below 0.5", range(Some((0.0, true)), Some((0.5, false)))),
            ("above 0 to below 1", range(Some((0.0, false)), Some((1.0, false)))),
            ("below 1", range(None, Some((1.0, false)))),
            ("none, all or more", None),
            ("from here to there", None),
            ("path", None),
        ] {
            assert_eq!(NumberRange::parse(text), expected, "{text}");
        }
    }
}

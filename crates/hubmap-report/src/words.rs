//! Numbers as people read them.

use std::time::SystemTime;

use time::OffsetDateTime;

/// A narrow space that does not break, between groups of digits and before units.
const SPACE: char = '\u{202f}';

/// A whole number in groups of three digits.
pub(crate) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(SPACE);
        }
        text.push(digit);
    }
    text
}

/// `n` of something: `1 slide`, `2 slides`.
pub(crate) fn counted(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(n), if n == 1 { one } else { many })
}

/// Three digits that count, or as many as a whole number has.
pub(crate) fn rounded(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let magnitude = value.abs();
    if magnitude >= 100.0 {
        let sign = if value < 0.0 { "-" } else { "" };
        return format!("{sign}{}", grouped(magnitude.round() as u64));
    }
    let decimals = if magnitude >= 10.0 {
        1
    } else if magnitude >= 1.0 {
        2
    } else {
        3
    };
    format!("{value:.decimals$}")
}

/// A length of time.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match whole {
        0..60 => format!("{}{SPACE}s", rounded(seconds)),
        60..3600 => format!("{}{SPACE}min {}{SPACE}s", whole / 60, whole % 60),
        _ => format!("{}{SPACE}h {}{SPACE}min", whole / 3600, whole % 3600 / 60),
    }
}

/// A day and time of it; the zone is UTC.
pub(crate) fn moment(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    let (date, hour, minute) = (at.date(), at.hour(), at.minute());
    format!("{date} {hour:02}:{minute:02}")
}

/// A length in µm or mm.
pub(crate) fn length(um: f64) -> String {
    if um >= 1000.0 { format!("{}{SPACE}mm", um / 1000.0) } else { format!("{um}{SPACE}µm") }
}

/// An area in pixels, as µm² or mm² where the length of a pixel is known.
pub(crate) fn area(n_px: f64, microns_per_px: Option<f64>) -> String {
    let Some(microns) = microns_per_px else { return format!("{}{SPACE}px", rounded(n_px)) };
    let um2 = n_px * microns * microns;
    if um2 >= 1e6 {
        format!("{}{SPACE}mm²", rounded(um2 / 1e6))
    } else {
        format!("{}{SPACE}µm²", rounded(um2))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn numbers_read_well() {
        for (n, text) in [(0, "0"), (999, "999"), (1000, "1 000"), (1_234_567, "1 234 567")] {
            assert_eq!(grouped(n).replace(SPACE, " "), text);
        }
        for (value, text) in [
            (0.0, "0.000"),
            (0.12345, "0.123"),
            (1.2345, "1.23"),
            (12.345, "12.3"),
            (-1234.5, "-1 235"),
            (f64::NAN, "–"),
        ] {
            assert_eq!(rounded(value).replace(SPACE, " "), text);
        }
        for (seconds, text) in
            [(7.15, "7.15 s"), (59.7, "1 min 0 s"), (83.0, "1 min 23 s"), (7322.0, "2 h 2 min")]
        {
            assert_eq!(duration(seconds).replace(SPACE, " "), text);
        }
        assert_eq!(counted(1, "slide", "slides"), "1 slide");
        assert_eq!(counted(2, "slide", "slides"), "2 slides");
        assert_eq!(length(200.0).replace(SPACE, " "), "200 µm");
        assert_eq!(length(5000.0).replace(SPACE, " "), "5 mm");
        assert_eq!(area(400.0, Some(0.5)).replace(SPACE, " "), "100 µm²");
        assert_eq!(area(8e6, Some(0.5)).replace(SPACE, " "), "2.00 mm²");
        assert_eq!(area(8.0, None).replace(SPACE, " "), "8.00 px");
        assert_eq!(moment(UNIX_EPOCH + Duration::from_mins(24 * 60 + 61)), "1970-01-02 01:01");
    }
}

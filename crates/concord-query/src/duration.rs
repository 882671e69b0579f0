//! Lengths of time as people write them: `30` (seconds), `"30s"`, `"1h30m"`, `"500ms"`.
//!
//! Exact to the millisecond; nothing is rounded, so what cannot be exact is refused.

use std::fmt::Write as _;
use std::time::Duration;

/// Units, longest first: the order in which they may follow one another.
const UNITS: [(&str, u64); 6] = [
    ("w", 604_800_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Reads a whole number of seconds or a sequence of numbers with units (`w d h m s ms`,
/// each at most once, longest first). `None` if it is neither or too long to count in
/// 63 bits of milliseconds. Zero is read as zero: callers judge it.
pub fn parse(text: &str) -> Option<Duration> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return from_secs(text.parse().ok()?);
    }
    let mut rest = text;
    let mut total = 0_u64;
    let mut units = UNITS.iter();
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at_checked(digits)?;
        let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at_checked(letters)?;
        // Searching only what is left of the iterator enforces order and uniqueness.
        let (_, millis) = units.find(|(name, _)| *name == unit)?;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(*millis)?)?;
        rest = tail;
    }
    if text.is_empty() { None } else { bounded(total) }
}

/// A whole number of seconds, if it can be counted in 63 bits of milliseconds.
pub fn from_secs(seconds: u64) -> Option<Duration> {
    bounded(seconds.checked_mul(1_000)?)
}

/// The shortest text that [`parse`] reads back as the same length (below a millisecond: cut off).
pub fn format(length: Duration) -> String {
    let mut rest = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, millis) in UNITS {
        if rest >= millis {
            // Writing to a String cannot fail.
            let _ = write!(text, "{}{unit}", rest / millis);
            rest %= millis;
        }
    }
    text
}

fn bounded(millis: u64) -> Option<Duration> {
    i64::try_from(millis).ok().map(|_| Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_form_is_read() {
        for (text, millis) in [
            ("30", 30_000),
            ("30s", 30_000),
            ("1h30m", 5_400_000),
            ("500ms", 500),
            ("1m500ms", 60_500),
            ("2w1d", 1_296_000_000),
            ("0", 0),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn anything_inexact_or_ambiguous_is_refused() {
        for text in [
            "",
            " ",
            "s",
            "-1",
            "1.5",
            "1.5s",
            "abc",
            "1e30",
            "30 s",
            "1m1h",
            "1s1s",
            "1h30",
            "٣s",
            "1S",
            "1µs",
            "99999999999999999999",
            "9223372036854775807w",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn formatted_lengths_read_back() {
        for millis in [1, 999, 1_000, 61_001, 5_400_000, 604_800_000, 1_234_567_890_123] {
            let length = Duration::from_millis(millis);
            assert_eq!(parse(&format(length)), Some(length));
        }
    }
}

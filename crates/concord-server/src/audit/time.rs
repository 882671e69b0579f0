//! Times in lines and filters: RFC 3339, always UTC when written.
//!
//! Written here because every node writes lines, and a calendar library is the command line's alone.

use std::ops::Range;

const MICROS_A_SECOND: u64 = 1_000_000;
const SECONDS_A_DAY: u64 = 86_400;
const MICROS_A_DAY: u64 = SECONDS_A_DAY * MICROS_A_SECOND;

/// Days since the Unix epoch.
pub(super) const fn day(micros: u64) -> u64 {
    micros / MICROS_A_DAY
}

/// Times as text, such as `2026-11-22T05:49:09.123456Z`. Of times that follow each other only the end is made anew.
#[derive(Clone, Debug)]
pub(super) struct Stamp {
    second: u64,
    text: [u8; 27],
}

impl Stamp {
    pub(super) const fn new() -> Self {
        let text = *b"1970-01-01T00:00:00.000000Z";
        Self { second: 0, text }
    }

    /// This many microseconds after the Unix epoch.
    pub(super) fn of(&mut self, micros: u64) -> &[u8] {
        let second = micros / MICROS_A_SECOND;
        let text = &mut self.text;
        if second != self.second {
            self.second = second;
            let (year, month, of_month) = date(day(micros));
            let of_day = second % SECONDS_A_DAY;
            digits(text, 0..4, year);
            digits(text, 5..7, month);
            digits(text, 8..10, of_month);
            digits(text, 11..13, of_day / 3_600);
            digits(text, 14..16, of_day / 60 % 60);
            digits(text, 17..19, of_day % 60);
        }
        digits(text, 20..26, micros % MICROS_A_SECOND);
        text
    }
}

/// A day since the Unix epoch as a date.
#[cfg(feature = "http")]
pub(crate) fn date_of(day: u32) -> String {
    let mut date = text(u64::from(day) * 86_400_000_000);
    date.truncate("2026-11-22".len());
    date
}

/// The same as text.
pub(super) fn text(micros: u64) -> String {
    String::from_utf8_lossy(Stamp::new().of(micros)).into_owned()
}

fn digits(text: &mut [u8; 27], place: Range<usize>, mut number: u64) {
    for digit in text.get_mut(place).unwrap_or_default().iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
    }
}

/// Year, month and day of a day: Howard Hinnant's `civil_from_days` for days from 1970 on.
const fn date(day: u64) -> (u64, u64, u64) {
    let shifted = day + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, of_month)
}

/// The day of a date; `None` if there is no such date from 1970 on.
fn day_of(year: u64, month: u64, of_month: u64) -> Option<u64> {
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || of_month == 0 {
        return None;
    }
    let shifted_year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (shifted_year / 400, shifted_year % 400);
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * shifted_month + 2) / 5 + of_month - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    let day = (era * 146_097 + of_era).checked_sub(719_468)?;
    (date(day) == (year, month, of_month)).then_some(day)
}

/// A moment as people write it: as exact as they wrote it, so it is a stretch of time, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Its first microsecond.
    pub(crate) first: u64,
    /// Its last one.
    pub(crate) last: u64,
}

impl Moment {
    /// Reads `2026-11-22`, an RFC 3339 time with any offset, or milliseconds since the Unix epoch.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() > 40 || !text.is_ascii() {
            return None;
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            let first = text.parse::<u64>().ok()?.checked_mul(1_000)?;
            return Some(Self::stretch(first, 1_000));
        }
        let (year, rest) = number(text, 4)?;
        let (month, rest) = number(rest.strip_prefix('-')?, 2)?;
        let (of_month, rest) = number(rest.strip_prefix('-')?, 2)?;
        let midnight = day_of(year, month, of_month)? * MICROS_A_DAY;
        if rest.is_empty() {
            return Some(Self::stretch(midnight, MICROS_A_DAY));
        }
        let (hour, rest) = number(rest.strip_prefix(['T', 't', ' '])?, 2)?;
        let (minute, rest) = number(rest.strip_prefix(':')?, 2)?;
        let (second, rest) = number(rest.strip_prefix(':')?, 2)?;
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let (fraction, unit, rest) = fraction(rest)?;
        let offset = offset_seconds(rest)?;
        let local = midnight / MICROS_A_SECOND + hour * 3_600 + minute * 60 + second;
        let seconds = local.checked_add_signed(-offset)?;
        Some(Self::stretch(seconds * MICROS_A_SECOND + fraction, unit))
    }

    const fn stretch(first: u64, micros: u64) -> Self {
        Self {
            first,
            last: first.saturating_add(micros - 1),
        }
    }
}

/// The number that so many digits make, and what follows.
fn number(text: &str, width: usize) -> Option<(u64, &str)> {
    let (digits, rest) = text.split_at_checked(width)?;
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    Some((is_number.then(|| digits.parse().ok())??, rest))
}

/// Microseconds of `.123`, how many it leaves open, and what follows.
fn fraction(text: &str) -> Option<(u64, u64, &str)> {
    let Some(digits) = text.strip_prefix('.') else {
        return Some((0, MICROS_A_SECOND, text));
    };
    let end = digits.bytes().position(|byte| !byte.is_ascii_digit())?;
    let (digits, rest) = digits.split_at_checked(end)?;
    let mut unit = MICROS_A_SECOND;
    let mut micros = 0;
    for digit in digits.bytes().take(6) {
        unit /= 10;
        micros += u64::from(digit - b'0') * unit;
    }
    (!digits.is_empty()).then_some((micros, unit.max(1), rest))
}

fn offset_seconds(text: &str) -> Option<i64> {
    let (sign, rest) = match text.split_at_checked(1)? {
        ("Z" | "z", "") => return Some(0),
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, rest) = number(rest, 2)?;
    let (minutes, rest) = number(rest.strip_prefix(':')?, 2)?;
    if hours > 23 || minutes > 59 || !rest.is_empty() {
        return None;
    }
    Some(sign * i64::try_from(hours * 3_600 + minutes * 60).ok()?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_stamp_writes_the_same_whatever_it_wrote_before() {
        const DAY: u64 = 86_400_000_000;
        let mut stamp = Stamp::new();
        for micros in [
            0,
            7,
            1_000_000,
            999_999,
            DAY - 1,
            DAY,
            800 * DAY + 5,
            800 * DAY + 1_000_004,
            0,
        ] {
            let written = String::from_utf8(stamp.of(micros).to_vec()).unwrap();
            assert_eq!(written, text(micros));
        }
        assert_eq!(text(800 * DAY + 1_000_004), "1972-03-11T00:00:01.000004Z");
    }

    #[test]
    fn known_times_are_written_as_everybody_writes_them() {
        assert_eq!(text(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(text(951_782_400_000_000), "2000-02-29T00:00:00.000000Z");
        assert_eq!(text(1_795_326_549_123_456), "2026-11-22T05:49:09.123456Z");
        assert_eq!(text(4_102_444_799_999_999), "2099-12-31T23:59:59.999999Z");
    }

    #[test]
    fn a_moment_is_as_exact_as_it_was_written() {
        let day = Moment::parse("2026-11-22").unwrap();
        assert_eq!(text(day.first), "2026-11-22T00:00:00.000000Z");
        assert_eq!(text(day.last), "2026-11-22T23:59:59.999999Z");
        let second = Moment::parse("2026-11-22T07:49:09+02:00").unwrap();
        assert_eq!(text(second.first), "2026-11-22T05:49:09.000000Z");
        assert_eq!(text(second.last), "2026-11-22T05:49:09.999999Z");
        let exact = Moment::parse("2026-11-22T05:49:09.123456Z").unwrap();
        assert_eq!(
            (exact.first, exact.last),
            (1_795_326_549_123_456, 1_795_326_549_123_456)
        );
        assert_eq!(
            Moment::parse("1795326549123").unwrap().first,
            1_795_326_549_123_000
        );
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "yesterday",
            "2026-13-01",
            "2026-02-29",
            "2026-11-22T",
            "2026-11-22T05:49",
            "2026-11-22T05:49:09",
            "2026-11-22T24:00:00Z",
            "2026-11-22T05:49:09.Z",
            "2026-11-22T05:49:09+2:00",
            "1969-12-31",
            "99999999999999999999",
            "2026-11-22T05:49:09Zx",
            "２026-11-22",
        ] {
            assert_eq!(Moment::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(micros in 0..253_402_300_800_000_000_u64) {
            let moment = Moment::parse(&text(micros)).unwrap();
            prop_assert_eq!((moment.first, moment.last), (micros, micros));
        }
    }
}

//! Names of backups in a directory: chosen here, or checked.

use std::fmt;

use super::BackupHeader;

/// What ends the name of a backup.
const EXTENSION: &str = ".backup";
const NAME_BYTES_MAX: usize = 128;

/// The name of a backup: a plain file name, never a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BackupName(String);

/// A text that is no name of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a backup's name ends with {EXTENSION}, begins with a letter or digit, and has letters, digits, '-', '_' \
     and '.' only, at most {NAME_BYTES_MAX}"
)]
pub struct InvalidBackupName;

impl BackupName {
    /// Takes a text that may come from anybody: nothing that it can say leaves the directory.
    ///
    /// # Errors
    ///
    /// [`InvalidBackupName`].
    pub fn parse(text: &str) -> Result<Self, InvalidBackupName> {
        let stem = text.strip_suffix(EXTENSION).ok_or(InvalidBackupName)?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let begins_well = stem.starts_with(|c: char| c.is_ascii_alphanumeric());
        if begins_well && text.len() <= NAME_BYTES_MAX && stem.chars().all(is_plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidBackupName)
        }
    }

    /// The name that says when a backup was made, of which revision, by which node. Names
    /// sort as the times do.
    pub fn of(header: &BackupHeader) -> Self {
        let created = header.created_at.get();
        let (days, milliseconds) = (created / 86_400_000, created % 86_400_000);
        let (year, month, day) = civil(days);
        let (hour, minute) = (milliseconds / 3_600_000, milliseconds / 60_000 % 60);
        let (second, milli) = (milliseconds / 1_000 % 60, milliseconds % 1_000);
        let (revision, node) = (header.revision, header.node_id);
        Self(format!(
            "{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}.{milli:03}Z-r{revision}-n{node}{EXTENSION}"
        ))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BackupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Year, month and day of a day since 1970, by the Gregorian calendar.
const fn civil(days: u64) -> (u64, u64, u64) {
    // Counted from 1 March of year 0, where a leap day ends its year.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_dates() {
        for (days, date) in [
            (0, (1970, 1, 1)),
            (58, (1970, 2, 28)),
            (59, (1970, 3, 1)),
            (11_016, (2000, 2, 29)),
            (20_513, (2026, 3, 1)),
        ] {
            assert_eq!(civil(days), date, "{days}");
        }
    }

    /// No name leads out of the directory.
    #[test]
    fn a_name_is_never_a_path() {
        for good in ["a.backup", "20261122T061007.123Z-r7-n1.backup", "A-b_c.d.backup"] {
            assert_eq!(BackupName::parse(good).unwrap().as_str(), good);
        }
        let long = format!("{}.backup", "a".repeat(200));
        for bad in [
            "",
            ".backup",
            "a",
            "a.snap",
            "../a.backup",
            "/a.backup",
            "a/b.backup",
            "..backup",
            ".a.backup",
            "a\\b.backup",
            "a\0.backup",
            "a b.backup",
            "ä.backup",
            "a.backup.tmp",
            "-a.backup",
            &long,
        ] {
            assert_eq!(BackupName::parse(bad), Err(InvalidBackupName), "{bad:?}");
        }
    }
}

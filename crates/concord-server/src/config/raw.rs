//! A setting as it was written, before it is known to make sense.
//!
//! Variables and flags are always text, TOML has types; both are read by the same
//! functions here, so that `"10s"`, `10` and `CONCORD_...=10` mean the same.

use std::time::Duration;

use concord_query::duration;

/// A setting's value as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Raw {
    /// TOML text, a variable or a flag.
    Text(String),
    /// A TOML integer or float, as its digits.
    Number(String),
    /// A TOML boolean.
    Bool(bool),
    /// A TOML array of texts.
    List(Vec<String>),
    /// Something that no setting is: a date, an array of other things.
    Other(&'static str),
}

impl Raw {
    pub(super) fn text(&self) -> Result<String, String> {
        let Self::Text(text) = self else {
            return Err(self.instead_of("text in quotes"));
        };
        if text.is_empty() {
            Err("must not be empty".to_owned())
        } else {
            Ok(text.clone())
        }
    }

    pub(super) fn integer(&self) -> Result<u64, String> {
        let (Self::Text(digits) | Self::Number(digits)) = self else {
            return Err(self.instead_of("a whole number"));
        };
        digits
            .parse()
            .map_err(|_| format!("must be a whole number, not `{digits}`"))
    }

    /// A part of everything, 0 to 1.
    pub(super) fn part(&self) -> Result<f64, String> {
        let (Self::Text(digits) | Self::Number(digits)) = self else {
            return Err(self.instead_of("a number from 0 to 1"));
        };
        match digits.parse::<f64>() {
            Ok(part) if (0.0..=1.0).contains(&part) => Ok(part),
            Ok(_) | Err(_) => Err(format!("must be a number from 0 to 1, not `{digits}`")),
        }
    }

    pub(super) fn boolean(&self) -> Result<bool, String> {
        let word = match self {
            Self::Bool(flag) => return Ok(*flag),
            Self::Text(word) => word.as_str(),
            Self::Number(_) | Self::List(_) | Self::Other(_) => "",
        };
        word.parse().map_err(|_| self.instead_of("true or false"))
    }

    /// A length of time, not zero.
    pub(super) fn duration(&self) -> Result<Duration, String> {
        let (Self::Text(text) | Self::Number(text)) = self else {
            return Err(self.instead_of("a length of time such as \"5s\""));
        };
        match duration::parse(text) {
            Some(Duration::ZERO) => Err("must be longer than zero".to_owned()),
            Some(length) => Ok(length),
            None => Err(format!(
                "must be a length of time such as \"5s\" or \"1m30s\", not `{text}`"
            )),
        }
    }

    /// A number of bytes: digits, or digits with `KiB`, `MiB` or `GiB`. Not zero.
    pub(super) fn bytes(&self) -> Result<u64, String> {
        let (Self::Text(text) | Self::Number(text)) = self else {
            return Err(self.instead_of("a size such as \"16MiB\""));
        };
        let wrong = || format!("must be a size such as 65536 or \"16MiB\", not `{text}`");
        let (digits, shift) = [("KiB", 10), ("MiB", 20), ("GiB", 30)]
            .into_iter()
            .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift)))
            .unwrap_or((text, 0));
        let count: u64 = digits.trim_end().parse().map_err(|_| wrong())?;
        match count.checked_mul(1 << shift) {
            Some(0) => Err("must be more than zero".to_owned()),
            Some(bytes) => Ok(bytes),
            None => Err(wrong()),
        }
    }

    /// A number of bytes, or 0 for no limit.
    pub(super) fn bytes_or_none(&self) -> Result<u64, String> {
        match self {
            Self::Text(text) | Self::Number(text) if text == "0" => Ok(0),
            Self::Text(_) | Self::Number(_) | Self::Bool(_) | Self::List(_) | Self::Other(_) => self.bytes(),
        }
    }

    /// A list: TOML array, or text with commas.
    pub(super) fn list(&self) -> Result<Vec<String>, String> {
        let items: Vec<String> = match self {
            Self::List(items) => items.clone(),
            Self::Text(text) => text.split(',').map(|item| item.trim().to_owned()).collect(),
            Self::Number(_) | Self::Bool(_) | Self::Other(_) => {
                return Err(self.instead_of("a list of texts"));
            }
        };
        if items.iter().any(String::is_empty) {
            return Err("must not have empty items".to_owned());
        }
        Ok(items)
    }

    fn instead_of(&self, wanted: &str) -> String {
        let found = match self {
            Self::Text(text) => return format!("must be {wanted}, not \"{text}\""),
            Self::Number(digits) => return format!("must be {wanted}, not {digits}"),
            Self::Bool(flag) => return format!("must be {wanted}, not {flag}"),
            Self::List(_) => "a list",
            Self::Other(found) => found,
        };
        format!("must be {wanted}, not {found}")
    }
}

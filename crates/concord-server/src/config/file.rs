//! Reads a TOML file into dotted names with their lines.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Place};
use super::raw::Raw;
use crate::limits;

/// One setting of a file.
pub(super) struct Line {
    pub(super) key: String,
    pub(super) raw: Raw,
    pub(super) place: Place,
}

/// Reads `path`; settings in the order of their names.
pub(super) fn read(path: &Path) -> Result<Vec<Line>, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let mut text = String::new();
    let file = File::open(path).map_err(unreadable)?;
    // One byte more than allowed tells a full file from one that is too large.
    let read = file
        .take(limits::CONFIG_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    if u64::try_from(read).is_ok_and(|read| read > limits::CONFIG_BYTES_MAX) {
        return Err(unreadable(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "more than 1 MiB",
        )));
    }
    parse(path, &text)
}

pub(super) fn parse(path: &Path, text: &str) -> Result<Vec<Line>, ConfigError> {
    let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
        path: path.to_owned(),
        line: line_at(text, error.span().map_or(0, |span| span.start)),
        reason: error.message().to_owned(),
    })?;
    let mut lines = Vec::new();
    flatten(path, text, "", table.get_ref(), &mut lines);
    Ok(lines)
}

fn flatten(path: &Path, text: &str, prefix: &str, table: &DeTable<'_>, lines: &mut Vec<Line>) {
    for (name, value) in table {
        let key = if prefix.is_empty() {
            name.get_ref().to_string()
        } else {
            format!("{prefix}.{}", name.get_ref())
        };
        if let DeValue::Table(inner) = value.get_ref() {
            // An empty table still names something that must exist.
            if !inner.is_empty() {
                flatten(path, text, &key, inner, lines);
                continue;
            }
        }
        let place = Place::File {
            path: path.to_owned(),
            line: line_at(text, name.span().start),
        };
        lines.push(Line {
            key,
            raw: raw(value.get_ref()),
            place,
        });
    }
}

fn raw(value: &DeValue<'_>) -> Raw {
    match value {
        DeValue::String(text) => Raw::Text(text.to_string()),
        // Digits in another radix are not decimal text; settings have no use for them.
        DeValue::Integer(number) if number.radix() == 10 => Raw::Number(number.as_str().to_owned()),
        DeValue::Integer(_) => Raw::Other("a number that is not decimal"),
        DeValue::Float(number) => Raw::Number(number.as_str().to_owned()),
        DeValue::Boolean(flag) => Raw::Bool(*flag),
        DeValue::Array(items) => items
            .iter()
            .map(|item| item.get_ref().as_str().map(str::to_owned))
            .collect::<Option<Vec<_>>>()
            .map_or(Raw::Other("a list of other things"), Raw::List),
        DeValue::Datetime(_) => Raw::Other("a date"),
        DeValue::Table(_) => Raw::Other("a table"),
    }
}

fn line_at(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

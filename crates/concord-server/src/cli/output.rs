//! What commands print: tables for people, JSON for programs.

use std::io::{self, BufWriter, StdoutLock, Write};

use comfy_table::{Table, presets};
use serde_json::Value;

use super::args::Output;
use super::error::CliError;

/// Standard output, buffered until the command ends.
#[derive(Debug)]
pub(crate) struct Out {
    writer: BufWriter<StdoutLock<'static>>,
    format: Output,
}

impl Out {
    /// Takes standard output for the rest of the command.
    pub(crate) fn new(format: Output) -> Self {
        Self {
            writer: BufWriter::new(io::stdout().lock()),
            format,
        }
    }

    /// Whether programs read it.
    pub(crate) fn is_json(&self) -> bool {
        self.format == Output::Json
    }

    /// Prints a line.
    pub(crate) fn line(&mut self, text: impl AsRef<str>) -> Result<(), CliError> {
        self.bytes(text.as_ref().as_bytes())?;
        self.bytes(b"\n")
    }

    /// Prints bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        self.writer.write_all(bytes).map_err(output_error)
    }

    /// Prints one JSON value on a line.
    pub(crate) fn json(&mut self, value: &Value) -> Result<(), CliError> {
        self.line(value.to_string())
    }

    /// Prints rows under a head.
    pub(crate) fn table(
        &mut self,
        head: &[&str],
        rows: impl IntoIterator<Item = Vec<String>>,
    ) -> Result<(), CliError> {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        if !head.is_empty() {
            table.set_header(head.iter().copied());
        }
        for row in rows {
            table.add_row(row);
        }
        for line in table.lines() {
            self.line(line.trim_end())?;
        }
        Ok(())
    }

    /// Prints names with their values, one a line.
    pub(crate) fn facts(
        &mut self,
        facts: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Result<(), CliError> {
        for (name, value) in facts {
            self.line(format!("{name:<18} {value}").trim_end())?;
        }
        Ok(())
    }

    /// Sends what is buffered on its way.
    pub(crate) fn flush(&mut self) -> Result<(), CliError> {
        self.writer.flush().map_err(output_error)
    }
}

fn output_error(error: io::Error) -> CliError {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return CliError::ReaderGone;
    }
    CliError::io("standard output", error)
}

/// A value of JSON for a table: text without quotes, nothing for null.
pub(crate) fn plain(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// Text for one cell: control characters shown, not obeyed, and not too long.
pub(crate) fn cell(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    let mut cell = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == CHARS_MAX {
            cell.push('…');
            break;
        }
        if c.is_control() {
            cell.extend(c.escape_default())
        } else {
            cell.push(c)
        }
    }
    cell
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cells_show_control_characters_and_end_in_time() {
        assert_eq!(cell("a\u{1b}[31m\n"), "a\\u{1b}[31m\\n");
        assert_eq!(cell(&"é".repeat(61)).chars().count(), 61);
        assert!(cell(&"é".repeat(61)).ends_with('…'));
        assert_eq!(cell(&"é".repeat(60)), "é".repeat(60));
    }

    #[test]
    fn plain_values_have_no_quotes() {
        assert_eq!(plain(Some(&json!("a"))), "a");
        assert_eq!(plain(Some(&json!(7))), "7");
        assert_eq!(plain(Some(&Value::Null)), "");
        assert_eq!(plain(None), "");
    }
}

//! Which node said it: each line of a node's output gets its name and colour.

use std::io::{BufRead, BufReader, IsTerminal, Read, stdout};

use crate::shell::say;

const COLOURS: [&str; 6] = ["36", "33", "35", "32", "34", "31"];

/// Copies lines to the developer's terminal, on a thread of its own, until they end.
pub(super) fn copy(id: u64, output: impl Read + Send + 'static) {
    let prefix = prefix(
        id,
        stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
    );
    std::thread::spawn(move || {
        let mut lines = BufReader::new(output);
        let mut line = Vec::new();
        // By bytes: a line that is not UTF-8 must not end the copying.
        while lines.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            say(&format!("{prefix}{}", String::from_utf8_lossy(&line).trim_end()));
            line.clear();
        }
    });
}

fn prefix(id: u64, in_colour: bool) -> String {
    let colour = usize::try_from(id)
        .ok()
        .and_then(|id| COLOURS.get(id.wrapping_sub(1) % COLOURS.len()));
    match colour {
        Some(colour) if in_colour => format!("\u{1b}[{colour}mnode {id} |\u{1b}[0m "),
        _ => format!("node {id} | "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_differ_in_colour_and_plain_output_has_none() {
        assert_ne!(prefix(1, true).get(..5), prefix(2, true).get(..5));
        assert_eq!(prefix(7, false), "node 7 | ");
    }
}

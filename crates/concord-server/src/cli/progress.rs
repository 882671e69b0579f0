//! A bar on standard error while something long goes on, if a person looks.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(100);
const WIDTH: u64 = 30;

/// What is shown of the bytes that are done.
#[derive(Debug)]
pub(super) struct Progress {
    what: &'static str,
    /// `None`: nobody knows how many there will be.
    total: Option<u64>,
    shown: Option<Instant>,
    is_watched: bool,
}

impl Progress {
    pub(super) fn new(what: &'static str, total: Option<u64>) -> Self {
        Self {
            what,
            total,
            shown: None,
            is_watched: std::io::stderr().is_terminal(),
        }
    }

    /// Whether a person looks.
    pub(super) const fn is_watched(&self) -> bool {
        self.is_watched
    }

    /// So many bytes are done.
    pub(super) fn show(&mut self, done: u64) {
        if !self.is_watched || self.shown.is_some_and(|shown| shown.elapsed() < PAUSE) {
            return;
        }
        self.shown = Some(Instant::now());
        // What cannot be shown is not missed.
        let _ = write!(std::io::stderr(), "\r{}\x1b[K", line(self.what, done, self.total));
    }

    /// Wipes the bar.
    pub(super) fn end(self) {
        if self.shown.is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn line(what: &str, done: u64, total: Option<u64>) -> String {
    let mebibytes = done >> 20;
    match total.filter(|total| *total > 0) {
        None => format!("{what} {mebibytes} MiB"),
        Some(total) => {
            let full = done.min(total).saturating_mul(WIDTH) / total;
            let bar: String = (0..WIDTH).map(|at| if at < full { '#' } else { '.' }).collect();
            let percent = done.min(total).saturating_mul(100) / total;
            format!("{what} [{bar}] {percent:3} %, {mebibytes} of {} MiB", total >> 20)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_full_as_the_work_is_done() {
        assert_eq!(line("reading", 5 << 20, None), "reading 5 MiB");
        let half = line("reading", 1 << 20, Some(2 << 20));
        assert_eq!(half, "reading [###############...............]  50 %, 1 of 2 MiB");
        assert!(line("reading", 9, Some(3)).contains("100 %"));
        assert_eq!(line("reading", 0, Some(0)), "reading 0 MiB");
    }
}

//! What happened in a run, as one number, and how often each kind of thing did.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

/// The trace of a run, shared by everything in it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trace(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    hash: u64,
    marks: BTreeMap<&'static str, u64>,
    /// The newest lines, kept for the report of a failure.
    lines: std::collections::VecDeque<String>,
    verbose: bool,
    /// Every event with the hash after it: to find where two runs part.
    #[cfg(tokio_unstable)]
    steps: Vec<(u64, &'static str, usize)>,
}

const LINES_KEPT: usize = 60;
/// Where a hash begins.
pub(crate) const START: u64 = 0xCBF2_9CE4_8422_2325;
const PRIME: u64 = 0x9E37_79B9_7F4A_7C15;

impl Default for Inner {
    fn default() -> Self {
        let verbose = std::env::var_os("CONCORD_SIM_VERBOSE").is_some();
        Self {
            hash: START,
            marks: BTreeMap::new(),
            lines: std::collections::VecDeque::new(),
            verbose,
            #[cfg(tokio_unstable)]
            steps: Vec::new(),
        }
    }
}

impl Inner {
    fn mix(&mut self, bytes: &[u8]) {
        self.hash = mix(self.hash, bytes);
    }
}

/// Mixes bytes into a hash, eight at a time: an unoptimised build hashes megabytes of them.
pub(crate) fn mix(mut hash: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        hash = (hash ^ u64::from_le_bytes(*word))
            .wrapping_mul(PRIME)
            .rotate_left(29);
    }
    for byte in rest {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(PRIME).rotate_left(29);
    }
    hash
}

impl Trace {
    fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        act(&mut self.0.lock().expect("nobody panics while holding the trace"))
    }

    /// Something happened that must happen again in the same way with the same seed.
    pub(crate) fn event(&self, what: &'static str, bytes: &[u8]) {
        self.with(|inner| {
            inner.mix(what.as_bytes());
            inner.mix(bytes);
            #[cfg(tokio_unstable)]
            inner.steps.push((inner.hash, what, bytes.len()));
        });
    }

    /// The first step that differs from another run's, and how many were the same.
    #[cfg(tokio_unstable)]
    pub(crate) fn parting(&self, other: &Self) -> String {
        let (ours, theirs) = (
            self.with(|inner| inner.steps.clone()),
            other.with(|inner| inner.steps.clone()),
        );
        let same = ours
            .iter()
            .zip(&theirs)
            .take_while(|(one, two)| one == two)
            .count();
        format!(
            "{same} steps are the same, then {:?} and {:?}",
            ours.get(same),
            theirs.get(same)
        )
    }

    /// Something happened that is worth a line in the report of a failure.
    pub(crate) fn note(&self, line: fmt::Arguments<'_>) {
        let line = line.to_string();
        self.with(|inner| {
            inner.mix(line.as_bytes());
            if inner.verbose {
                println!("  {line}");
            }
            if inner.lines.len() == LINES_KEPT {
                inner.lines.pop_front();
            }
            inner.lines.push_back(line);
        });
    }

    /// Counts a kind of thing: shown at the end, to prove that it did happen.
    pub(crate) fn mark(&self, kind: &'static str) {
        self.mark_times(kind, 1);
    }

    /// Counts that many of a kind.
    pub(crate) fn mark_times(&self, kind: &'static str, times: u64) {
        self.with(|inner| *inner.marks.entry(kind).or_default() += times);
    }

    pub(crate) fn hash(&self) -> u64 {
        self.with(|inner| inner.hash)
    }

    pub(crate) fn marks(&self) -> BTreeMap<&'static str, u64> {
        self.with(|inner| inner.marks.clone())
    }

    pub(crate) fn last_lines(&self) -> String {
        self.with(|inner| inner.lines.iter().map(|line| format!("  {line}\n")).collect())
    }
}

//! Where writes go: changes counted by the beginning of their keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::cli::keyspace::key_of;
use crate::cli::output::cell;
use crate::client::{Client, ClientError, Request};

/// So many beginnings are counted; keys with others count as the rest until the next picture.
const PREFIXES_MAX: usize = 4_096;
/// So many are shown.
const SHOWN_MAX: usize = 10;
/// The name of what is not counted by itself. No key begins with it: cells show control characters.
const REST: &str = "(others)";

/// A beginning of keys and how often it is written.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct HotPrefix {
    pub(super) prefix: String,
    pub(super) writes_per_second: f64,
}

/// Follows all changes until dropped.
#[derive(Debug)]
pub(super) struct Hot {
    counts: Arc<Mutex<Counts>>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Counts {
    since: Instant,
    by_prefix: BTreeMap<String, u32>,
    trouble: Option<String>,
}

impl Hot {
    pub(super) fn follow(client: &Client) -> Self {
        let counts = Arc::new(Mutex::new(Counts {
            since: Instant::now(),
            by_prefix: BTreeMap::new(),
            trouble: None,
        }));
        let request = Request::get("/api/v1/watch")
            .query("consistency", Some("eventual"))
            .accept("text/event-stream");
        let (into, client) = (Arc::clone(&counts), client.clone());
        let task = tokio::spawn(async move {
            let mut changes = client.follow(request);
            loop {
                match changes.next().await.and_then(|event| keys(&event.data()?)) {
                    Ok(keys) => keys.iter().for_each(|key| into.lock().count(key)),
                    Err(error) => {
                        let code = error.code();
                        into.lock().trouble =
                            Some(format!("hot prefixes: {code}: {}", cell(&error.to_string())));
                        return;
                    }
                }
            }
        });
        Self { counts, task }
    }

    /// What was written most since the last question.
    pub(super) fn busiest(&self) -> Vec<HotPrefix> {
        let mut counts = self.counts.lock();
        let seconds = counts.since.elapsed().as_secs_f64().max(0.001);
        counts.since = Instant::now();
        let mut found: Vec<(String, u32)> = std::mem::take(&mut counts.by_prefix).into_iter().collect();
        drop(counts);
        found.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        found
            .into_iter()
            .take(SHOWN_MAX)
            .map(|(prefix, writes)| HotPrefix {
                prefix,
                writes_per_second: f64::from(writes) / seconds,
            })
            .collect()
    }

    /// Why changes are not counted any more.
    pub(super) fn trouble(&self) -> Option<String> {
        self.counts.lock().trouble.clone()
    }
}

impl Drop for Hot {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Counts {
    fn count(&mut self, key: &str) {
        let prefix = prefix_of(key);
        let is_known = self.by_prefix.contains_key(&prefix);
        let name = if is_known || self.by_prefix.len() < PREFIXES_MAX {
            prefix
        } else {
            REST.to_owned()
        };
        let count = self.by_prefix.entry(name).or_default();
        *count = count.saturating_add(1);
    }
}

/// The keys of an event; none, if it is not about keys.
fn keys(event: &Value) -> Result<Vec<String>, ClientError> {
    let changes = event.get("events").and_then(Value::as_array);
    Ok(changes
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
        .map(key_of)
        .collect())
}

/// The key up to the first character that people part names with, and at most a cell of it.
fn prefix_of(key: &str) -> String {
    match key.find([':', '/', '.']) {
        Some(end) => format!("{}*", cell(key.get(..=end).unwrap_or(key))),
        None => cell(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_counted_by_their_first_part() {
        assert_eq!(prefix_of("users:7:name"), "users:*");
        assert_eq!(prefix_of("a/b/c"), "a/*");
        assert_eq!(prefix_of("alone"), "alone");
        assert_eq!(
            prefix_of("\u{1b}[2J:x"),
            "\\u{1b}[2J:*",
            "no key draws on the screen"
        );
    }

    #[test]
    fn any_number_of_prefixes_is_counted_in_bounded_memory() {
        let mut counts = Counts {
            since: Instant::now(),
            by_prefix: BTreeMap::new(),
            trouble: None,
        };
        for number in 0..PREFIXES_MAX * 2 {
            counts.count(&format!("k{number}:x"));
        }
        assert_eq!(counts.by_prefix.len(), PREFIXES_MAX + 1);
        assert_eq!(
            counts.by_prefix.get(REST).copied(),
            u32::try_from(PREFIXES_MAX).ok()
        );
    }
}

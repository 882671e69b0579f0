//! A picture as lines of text, as wide as there is room for.

use super::frame::{Cluster, Frame, Node, Other, Said};

/// A line, with how it is to be seen.
#[derive(Debug, PartialEq)]
pub(super) struct Line {
    text: String,
    pub(super) style: Style,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Head,
    Good,
    Bad,
    Faint,
}

impl Line {
    fn new(text: impl Into<String>, style: Style, width: usize) -> Self {
        let text: String = text.into();
        let text = text.trim_end();
        Self {
            text: text.chars().take(width).collect(),
            style,
        }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

/// A column of the table of nodes.
struct Column {
    head: &'static str,
    /// The first to go when there is no room is the one with the highest.
    rank: u8,
    is_number: bool,
    cell: fn(&Said) -> String,
}

const COLUMNS: &[Column] = &[
    column("NODE", 0, |said| said.node_id.to_string()),
    text_column("ROLE", 0, |said| said.role.clone()),
    column("TERM", 4, |said| said.term.to_string()),
    text_column("READY", 1, |said| {
        if said.ready { "yes" } else { "NO" }.to_owned()
    }),
    column("LAG", 1, |said| maybe(said.lag_entries.map(count))),
    column("SILENT", 6, |said| maybe(said.silent_ms.map(milliseconds))),
    column("BACKLOG", 7, |said| count(said.unapplied_entries)),
    column("WRITES/S", 2, |said| rate(said.rates.writes_per_second)),
    column("READS/S", 2, |said| rate(said.rates.reads_per_second)),
    column("ERRORS/S", 2, |said| rate(said.rates.errors_per_second)),
    column("WRITE P50", 5, |said| seconds(said.rates.write_seconds_p50)),
    column("WRITE P99", 3, |said| seconds(said.rates.write_seconds_p99)),
    column("READ P99", 3, |said| seconds(said.rates.read_wait_seconds_p99)),
    column("SYNC P99", 3, |said| seconds(said.rates.log_sync_seconds_p99)),
    column("LOG", 6, |said| size(said.log_bytes)),
    column("MEMORY", 5, |said| size(said.memory_bytes)),
    column("WATCHES", 8, |said| {
        maybe(said.watches.map(|open| format!("{open:.0}")))
    }),
];

const fn column(head: &'static str, rank: u8, cell: fn(&Said) -> String) -> Column {
    Column {
        head,
        rank,
        is_number: true,
        cell,
    }
}

const fn text_column(head: &'static str, rank: u8, cell: fn(&Said) -> String) -> Column {
    Column {
        is_number: false,
        ..column(head, rank, cell)
    }
}

/// The whole picture.
pub(super) fn of(frame: &Frame, width: usize) -> Vec<Line> {
    let mut lines = head(&frame.cluster, width);
    lines.push(Line::new("", Style::Plain, width));
    lines.extend(table(&frame.nodes, width));
    lines.extend(frame.others.iter().map(|other| absent(other, width)));
    if !frame.hot_prefixes.is_empty() {
        lines.push(Line::new("", Style::Plain, width));
        lines.push(Line::new("  WRITES/S  KEYS", Style::Head, width));
        lines.extend(frame.hot_prefixes.iter().map(|hot| {
            let text = format!("{:>10}  {}", rate(Some(hot.writes_per_second)), hot.prefix);
            Line::new(text, Style::Plain, width)
        }));
    }
    if !frame.warnings.is_empty() {
        lines.push(Line::new("", Style::Plain, width));
    }
    let warnings = frame.warnings.iter();
    lines.extend(warnings.map(|text| Line::new(format!("warning: {text}"), Style::Bad, width)));
    lines
}

fn head(cluster: &Cluster, width: usize) -> Vec<Line> {
    let id = cluster.cluster_id.as_deref().unwrap_or("none");
    let (leader, style) = match cluster.leader {
        Some(leader) => (format!("leader {leader}"), Style::Good),
        None => ("NO LEADER".to_owned(), Style::Bad),
    };
    let learners = match cluster.learners {
        0 => String::new(),
        learners => format!(" + {learners} learners"),
    };
    let changing = if cluster.changing_members {
        ", changing"
    } else {
        ""
    };
    let who = format!(
        "concord top   cluster {id}   {leader}   term {}   {} voters{learners}{changing}",
        cluster.term, cluster.voters,
    );
    let what = format!(
        "revision {}   {} keys   {} stored   {} history   {} writes/s   {} reads/s   {} errors/s",
        cluster.revision,
        count(cluster.keys),
        size(Some(float(cluster.stored_bytes))),
        size(Some(float(cluster.history_bytes))),
        rate(cluster.writes_per_second),
        rate(cluster.reads_per_second),
        rate(cluster.errors_per_second),
    );
    vec![Line::new(who, style, width), Line::new(what, Style::Plain, width)]
}

/// The nodes that were asked. Columns that there is no room for are left out, never squeezed.
fn table(nodes: &[Node], width: usize) -> Vec<Line> {
    let endpoint = nodes
        .iter()
        .map(|node| node.endpoint.len())
        .max()
        .unwrap_or_default();
    let mut rows: Vec<(&Column, Vec<String>, usize)> = COLUMNS
        .iter()
        .map(|column| {
            let cells: Vec<String> = nodes
                .iter()
                .map(|node| node.said.as_ref().map(column.cell).unwrap_or_default())
                .collect();
            let longest = cells.iter().map(|cell| cell.chars().count()).max();
            (column, cells, longest.unwrap_or_default().max(column.head.len()))
        })
        .collect();
    while rows.iter().map(|(_, _, wide)| wide + 2).sum::<usize>() + endpoint > width {
        let Some((last, _)) = rows
            .iter()
            .enumerate()
            .filter(|(_, (column, ..))| column.rank > 0)
            .max_by_key(|(_, (column, ..))| column.rank)
        else {
            break;
        };
        rows.remove(last);
    }
    let mut heads: String = rows
        .iter()
        .map(|(column, _, wide)| padded(column.head, *wide, column))
        .collect();
    heads.push_str("ENDPOINT");
    let mut lines = vec![Line::new(heads, Style::Head, width)];
    for (at, node) in nodes.iter().enumerate() {
        let text = match &node.error {
            Some(error) => format!("   ?  {}  {error}", node.endpoint),
            None => {
                let cells = rows.iter().map(|(column, cells, wide)| {
                    padded(
                        cells.get(at).map(String::as_str).unwrap_or_default(),
                        *wide,
                        column,
                    )
                });
                cells.collect::<String>() + &node.endpoint
            }
        };
        lines.push(Line::new(text, style_of(node), width));
        if let Some(reason) = node.said.as_ref().and_then(|said| said.reason.as_deref()) {
            lines.push(Line::new(format!("      {reason}"), Style::Bad, width));
        }
    }
    lines
}

fn padded(text: &str, wide: usize, column: &Column) -> String {
    if column.is_number {
        format!("{text:>wide$}  ")
    } else {
        format!("{text:<wide$}  ")
    }
}

fn style_of(node: &Node) -> Style {
    match &node.said {
        Some(said) if !said.ready => Style::Bad,
        Some(said) if said.role == "leader" => Style::Good,
        Some(_) => Style::Plain,
        None => Style::Bad,
    }
}

fn absent(other: &Other, width: usize) -> Line {
    let role = if other.voter { "voter" } else { "learner" };
    let text = format!(
        "{:>4}  {role}  not among the endpoints that answer; peers at {}, {} entries behind, silent for {}",
        other.node_id,
        other.peer_address,
        maybe(other.lag_entries.map(count)),
        maybe(other.silent_ms.map(milliseconds)),
    );
    Line::new(text, Style::Faint, width)
}

fn maybe(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

fn rate(rate: Option<f64>) -> String {
    maybe(rate.map(|rate| match rate {
        rate if rate >= 99_999.5 => format!("{:.0}k", rate / 1_000.0),
        rate if rate >= 10.0 || rate == 0.0 => format!("{rate:.0}"),
        rate => format!("{rate:.1}"),
    }))
}

fn seconds(length: Option<f64>) -> String {
    maybe(length.map(|length| match length {
        length if length >= 1.0 => format!("{length:.2} s"),
        length if length >= 0.000_999_5 => format!("{:.1} ms", length * 1e3),
        length => format!("{:.0} µs", length * 1e6),
    }))
}

fn milliseconds(length: u64) -> String {
    if length < 10_000 {
        format!("{length} ms")
    } else {
        format!("{} s", length / 1_000)
    }
}

fn size(bytes: Option<f64>) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let Some(mut rest) = bytes else {
        return "-".to_owned();
    };
    let mut unit = 0;
    while rest >= 1_024.0 && unit + 1 < UNITS.len() {
        rest /= 1_024.0;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    if unit == 0 || rest >= 99.95 {
        format!("{rest:.0} {name}")
    } else {
        format!("{rest:.1} {name}")
    }
}

/// Thousands apart, for people.
fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
pub(super) mod tests;

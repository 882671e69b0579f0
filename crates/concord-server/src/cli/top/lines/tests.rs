//! What a picture looks like.

use super::super::frame::Rates;
use super::*;

fn said(node_id: u64, role: &str) -> Said {
    Said {
        node_id,
        version: "0.1.0".to_owned(),
        role: role.to_owned(),
        term: 7,
        ready: true,
        reason: None,
        revision: 1_234_567,
        lag_entries: Some(12_345),
        silent_ms: Some(20_000),
        unapplied_entries: 0,
        log_bytes: Some(64.0 * 1_048_576.0),
        memory_bytes: Some(1_500_000_000.0),
        watches: Some(3.0),
        rates: Rates {
            writes_per_second: Some(123_456.0),
            reads_per_second: Some(0.5),
            errors_per_second: Some(0.0),
            write_seconds_p50: Some(0.000_8),
            write_seconds_p99: Some(0.012_3),
            read_wait_seconds_p99: None,
            log_sync_seconds_p99: Some(1.5),
        },
    }
}

fn node(endpoint: &str, said: Option<Said>) -> Node {
    Node {
        endpoint: endpoint.to_owned(),
        error: said.is_none().then(|| "unreachable".to_owned()),
        said,
    }
}

/// A leader, a follower that cannot serve, an endpoint that does not answer, and a member that nobody asked.
pub(in crate::cli::top) fn three_nodes() -> Frame {
    let troubled = Said {
        ready: false,
        reason: Some("no leader".to_owned()),
        ..said(2, "follower")
    };
    Frame {
        cluster: Cluster {
            cluster_id: Some("c0ffee".to_owned()),
            leader: Some(1),
            keys: 1_000_000,
            voters: 3,
            learners: 1,
            ..Cluster::default()
        },
        nodes: vec![
            node("http://127.0.0.1:4000", Some(said(1, "leader"))),
            node("http://127.0.0.1:4001", Some(troubled)),
            node("http://127.0.0.1:4002", None),
        ],
        others: vec![Other {
            node_id: 3,
            peer_address: "127.0.0.1:5002".to_owned(),
            voter: true,
            lag_entries: Some(5),
            silent_ms: None,
        }],
        hot_prefixes: Vec::new(),
        warnings: vec!["node 1: the disk is nearly full".to_owned()],
    }
}

fn text(frame: &Frame, width: usize) -> String {
    of(frame, width)
        .iter()
        .map(|line| format!("{}\n", line.text()))
        .collect()
}

#[test]
fn a_wide_picture_shows_everything() {
    let text = text(&three_nodes(), 200);
    for part in [
        "cluster c0ffee   leader 1",
        "3 voters + 1 learners",
        "1,000,000 keys",
        "12,345",
        "20 s",
        "123k",
        "0.5",
        "800 µs",
        "12.3 ms",
        "1.50 s",
        "64.0 MiB",
        "1.4 GiB",
        "http://127.0.0.1:4002  unreachable",
        "      no leader",
        "   3  voter  not among the endpoints that answer",
        "warning: node 1: the disk is nearly full",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
}

#[test]
fn a_narrow_picture_leaves_columns_out_and_stays_within_its_width() {
    for width in [1, 20, 40, 60, 80, 100, 140, 200] {
        let lines = of(&three_nodes(), width);
        let widest = lines.iter().map(|line| line.text().chars().count()).max();
        assert!(widest <= Some(width), "{widest:?} in {width}");
    }
    let narrow = text(&three_nodes(), 80);
    assert!(narrow.contains("ROLE") && narrow.contains("LAG"), "{narrow}");
    assert!(!narrow.contains("WATCHES"), "{narrow}");
    assert!(
        narrow.contains("http://127.0.0.1:4000\n"),
        "the endpoint stays whole\n{narrow}"
    );
}

#[test]
fn a_node_in_trouble_stands_out() {
    let lines = of(&three_nodes(), 200);
    let style = |part: &str| {
        lines
            .iter()
            .find(|line| line.text().contains(part))
            .map(|line| line.style)
    };
    assert_eq!(style("leader  "), Some(Style::Good));
    assert_eq!(style("http://127.0.0.1:4001"), Some(Style::Bad));
    assert_eq!(style("unreachable"), Some(Style::Bad));
}

#[test]
fn numbers_are_short() {
    assert_eq!(count(0), "0");
    assert_eq!(count(999), "999");
    assert_eq!(count(1_000), "1,000");
    assert_eq!(count(1_234_567), "1,234,567");
    assert_eq!(rate(Some(0.0)), "0");
    assert_eq!(rate(Some(9.94)), "9.9");
    assert_eq!(rate(None), "-");
    assert_eq!(size(Some(1_023.0)), "1023 B");
    assert_eq!(size(Some(1_024.0)), "1.0 KiB");
    assert_eq!(milliseconds(9_999), "9999 ms");
    assert_eq!(seconds(Some(0.000_999_9)), "1.0 ms");
}

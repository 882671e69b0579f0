//! What Prometheus reads, and what is made of it.

use std::collections::{BTreeMap, BTreeSet};

use concord_server::metrics::{Kind, families};
use concord_server::{Concord, Config};

use crate::cluster::Cluster;
use crate::wire::send;

fn file(path: &str) -> String {
    let path = format!("{}/../../{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

async fn scrape(url: &str) -> String {
    let reply = send(url, "GET", "/metrics", "", b"").await;
    assert_eq!(reply.status, 200);
    String::from_utf8(reply.body).unwrap()
}

/// The series of a scrape: by name, with label names, label values and numbers.
type Series = BTreeMap<String, Vec<(Vec<String>, Vec<String>, f64)>>;

fn series(text: &str) -> Series {
    let mut series = Series::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (head, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = match head.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}').unwrap()),
            None => (head, ""),
        };
        let pairs = labels.split(',').filter(|pair| !pair.is_empty());
        let (names, values) = pairs
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap();
                (name.to_owned(), value.trim_matches('"').to_owned())
            })
            .unzip();
        series
            .entry(name.to_owned())
            .or_default()
            .push((names, values, value.parse().unwrap()));
    }
    series
}

impl Cluster {
    /// The one series of these label values.
    async fn figure(&self, node: usize, name: &str, labels: &[&str]) -> Option<f64> {
        let all = series(&scrape(&self.url(node)).await);
        let found = all.get(name)?.iter().find(|(_, values, _)| values == labels)?;
        Some(found.2)
    }
}

/// Only nodes with TLS or with gossip have these: see the tests of those.
const ELSEWHERE: [&str; 4] = [
    "gossip_contacts",
    "gossip_packets",
    "gossip_dropped",
    "certificate_expiry_timestamp_seconds",
];

/// Each family of the table is served once, with its type and its labels, and nothing else is.
#[tokio::test]
async fn every_metric_is_served_as_the_table_says() {
    let cluster = Cluster::start(3).await;
    let db = cluster.node(0);
    db.put("k", "v").await.unwrap();
    db.get("k").strong().await.unwrap();
    db.delete("k").if_version(7).await.unwrap_err();
    db.tenants().create("acme").await.unwrap();
    for node in 0..3 {
        let acme = crate::tenants::member(cluster.node(node), "acme").await;
        acme.put("acme:k", "v").await.unwrap();
    }
    let mut seen = BTreeSet::new();
    for node in 0..3 {
        // The first is a request that the second tells of.
        scrape(&cluster.url(node)).await;
        let text = scrape(&cluster.url(node)).await;
        assert!(text.ends_with("# EOF\n"));
        let mut series = series(&text);
        for family in families() {
            let kind = match family.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            let head = format!(
                "# HELP concord_{0} {1}\n# TYPE concord_{0} {kind}\n",
                family.name, family.about
            );
            assert_eq!(text.matches(&head).count(), 1, "{head}");
            let names = match family.kind {
                Kind::Counter | Kind::Gauge => vec![family.full_name()],
                Kind::Histogram => ["_bucket", "_sum", "_count"]
                    .map(|part| family.full_name() + part)
                    .into(),
            };
            for name in names {
                for (labels, _, _) in series.remove(&name).unwrap_or_default() {
                    let labels: Vec<&str> = labels
                        .iter()
                        .map(String::as_str)
                        .filter(|label| *label != "le")
                        .collect();
                    assert_eq!(labels, family.labels, "{name}");
                    seen.insert(family.name);
                }
            }
        }
        assert_eq!(
            series.keys().collect::<Vec<_>>(),
            Vec::<&String>::new(),
            "nothing else"
        );
    }
    let silent: Vec<_> = families()
        .iter()
        .map(|family| family.name)
        .filter(|name| !seen.contains(name))
        .collect();
    let mut expected = ELSEWHERE.to_vec();
    if !cfg!(target_os = "linux") {
        expected.push("memory_resident_bytes");
    }
    assert_eq!(silent, expected, "every family has shown something");
    cluster.stop().await;
}

/// D-MET-1: figures are true, and what is unbounded is no label.
#[tokio::test]
async fn figures_follow_what_happens() {
    let cluster = Cluster::start(1).await;
    let db = cluster.node(0);
    for n in 0..10 {
        db.put(format!("k{n}"), "v").await.unwrap();
    }
    db.delete("k0").await.unwrap();
    db.put("k1", "w").if_absent().await.unwrap_err();
    for _ in 0..5 {
        db.get("k1").eventual().await.unwrap();
    }
    let lease = db.lease(std::time::Duration::from_secs(60)).await.unwrap();
    let watch = db.watch().prefix("k").await.unwrap();
    for (name, labels, expected) in [
        ("concord_keys", &[][..], 9.0),
        ("concord_leases", &[], 1.0),
        ("concord_watches", &[], 1.0),
        ("concord_ready", &[], 1.0),
        ("concord_raft_role", &["leader"], 1.0),
        ("concord_raft_role", &["follower"], 0.0),
        ("concord_raft_members", &["voter"], 1.0),
        ("concord_write_seconds_count", &["put", "ok"], 10.0),
        ("concord_write_seconds_count", &["put", "refused"], 1.0),
        ("concord_write_seconds_count", &["delete", "ok"], 1.0),
        ("concord_errors_total", &["put", "condition_failed"], 1.0),
        ("concord_proposals_waiting", &[], 0.0),
    ] {
        assert_eq!(
            cluster.figure(0, name, labels).await,
            Some(expected),
            "{name} {labels:?}"
        );
    }
    for (name, labels, least) in [
        ("concord_reads_total", &["eventual"][..], 5.0),
        ("concord_log_sync_seconds_count", &[], 3.0),
        ("concord_log_written_bytes_total", &[], 500.0),
        ("concord_log_bytes", &[], 500.0),
        ("concord_raft_entry_seconds_count", &[], 12.0),
        ("concord_apply_entries_total", &[], 12.0),
        ("concord_raft_applied_index", &[], 12.0),
    ] {
        let found = cluster.figure(0, name, labels).await;
        assert!(found >= Some(least), "{name}: {found:?}");
    }
    let text = scrape(&cluster.url(0)).await;
    assert!(!text.contains("k1"), "no key is a label");
    drop((lease, watch));
    cluster.stop().await;
}

/// D-MET-1: by route, never by path, with how they ended.
#[tokio::test]
async fn http_requests_are_counted_by_route() {
    let cluster = Cluster::start(1).await;
    let url = cluster.url(0);
    for key in ["one", "two"] {
        let path = format!("/api/v1/kv/{key}");
        let put = send(&url, "PUT", &path, "content-type: text/plain", b"v").await;
        assert_eq!(put.status, 200);
        assert_eq!(send(&url, "GET", &path, "", b"").await.status, 200);
    }
    assert_eq!(send(&url, "GET", "/api/v1/kv/three", "", b"").await.status, 404);
    assert_eq!(send(&url, "GET", "/four/five", "", b"").await.status, 404);
    assert_eq!(send(&url, "PATCH", "/api/v1/kv/one", "", b"").await.status, 405);
    let lease = cluster
        .node(0)
        .lease(std::time::Duration::from_secs(60))
        .await
        .unwrap();
    cluster
        .node(0)
        .put("lock:deploy#1", "")
        .lease(lease.id())
        .await
        .unwrap();
    let key = "/api/v1/kv/{key}";
    for (name, labels, expected) in [
        ("concord_http_requests_total", &[key, "PUT", "2xx"][..], 2.0),
        ("concord_http_requests_total", &[key, "GET", "2xx"], 2.0),
        ("concord_http_requests_total", &[key, "GET", "4xx"], 1.0),
        ("concord_http_requests_total", &["_other", "_other", "4xx"], 2.0),
        ("concord_http_request_seconds_count", &[key, "GET"], 3.0),
        // The scrape itself.
        ("concord_http_requests_in_flight", &[], 1.0),
        ("concord_sessions", &[], 1.0),
        ("concord_recipe_keys", &["lock"], 1.0),
        ("concord_recipe_keys", &["election"], 0.0),
    ] {
        let found = cluster.figure(0, name, labels).await;
        assert_eq!(found, Some(expected), "{name} {labels:?}");
    }
    for name in [
        "concord_http_received_bytes_total",
        "concord_http_sent_bytes_total",
    ] {
        assert!(cluster.figure(0, name, &[]).await > Some(200.0), "{name}");
    }
    let text = scrape(&url).await;
    for said in ["kv/one", "kv/two", "four", "PATCH"] {
        assert!(!text.contains(said), "{said} is a label");
    }
    cluster.stop().await;
}

/// A port for Prometheus alone.
#[tokio::test]
async fn metrics_have_a_listener_of_their_own_if_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config::at(directory.path()).metrics("127.0.0.1:0");
    let db = Concord::open(config).await.unwrap();
    assert_eq!(db.http_address(), None);
    let url = format!("http://{}", db.metrics_address().unwrap());
    assert!(scrape(&url).await.contains("concord_ready 1"));
    for path in ["/api/v1/status", "/api/v1/kv/k", "/docs", "/"] {
        assert_eq!(send(&url, "GET", path, "", b"").await.status, 404, "{path}");
    }
    assert_eq!(send(&url, "POST", "/metrics", "", b"").await.status, 405);
    db.shutdown().await.unwrap();
}

#[test]
fn the_document_has_the_table_of_metrics() {
    let mut table = "| name | kind | labels | |\n| --- | --- | --- | --- |\n".to_owned();
    for family in families() {
        let kind = format!("{:?}", family.kind).to_lowercase();
        let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        let row = format!(
            "| `{}` | {kind} | {} | {} |\n",
            family.full_name(),
            labels.join(" "),
            family.about
        );
        table.push_str(&row);
    }
    assert!(
        file("docs/metrics.md").ends_with(&table),
        "docs/metrics.md must end with:\n{table}"
    );
}

/// D-MET-1: what dashboard and alerts ask for exists.
#[test]
fn the_dashboard_and_the_alerts_ask_for_metrics_that_exist() {
    let names: BTreeMap<String, Kind> = families()
        .iter()
        .map(|family| (family.full_name(), family.kind))
        .collect();
    for path in [
        "deploy/grafana/concord.json",
        "deploy/prometheus/concord.rules.yml",
    ] {
        let text = file(path);
        let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        let mut asked = BTreeSet::new();
        for (at, _) in text.match_indices("concord_") {
            let rest = &text[at..];
            let name = &rest[..rest.find(|letter| !is_part(letter)).unwrap_or(rest.len())];
            let base = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|part| name.strip_suffix(part))
                .filter(|base| names.get(*base) == Some(&Kind::Histogram));
            let base = base.unwrap_or(name);
            assert!(names.contains_key(base), "{path} asks for {name}");
            asked.insert(base);
        }
        assert!(asked.len() >= 10, "{path} asks for {asked:?}");
    }
}

/// Whoever is woken by an alert finds what to do, and nothing is explained that wakes nobody.
#[test]
fn every_alert_has_its_section_in_the_runbook() {
    let rules = file("deploy/prometheus/concord.rules.yml");
    let alerts: Vec<&str> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    let runbook = file("docs/runbook.md");
    let sections: Vec<&str> = runbook
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .collect();
    assert_eq!(sections, alerts);
    let links = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("runbook: "));
    let expected = alerts
        .iter()
        .map(|alert| format!("\"docs/runbook.md#{}\"", alert.to_lowercase()));
    assert_eq!(
        links.map(str::to_owned).collect::<Vec<_>>(),
        expected.collect::<Vec<_>>()
    );
}

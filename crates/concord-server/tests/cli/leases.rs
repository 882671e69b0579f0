//! `concord lease`.

use crate::process::Cluster;
use crate::{fails, ok};

#[tokio::test]
async fn leases_carry_keys_until_they_are_revoked() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    let lease = ok(node, &["lease", "grant", "1h"]).trim().to_owned();
    ok(node, &["put", "k", "v", "--lease", &lease]);
    let info = ok(node, &["lease", "info", &lease]);
    assert!(
        info.contains("1h") && info.lines().any(|line| line == "k"),
        "{info}"
    );
    assert!(ok(node, &["lease", "keep-alive", &lease]).contains(&lease));
    assert!(ok(node, &["lease", "list"]).contains(&lease));
    assert!(ok(node, &["lease", "revoke", &lease]).contains("1 keys deleted"));
    fails(node, &["get", "k"], 3, "not_found");
    for words in [
        &["lease", "info", &lease][..],
        &["lease", "keep-alive", &lease, "--forever"],
        &["put", "k", "v", "--lease", &lease],
    ] {
        fails(node, words, 3, "lease_not_found");
    }
    fails(node, &["lease", "grant", "0"], 4, "invalid_ttl");
    ok(node, &["lease", "grant", "1m", "--id", "9"]);
    fails(node, &["lease", "grant", "1m", "--id", "9"], 5, "already_exists");
}

#[tokio::test]
async fn long_leases_and_lists_of_them_come_page_by_page() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    for lease in ["11", "12", "13"] {
        ok(node, &["lease", "grant", "1h", "--id", lease]);
    }
    for key in ["a", "b", "c"] {
        ok(node, &["put", key, "v", "--lease", "12"]);
    }
    let ids = |table: &str| -> Vec<String> {
        let words = table
            .split_whitespace()
            .filter(|word| ["11", "12", "13"].contains(word));
        words.map(str::to_owned).collect()
    };
    let page = ok(node, &["lease", "list", "--limit", "2"]);
    let (table, more) = page.split_once("more: ").unwrap();
    assert_eq!(ids(table), ["11", "12"]);
    assert_eq!(more.trim_end(), "--after 12");
    assert_eq!(ids(&ok(node, &["lease", "list", "--after", "12"])), ["13"]);
    assert_eq!(
        ids(&ok(node, &["lease", "list", "--limit", "1", "--all"])),
        ["11", "12", "13"]
    );
    let page = ok(node, &["lease", "info", "12", "--limit", "2"]);
    assert!(page.contains("\na\nb\n") && !page.contains("\nc\n"), "{page}");
    let cursor = page
        .lines()
        .find_map(|line| line.strip_prefix("more: --cursor "))
        .unwrap();
    let rest = ok(node, &["lease", "info", "12", "--cursor", cursor]);
    assert!(rest.ends_with("\nc\n") && !rest.contains("\nb\n"), "{rest}");
    let all = ok(node, &["lease", "info", "12", "--limit", "1", "--all"]);
    assert!(all.ends_with("\na\nb\nc\n"), "{all}");
    assert_eq!(all.matches("time to live").count(), 1, "{all}");
    for [flag, wrong] in [["--cursor", "!"], ["--limit", "0"]] {
        let words = ["lease", "info", "12", flag, wrong];
        fails(node, &words, 4, "invalid_request");
    }
}

//! `concord tenant`, and what a tenant's token does on the command line.

use serde_json::Value;

use super::process::{Cluster, Node, eventually, run};
use super::{fails, ok, stdout};

/// A node with authentication, and the tokens of its administrator and of a tenant's member.
struct Site {
    cluster: Cluster,
    root: String,
    member: String,
    _outside: tempfile::TempDir,
}

impl Site {
    async fn start() -> Self {
        let mut cluster = Cluster::of(1);
        let outside = tempfile::tempdir().unwrap();
        let path = |name: &str| outside.path().join(name).to_str().unwrap().to_owned();
        let (root, member) = (path("root.token"), path("acme.token"));
        cluster
            .nodes
            .first_mut()
            .unwrap()
            .settings(&format!("[auth]\nmode = \"on\"\nroot_token_file = \"{root}\"\n"));
        cluster.start_all();
        cluster.ready().await;
        let site = Self {
            cluster,
            root,
            member,
            _outside: outside,
        };
        eventually("the root token", async || {
            let words = ["whoami", "--token-file", &site.root];
            run(site.node(), &words).status.success().then_some(())
        })
        .await;
        site
    }

    fn node(&self) -> &Node {
        self.cluster.nodes.first().unwrap()
    }

    fn as_root(&self, words: &[&str]) -> String {
        ok(self.node(), &[&["--token-file", &self.root], words].concat())
    }

    fn as_member(&self, words: &[&str]) -> String {
        ok(self.node(), &[&["--token-file", &self.member], words].concat())
    }

    fn is_refused(&self, words: &[&str], exit: i32, code: &str) {
        fails(
            self.node(),
            &[&["--token-file", &self.member], words].concat(),
            exit,
            code,
        );
    }
}

#[tokio::test]
async fn a_tenant_is_made_used_and_removed_on_the_command_line() {
    let site = Site::start().await;
    let made = [
        "tenant",
        "create",
        "acme",
        "--max-keys",
        "3",
        "--max-ops-per-sec",
        "unlimited",
    ];
    let made = site.as_root(&made);
    assert!(made.contains("tenant_acme") && made.contains("acme:*"), "{made}");
    let secret = site.as_root(&["token", "create", "--role", "tenant_acme"]);
    std::fs::write(&site.member, &secret).unwrap();

    site.as_member(&["put", "acme:1", "x"]);
    site.as_member(&["put", "acme:2", "x"]);
    site.is_refused(&["put", "other:1", "x"], 6, "forbidden");
    let under = site.as_member(&["lock", "acme#deploy", "--", "sh", "-c", "echo deployed"]);
    assert_eq!(under, "deployed\n");
    site.is_refused(&["lock", "deploy", "--", "true"], 6, "forbidden");
    site.as_member(&["put", "acme:3", "x"]);
    site.is_refused(&["put", "acme:4", "x"], 9, "quota_exceeded");
    assert!(site.as_member(&["tenant", "usage", "acme"]).contains("3 of 3"));
    site.is_refused(&["tenant", "list"], 6, "forbidden");

    site.as_root(&["tenant", "update", "acme", "--max-keys", "4"]);
    site.as_member(&["put", "acme:4", "x"]);
    let shown: Value =
        serde_json::from_str(&site.as_root(&["tenant", "show", "acme", "--output", "json"])).unwrap();
    assert_eq!(
        (&shown["usage"]["keys"], &shown["quota"]["max_keys"]),
        (&Value::from(4), &Value::from(4))
    );
    assert_eq!(shown["quota"]["max_ops_per_sec"], "unlimited");
    assert!(site.as_root(&["tenant", "list"]).contains("4 of 4"));
    let csv = site.as_root(&["tenant", "export", "--format", "csv"]);
    assert!(csv.starts_with("at,revision,tenant,name,keys,"), "{csv}");
    assert!(csv.lines().nth(1).unwrap().contains(",acme,acme,4,"), "{csv}");
    let line: Value = serde_json::from_str(&site.as_root(&["tenant", "export"])).unwrap();
    assert_eq!(line["keys"], 4);

    site.as_root(&["tenant", "delete", "acme", "--delete-keys"]);
    site.is_refused(&["get", "acme:1"], 6, "forbidden");
    assert!(!site.as_root(&["scan"]).contains("acme:"));
}

#[tokio::test]
async fn limits_that_are_none_are_refused_before_anybody_is_asked() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    for words in [
        &["tenant", "update", "acme", "--max-keys", "-1"][..],
        &["tenant", "update", "acme", "--max-keys", "many"],
        &[
            "tenant",
            "create",
            "b",
            "--max-storage-bytes",
            "1000000000000000000000000000000",
        ],
    ] {
        let refused = run(node, words);
        assert_eq!(refused.status.code(), Some(2), "{words:?}");
        assert_eq!(stdout(&refused), "");
    }
    let reserved = run(node, &["tenant", "create", "lock"]);
    assert!(!reserved.status.success());
    assert_eq!(ok(node, &["tenant", "export"]), "", "nothing was made");
}

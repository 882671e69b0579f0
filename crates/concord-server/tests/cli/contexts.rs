//! Clusters by name, in a file of the user's.

use std::path::Path;
use std::process::Output;

use crate::process::{Cluster, concord, eventually};
use crate::{stderr, stdout};

fn run(file: &Path, words: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = concord();
    command.env("CONCORD_CONTEXTS", file).args(words);
    command.envs(variables.iter().copied());
    command.output().unwrap()
}

#[tokio::test]
async fn a_context_says_where_a_cluster_is_and_flags_and_variables_say_more() {
    let mut cluster = Cluster::of(1);
    let node = &mut cluster.nodes[0];
    node.start();
    let here = tempfile::tempdir().unwrap();
    let file = here.path().join("contexts.toml");
    let nobody = crate::process::free_address();
    let address = node.http;
    let text = format!(
        "# mine\ncurrent = \"off\" # for now\n\n[contexts.off]\nendpoints = [\"{nobody}\"]\ntimeout = \"200ms\"\n\n[contexts.on]\nendpoints = [\"{address}\"]\n"
    );
    std::fs::write(&file, text).unwrap();
    eventually("the node is ready", async || {
        run(&file, &["--context", "on", "ready"], &[])
            .status
            .success()
            .then_some(())
    })
    .await;
    assert_eq!(
        run(&file, &["put", "k", "v"], &[]).status.code(),
        Some(7),
        "the current one"
    );
    assert!(
        run(&file, &["put", "k", "v", "--context", "on"], &[])
            .status
            .success()
    );
    let by_variable = run(&file, &["get", "k"], &[("CONCORD_CONTEXT", "on")]);
    assert_eq!(stdout(&by_variable), "v\n");
    let endpoints = address.to_string();
    let by_flag = run(&file, &["get", "k", "--endpoints", &endpoints], &[]);
    assert_eq!(stdout(&by_flag), "v\n", "a flag goes before the context");
    let variable = [("CONCORD_ENDPOINTS", endpoints.as_str())];
    assert_eq!(
        stdout(&run(&file, &["get", "k"], &variable)),
        "v\n",
        "a variable too"
    );

    let changed = run(&file, &["context", "use", "on"], &[]);
    assert!(changed.status.success(), "{}", stderr(&changed));
    assert_eq!(stdout(&run(&file, &["get", "k"], &[])), "v\n");
    let now = std::fs::read_to_string(&file).unwrap();
    assert!(
        now.starts_with("# mine\ncurrent = \"on\"\n\n[contexts.off]\n"),
        "{now}"
    );
    let listed = run(&file, &["context", "list", "-o", "json"], &[]);
    let listed: serde_json::Value = serde_json::from_str(stdout(&listed)).unwrap();
    assert_eq!(
        listed[1],
        serde_json::json!({"name": "on", "current": true, "endpoints": [endpoints]})
    );
    assert_eq!(listed[0]["current"], false);
}

#[test]
fn contexts_that_cannot_be_used_are_refused_with_file_and_line() {
    let here = tempfile::tempdir().unwrap();
    let file = here.path().join("contexts.toml");
    let refused = |text: &str, words: &[&str], expected: &str| {
        std::fs::write(&file, text).unwrap();
        let output = run(&file, words, &[]);
        assert_eq!(output.status.code(), Some(2), "{text}: {}", stderr(&output));
        let said = stderr(&output);
        assert!(
            said.contains("contexts.toml") && said.contains(expected),
            "{text}: {said}"
        );
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    };
    let a = "[contexts.a]\nendpoints = [\"a:1\"]\n";
    refused(
        a,
        &["get", "k", "--context", "b"],
        "there is no context `b`, but a",
    );
    refused(a, &["context", "use", "b"], "there is no context `b`, but a");
    refused(
        &format!("current = \"b\"\n{a}"),
        &["get", "k"],
        "there is no context `b`, but a",
    );
    refused("[contexts.a]\nendpoint = [\"a:1\"]\n", &["get", "k"], "line 2");
    refused(
        "[contexts.a]\nendpoints = []\n",
        &["get", "k", "--context", "a"],
        "has no endpoints",
    );
    refused(
        &format!("{a}timeout = \"soon\"\n"),
        &["get", "k"],
        "must be a length of time",
    );
    refused(&format!("{a}token = \"sk_concord_x\"\n"), &["get", "k"], "token");
    // A file that was named has to be there; the usual one need not.
    std::fs::remove_file(&file).unwrap();
    assert_eq!(run(&file, &["context", "list"], &[]).status.code(), Some(1));
    let none = concord()
        .env("CONCORD_CONTEXTS", "")
        .args(["get", "k", "--context", "a"])
        .output()
        .unwrap();
    assert_eq!(none.status.code(), Some(2));
    assert!(stderr(&none).contains("no file of contexts"), "{}", stderr(&none));
}

//! Layers, messages and rules of the configuration.

use std::path::Path;

use super::*;

mod s3;
mod tls;

fn load(toml: &str) -> Result<Loaded, ConfigError> {
    load_with(toml, &[], Overrides::new())
}

fn load_with(toml: &str, variables: &[(&str, &str)], overrides: Overrides) -> Result<Loaded, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("concord.toml");
    std::fs::write(&path, toml).unwrap();
    Loader::new()
        .file(&path)
        .environment(
            variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        )
        .overrides(overrides)
        .load()
}

fn refusal(toml: &str) -> String {
    load(toml).map(|loaded| loaded.show()).unwrap_err().to_string()
}

#[test]
fn defaults_are_the_dev_profile_on_loopback() {
    let loaded = Loader::new().load().unwrap();
    assert_eq!(loaded.config.profile, Profile::Dev);
    assert_eq!(loaded.config.data_dir, Path::new("./data"));
    assert_eq!(loaded.config.http.unwrap().listen, "127.0.0.1:4000");
    assert!(loaded.config.peers.is_none());
}

#[test]
fn later_layers_win() {
    let mut flags = Overrides::new();
    flags.set("--http", "http.listen", Some("127.0.0.1:3"));
    flags.set("--data-dir", "data_dir", None::<String>);
    let file = "data_dir = \"a\"\nnode_id = 1\n[http]\nlisten = \"127.0.0.1:1\"\n";
    let variables = [
        ("CONCORD_HTTP_LISTEN", "127.0.0.1:2"),
        ("CONCORD_NODE_ID", "2"),
        ("HOME", "/"),
    ];
    let loaded = load_with(file, &variables, flags).unwrap();
    assert_eq!(loaded.config.data_dir, Path::new("a"));
    assert_eq!(loaded.config.node_id.unwrap().get(), 2);
    assert_eq!(loaded.config.http.as_ref().unwrap().listen, "127.0.0.1:3");
    assert_eq!(
        loaded.place("http.listen"),
        Some(&Place::Flag("--http".to_owned()))
    );
    assert_eq!(
        loaded.place("node_id"),
        Some(&Place::Environment("CONCORD_NODE_ID".to_owned()))
    );
    assert!(matches!(
        loaded.place("data_dir"),
        Some(Place::File { line: 1, .. })
    ));
}

#[test]
fn errors_name_file_line_and_key() {
    for (toml, message) in [
        (
            "data_dir = \"a\"\n\ndata_dri = \"b\"\n",
            "concord.toml:3: there is no setting `data_dri`; did you mean `data_dir`?",
        ),
        (
            "[http]\n\nlistem = \"b\"\n",
            "concord.toml:3: there is no setting `http.listem`; did you mean `http.listen`?",
        ),
        ("[zebra]\n", "concord.toml:1: there is no setting `zebra`"),
        (
            "\nnode_id = \"x\"\n",
            "concord.toml:2: `node_id` must be a whole number, not `x`",
        ),
        (
            "node_id = -1\n",
            "concord.toml:1: `node_id` must be a whole number, not `-1`",
        ),
        ("node_id = 0\n", "concord.toml:1: `node_id` must be 1 or more"),
        (
            "[snapshot]\nafter_entries = 0\n",
            "concord.toml:2: `snapshot.after_entries` must be 1 or more",
        ),
        (
            "profile = \"test\"\n",
            "concord.toml:1: `profile` must be dev or prod, not `test`",
        ),
        (
            "data_dir = 7\n",
            "concord.toml:1: `data_dir` must be text in quotes, not 7",
        ),
        (
            "request_timeout = \"1.5s\"\n",
            "concord.toml:1: `request_timeout` must be a length of time such as \"5s\" or \"1m30s\", not `1.5s`",
        ),
        (
            "[http]\nlisten = \"4000\"\n",
            "concord.toml:2: `http.listen` must be host:port, not `4000`",
        ),
        (
            "[http]\ndocs = \"perhaps\"\n",
            "concord.toml:2: `http.docs` must be true or false, not \"perhaps\"",
        ),
        (
            "[limits]\nvalue_bytes_max = \"1MB\"\n",
            "concord.toml:2: `limits.value_bytes_max` must be a size such as 65536 or \"16MiB\", not `1MB`",
        ),
        (
            "[timing]\nheartbeat = \"400ms\"\n",
            "at least three times as long as `timing.heartbeat` (",
        ),
        ("node_id = 1\nnode_id = 2\n", "concord.toml:2: duplicate key"),
        ("node_id = \n", "concord.toml:1: "),
    ] {
        let found = refusal(toml);
        assert!(found.contains(message), "{toml}\n{found}\n{message}");
    }
}

/// D-DATA-8: a setting without effect is an error.
#[test]
fn contradictory_and_unused_settings_are_refused() {
    for (toml, message) in [
        (
            "[peers]\nlisten = \"127.0.0.1:1\"\nseeds = [\"127.0.0.1:1\"]\njoin = \"127.0.0.1:2\"\n",
            "concord.toml:4: `peers.join` cannot be together with `peers.seeds`",
        ),
        (
            "[peers]\njoin = \"127.0.0.1:2\"\n",
            "concord.toml:2: `peers.join` has no effect without `peers.listen`",
        ),
        (
            "[http]\nenabled = false\nlisten = \"127.0.0.1:1\"\n",
            "concord.toml:3: `http.listen` has no effect beside `http.enabled`",
        ),
        (
            "[peers]\nlisten = \"127.0.0.1:1\"\nsecret = \"0123456789abcdef\"\nsecret_file = \"x\"\n",
            "concord.toml:4: `peers.secret_file` cannot be together with `peers.secret`",
        ),
        (
            "[peers]\nlisten = \"127.0.0.1:1\"\nseeds = [\"127.0.0.1:2\"]\n",
            "concord.toml:3: `peers.seeds` must list this node's own address, given by `peers.listen`",
        ),
        (
            "[peers]\nlisten = \"127.0.0.1:1\"\nseeds = [\"127.0.0.1:1\", \"127.0.0.1:1\"]\n",
            "lists 127.0.0.1:1 twice",
        ),
        (
            "[peers]\nlisten = \"0.0.0.0:1\"\nsecret = \"0123456789abcdef\"\n",
            "`peers.advertise` must be set",
        ),
        (
            "[timing]\nelection_min = \"2s\"\n",
            "must be longer than `timing.election_min`",
        ),
        (
            "[limits]\nvalue_bytes_max = \"32MiB\"\n[http]\nbody_bytes_max = \"1MiB\"\n",
            "concord.toml:4: `http.body_bytes_max` must be at least",
        ),
        (
            "[audit]\nsync = \"strict\"\n",
            "concord.toml:2: `audit.sync` has no effect without `audit.enabled",
        ),
        (
            "[audit]\nenabled = true\nkey_mode = \"hash\"\n",
            "`audit.secret_file` must be set",
        ),
        (
            "[audit]\nenabled = true\nsync = \"batch\"\nsync_interval = \"5s\"\n",
            "concord.toml:4: `audit.sync_interval` has no effect unless async is `audit.sync`",
        ),
        (
            "[audit]\nenabled = true\nretention_bytes = \"1MiB\"\n",
            "concord.toml:3: `audit.retention_bytes` must be 0 or at least",
        ),
        (
            "[audit]\nenabled = true\nrotate_bytes = 1\n",
            "concord.toml:3: `audit.rotate_bytes` must be between 64 KiB and 4 GiB",
        ),
    ] {
        let found = load(toml).unwrap_err().to_string();
        assert!(found.contains(message), "{toml}\n{found}\n{message}");
    }
}

/// The same of traces.
#[test]
fn traces_that_contradict_themselves_are_refused() {
    for (toml, message) in [
        (
            "[traces]\nsample = 0.5\n",
            "concord.toml:2: `traces.sample` has no effect without `traces.exporter",
        ),
        (
            "[traces]\nexporter = \"otlp\"\nsample = 1.5\n",
            "concord.toml:3: `traces.sample` must be a number from 0 to 1, not `1.5`",
        ),
        (
            "[traces]\nexporter = \"stdout\"\nendpoint = \"http://a:1\"\n",
            "concord.toml:3: `traces.endpoint` has no effect unless otlp is `traces.exporter`",
        ),
        (
            "[traces]\nexporter = \"otlp\"\nendpoint = \"a:4318\"\n",
            "concord.toml:3: `traces.endpoint` must be http://host:port or https://host:port",
        ),
        (
            "[http]\nallowed_origins = [\"https://a.example\", \"*\"]\n",
            "concord.toml:2: `http.allowed_origins` \"*\" is no origin",
        ),
        (
            "[http]\nallowed_origins = [\"https://a.example/\"]\n",
            "\"https://a.example/\" is no origin",
        ),
        (
            "[http]\nallowed_origins = [\"a.example\"]\n",
            "\"a.example\" is no origin",
        ),
        (
            "[traces]\nexporter = \"jaeger\"\n",
            "concord.toml:2: `traces.exporter` must be none or stdout or otlp, not `jaeger`",
        ),
    ] {
        let found = load(toml).unwrap_err().to_string();
        assert!(found.contains(message), "{toml}\n{found}\n{message}");
    }
}

/// D-SEC-13: not even on one machine is there gossip with the secret that everybody knows.
#[test]
fn gossip_needs_a_secret_and_addresses() {
    let head = "[peers]\nlisten = \"127.0.0.1:1\"\n";
    let found = refusal(&format!("{head}[peers.gossip]\nlisten = \"127.0.0.1:2\"\n"));
    let message = "concord.toml:4: `peers.gossip.listen` needs a cluster secret, which proves the packets: set `peers.secret`";
    assert!(found.contains(message), "{found}");
    let head = format!("{head}secret = \"0123456789abcdef\"\n[peers.gossip]\n");
    for (gossip, message) in [
        (
            "listen = \"4200\"\n",
            "concord.toml:5: `peers.gossip.listen` must be host:port",
        ),
        (
            "listen = \"127.0.0.1:2\"\nseeds = [\"0.0.0.0:2\"]\n",
            "concord.toml:6: `peers.gossip.seeds` must be an address to connect to",
        ),
        (
            "listen = \"127.0.0.1:2\"\nseeds = [\"127.0.0.1:0\"]\n",
            "concord.toml:6: `peers.gossip.seeds` must name a port",
        ),
        (
            "listen = \"127.0.0.1:2\"\nseeds = [\"a:1\", \"a:1\"]\n",
            "concord.toml:6: `peers.gossip.seeds` lists a:1 twice",
        ),
    ] {
        let found = refusal(&format!("{head}{gossip}"));
        assert!(found.contains(message), "{gossip}\n{found}");
        assert!(!found.contains("0123456789abcdef"), "{found}");
    }
    let many: Vec<String> = (1..=17).map(|port| format!("\"a:{port}\"")).collect();
    let found = refusal(&format!(
        "{head}listen = \"127.0.0.1:2\"\nseeds = [{}]\n",
        many.join(", ")
    ));
    assert!(found.contains("must list 16 addresses at most"), "{found}");

    let loaded = load(&format!(
        "{head}listen = \"127.0.0.1:2\"\nseeds = [\"gossip.example:2\"]\n"
    ))
    .unwrap();
    let shown = loaded.show();
    assert!(shown.contains("gossip.seeds = [\"gossip.example:2\"]"), "{shown}");
    assert_eq!(
        loaded.config.peers.unwrap().gossip.unwrap().seeds,
        ["gossip.example:2"]
    );
}

#[test]
fn gossip_without_effect_is_refused() {
    for (toml, message) in [
        (
            "[peers]\nlisten = \"127.0.0.1:1\"\ndiscover = true\n",
            "concord.toml:3: `peers.discover` has no effect without `peers.gossip.listen`",
        ),
        (
            "[peers]\nlisten = \"127.0.0.1:1\"\ndiscover = true\njoin = \"127.0.0.1:2\"\n",
            "concord.toml:3: `peers.discover` cannot be together with `peers.join`",
        ),
        (
            "[peers]\nlisten = \"127.0.0.1:1\"\n[peers.gossip]\nseeds = [\"127.0.0.1:2\"]\n",
            "concord.toml:4: `peers.gossip.seeds` has no effect without `peers.gossip.listen`",
        ),
        (
            "[peers.gossip]\nlisten = \"127.0.0.1:2\"\n",
            "concord.toml:2: `peers.gossip.listen` has no effect without `peers.listen`",
        ),
    ] {
        let found = refusal(toml);
        assert!(found.contains(message), "{toml}\n{found}");
    }
}

#[test]
fn peers_of_other_machines_need_a_secret() {
    let local =
        load("[peers]\nlisten = \"127.0.0.1:1\"\nseeds = [\"127.0.0.1:1\", \"localhost:2\", \"[::1]:3\"]\n")
            .unwrap();
    assert_eq!(local.config.warnings().len(), 1);
    for remote in [
        "[peers]\nlisten = \"10.0.0.1:1\"\n",
        "[peers]\nlisten = \"127.0.0.1:1\"\njoin = \"10.0.0.2:1\"\n",
        "[peers]\nlisten = \"127.0.0.1:1\"\nseeds = [\"127.0.0.1:1\", \"example.org:2\"]\n",
        "[peers]\nlisten = \"127.0.0.1:1\"\nadvertise = \"example.org:2\"\n",
        "profile = \"prod\"\nauth.mode = \"off\"\ndata_dir = \"d\"\n[peers]\nlisten = \"127.0.0.1:1\"\n",
    ] {
        assert_eq!(
            load(remote).unwrap_err().kind(),
            ConfigErrorKind::Missing,
            "{remote}"
        );
    }
    let short = load("[peers]\nlisten = \"10.0.0.1:1\"\nsecret = \"short\"\n")
        .unwrap_err()
        .to_string();
    assert!(
        short.contains("16 bytes") && !short.contains("short\""),
        "{short}"
    );
}

/// D-OPS-1: where the data lies is said, and nowhere else.
#[test]
fn prod_does_nothing_unsafe_unasked() {
    for (toml, missing) in [
        ("profile = \"prod\"\n", "data_dir"),
        (
            "profile = \"prod\"\ndata_dir = \"d\"\nauth.mode = \"off\"\n[http]\nlisten = \"0.0.0.0:4000\"\n",
            "http.listen",
        ),
    ] {
        let found = load(toml).unwrap_err().to_string();
        assert!(found.contains(&format!("`{missing}`")), "{toml}\n{found}");
    }
    let said = "profile = \"prod\"\ndata_dir = \"d\"\nauth.mode = \"off\"\n[http]\nlisten = \"0.0.0.0:4000\"\nplaintext = true\n";
    assert_eq!(load(said).unwrap().config.logging.format, LogFormat::Json);
}

#[test]
fn secrets_are_never_shown() {
    let loaded = load("[peers]\nlisten = \"127.0.0.1:1\"\nsecret = \"0123456789abcdef\"\n").unwrap();
    assert!(!loaded.show().contains("0123456789abcdef"), "{}", loaded.show());
    assert!(!format!("{loaded:?}").contains("0123456789abcdef"));
    let wrong = load("[peers]\nlisten = \"127.0.0.1:1\"\nsecret = 123456\n")
        .unwrap_err()
        .to_string();
    assert!(!wrong.contains("123456"), "{wrong}");
}

#[test]
fn a_secret_file_is_read_without_its_line_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secret");
    std::fs::write(&path, "0123456789abcdef\n").unwrap();
    let loaded = load(&format!(
        "[peers]\nlisten = \"127.0.0.1:1\"\nsecret_file = {:?}\n",
        path
    ))
    .unwrap();
    assert_eq!(
        loaded.config.peers.unwrap().secret,
        Some(Secret::new("0123456789abcdef"))
    );
}

#[test]
fn prod_keeps_an_audit_log_unless_told_otherwise() {
    let prod = "profile = \"prod\"\nauth.mode = \"off\"\ndata_dir = \"d\"\n";
    assert!(load("").unwrap().config.audit.is_none());
    assert!(load(prod).unwrap().config.audit.is_some());
    let without = format!("{prod}[audit]\nenabled = false\n");
    assert!(load(&without).unwrap().config.audit.is_none());
    let unlimited = load("[audit]\nenabled = true\nretention_bytes = 0\n").unwrap();
    assert_eq!(unlimited.config.audit.unwrap().retention_bytes, 0);
}

#[test]
fn what_is_shown_can_be_loaded() {
    let file = "node_id = 3\n[http]\nallowed_hosts = [\"a\", \"b\"]\nallowed_origins = [\"https://a.example\", \"http://[::1]:8080\"]\n[peers]\nlisten = \"127.0.0.1:1\"\nseeds = [\"127.0.0.1:1\"]\n";
    let shown = load(file).unwrap().show();
    let values = |text: &str| -> Vec<String> {
        text.lines()
            .map(|line| line.split(" # ").next().unwrap().to_owned())
            .collect()
    };
    assert_eq!(values(&load(&shown).unwrap().show()), values(&shown));
}

/// D-OPS-2: a variable that looks like a setting is one, or the start is refused.
#[test]
fn unknown_variables_are_refused_but_for_those_of_others() {
    let wrong = load_with("", &[("CONCORD_HTTP_LISTN", "x")], Overrides::new())
        .unwrap_err()
        .to_string();
    assert_eq!(
        wrong,
        "CONCORD_HTTP_LISTN: there is no setting `CONCORD_HTTP_LISTN`; did you mean `CONCORD_HTTP_LISTEN`?"
    );
    assert!(load_with("", &[("CONCORD_HTTP_PORT", "4000")], Overrides::new()).is_err());
    let foreign = [
        ("CONCORD_SERVICE_HOST", "10.0.0.1"),
        ("CONCORD_SERVICE_PORT_HTTP", "4000"),
        ("CONCORD_PORT", "tcp://10.0.0.1:4000"),
        ("CONCORD_PORT_4000_TCP_ADDR", "10.0.0.1"),
        ("CONCORD_PEERS_PORT", "tcp://10.0.0.1:4000"),
        ("CONCORD_ENDPOINTS", "http://a"),
    ];
    load_with("", &foreign, Overrides::new()).unwrap();
}

#[test]
fn every_setting_has_its_own_variable() {
    let mut names: Vec<String> = setting_names()
        .map(|(key, _)| environment::name_of(key))
        .collect();
    names.sort();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn the_reference_has_every_setting_as_it_is() {
    let page = include_str!("../../../../docs/config.md");
    assert!(
        page == reference(),
        "run: concord config reference > docs/config.md"
    );
    for (key, _) in setting_names() {
        assert!(page.contains(&format!("| `{key}` |")), "{key}");
    }
}

#[test]
fn the_files_of_a_deployment_name_settings_that_exist() {
    let files = [
        include_str!("../../../../deploy/docker/Dockerfile"),
        include_str!("../../../../deploy/compose/compose.yaml"),
        include_str!("../../../../deploy/kubernetes/concord.yaml"),
    ];
    let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let words = files.iter().flat_map(|file| file.split(|c| !is_name(c)));
    let names: Vec<&str> = words
        .filter(|word| word.starts_with(environment::PREFIX))
        .collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        assert!(
            matches!(environment::classify(name, ""), environment::Variable::Setting(_)),
            "{name}"
        );
    }
}

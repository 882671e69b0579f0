//! Who may use whom: the table of ARCHITECTURE.md, as data.

use super::graph::{Dependency, Graph, Package};

/// Our crates and which of ours they may use. An arrow not listed is refused.
const OURS: [(&str, &[&str]); 8] = [
    ("concord-core", &[]),
    ("concord-auth", &["concord-core"]),
    ("concord-query", &["concord-core"]),
    ("concord-raft", &["concord-core"]),
    ("concord-net", &["concord-core", "concord-raft"]),
    (
        "concord-server",
        &[
            "concord-core",
            "concord-auth",
            "concord-query",
            "concord-raft",
            "concord-net",
        ],
    ),
    (
        "concord-benches",
        &[
            "concord-core",
            "concord-auth",
            "concord-query",
            "concord-raft",
            "concord-net",
            "concord-server",
        ],
    ),
    ("xtask", &[]),
];

/// Crates that compute and nothing else.
pub(super) const PURE: [&str; 3] = ["concord-core", "concord-auth", "concord-query"];

/// What the pure crates may use from outside, and no more.
const OUTSIDE_OF_PURE: [&str; 3] = ["bytes", "thiserror", "zstd-safe"];

/// What one of them may use besides: `concord-auth` hashes secrets, compares hashes, seals cursors, and writes records.
const OUTSIDE_OF_ONE: [(&str, &[&str]); 1] = [(
    "concord-auth",
    &[
        "base64",
        "hmac",
        "rmp-serde",
        "serde",
        "serde_bytes",
        "sha2",
        "subtle",
        "zeroize",
    ],
)];

/// Clocks, randomness, threads and I/O: nothing below the pure crates may bring them.
pub(super) const NOT_IN_PURE: [&str; 8] = [
    "tokio",
    "openraft",
    "getrandom",
    "rand",
    "chrono",
    "libc",
    "mio",
    "rustix",
];

/// What an embedding program must not have to build.
pub(super) const NOT_EMBEDDED: [&str; 11] = [
    "axum",
    "clap",
    "comfy-table",
    "hyper",
    "mimalloc",
    "object_store",
    "reqwest",
    "tower-http",
    "tracing-subscriber",
    "utoipa",
    "utoipa-swagger-ui",
];

/// Outside crates that enter only through some of ours.
const DOORS: [(&str, &[&str]); 25] = [
    ("openraft", &["concord-raft"]),
    ("openraft-macros", &["concord-raft"]),
    ("openraft-rt", &["concord-raft"]),
    ("openraft-rt-tokio", &["concord-raft"]),
    ("crc32c", &["concord-raft", "concord-net", "concord-benches"]),
    ("zstd", &["concord-raft"]),
    (
        "tokio",
        &["concord-raft", "concord-net", "concord-server", "concord-benches"],
    ),
    (
        "tokio-util",
        &["concord-raft", "concord-net", "concord-server", "concord-benches"],
    ),
    ("hmac", &["concord-auth", "concord-net", "concord-server"]),
    ("rcgen", &["concord-server"]),
    ("rustls", &["concord-net"]),
    ("rustls-native-certs", &["concord-server"]),
    ("rustls-webpki", &["concord-net"]),
    ("tokio-rustls", &["concord-net"]),
    ("axum", &["concord-server"]),
    ("hyper", &["concord-server", "concord-benches"]),
    ("utoipa", &["concord-server"]),
    ("clap", &["concord-server", "concord-benches"]),
    ("comfy-table", &["concord-server"]),
    ("hdrhistogram", &["concord-server", "concord-benches"]),
    ("tracing-subscriber", &["concord-server", "concord-benches"]),
    ("mimalloc", &["concord-server", "concord-benches"]),
    ("object_store", &["concord-server"]),
    ("prometheus-client", &["concord-server"]),
    ("signal-hook", &["xtask"]),
];

/// Never in the lock file: a second TLS provider breaks the first at run time, and
/// this one needs more than a C compiler to build.
const NEVER: [&str; 3] = ["aws-lc-rs", "aws-lc-sys", "openssl-sys"];

/// One release in four crates: a caret would let them drift apart.
const PINNED: [&str; 4] = ["openraft", "openraft-macros", "openraft-rt", "openraft-rt-tokio"];

/// Crates of which two versions are in the lock file, and through whom.
const TWICE: [(&str, &str); 15] = [
    ("base64", "reqwest and hyper-util, object_store"),
    ("bit-vec", "proptest and rcgen"),
    ("block-buffer", "openraft's sha2"),
    ("cpufeatures", "openraft's sha2"),
    ("crypto-common", "openraft's sha2"),
    ("digest", "openraft's sha2, object_store's crc-fast"),
    ("itertools", "criterion and object_store"),
    ("rand", "openraft, proptest and object_store"),
    ("rand_core", "openraft and proptest"),
    ("sha2", "openraft's quorum-set"),
    ("synstructure", "a part of rcgen that is not built"),
    ("windows-sys", "ring, where it is not built"),
    ("syn", "derive macros of two generations"),
    ("tower-http", "reqwest"),
    ("getrandom", "openraft and proptest"),
];

/// Every rule that needs only the manifests and the lock file.
pub(super) fn findings(graph: &Graph) -> Vec<String> {
    let mut findings = Vec::new();
    for package in graph.ours() {
        let Some((_, allowed)) = OURS.iter().find(|(name, _)| *name == package.name) else {
            findings.push(format!(
                "{} is not in the table of walls (xtask/src/deps/walls.rs)",
                package.name
            ));
            continue;
        };
        for dependency in &package.dependencies {
            findings.extend(judge(package, dependency, allowed));
        }
    }
    findings.extend(lock_file(graph));
    findings
}

fn judge(package: &Package, dependency: &Dependency, allowed: &[&str]) -> Option<String> {
    let (from, to) = (package.name.as_str(), dependency.name.as_str());
    let is_dev = dependency.kind.as_deref() == Some("dev");
    if dependency.path.is_some() {
        // A crate's own tests may use it with the features that are for tests.
        let is_allowed = allowed.contains(&to) || (is_dev && to == from);
        return (!is_allowed).then(|| format!("{from} must not use {to}: arrows point inwards only"));
    }
    if PINNED.contains(&to) && !dependency.req.starts_with('=') {
        return Some(format!("{from} must pin {to} exactly, not `{}`", dependency.req));
    }
    if is_dev {
        return None;
    }
    let own = OUTSIDE_OF_ONE.iter().find(|(name, _)| *name == from);
    let is_own = own.is_some_and(|(_, outside)| outside.contains(&to));
    if PURE.contains(&from) && !OUTSIDE_OF_PURE.contains(&to) && !is_own {
        return Some(format!("{from} is pure and must not use {to}"));
    }
    let (_, doors) = DOORS.iter().find(|(name, _)| *name == to)?;
    (!doors.contains(&from))
        .then(|| format!("{from} must not use {to}: it enters through {}", doors.join(", ")))
}

fn lock_file(graph: &Graph) -> Vec<String> {
    let mut findings = Vec::new();
    let mut names: Vec<&str> = graph
        .packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    names.sort_unstable();
    for name in NEVER.iter().filter(|name| names.contains(name)) {
        findings.push(format!("{name} is in the lock file"));
    }
    for pair in names.windows(2) {
        if let [first, second] = pair
            && first == second
            && !TWICE.iter().any(|(name, _)| name == first)
        {
            findings.push(format!(
                "two versions of {first}: unify them or give the reason in xtask/src/deps/walls.rs"
            ));
        }
    }
    for package in &graph.packages {
        let is_registry = package
            .source
            .as_ref()
            .is_none_or(|source| source.contains("crates.io-index"));
        if !is_registry {
            findings.push(format!(
                "{} {} is not from crates.io",
                package.name, package.version
            ));
        }
    }
    findings.dedup();
    findings
}

/// The names of `banned` that are in a dependency tree.
pub(super) fn forbidden(what: &str, tree: &[String], banned: &[&str]) -> Vec<String> {
    banned
        .iter()
        .filter(|name| tree.iter().any(|package| package == *name))
        .map(|name| format!("{what} must not pull in {name}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, dependencies: Vec<Dependency>) -> Package {
        Package {
            name: name.into(),
            version: "1.0.0".into(),
            license: None,
            source: None,
            dependencies,
        }
    }

    fn outside(name: &str, req: &str, kind: Option<&str>) -> Dependency {
        Dependency {
            name: name.into(),
            req: req.into(),
            kind: kind.map(str::to_owned),
            path: None,
        }
    }

    fn inside(name: &str) -> Dependency {
        Dependency {
            path: Some("crates".into()),
            ..outside(name, "*", None)
        }
    }

    fn count(name: &str, dependency: Dependency) -> usize {
        findings(&Graph {
            packages: vec![package(name, vec![dependency])],
        })
        .len()
    }

    #[test]
    fn arrows_point_inwards_only() {
        assert_eq!(count("concord-raft", inside("concord-core")), 0);
        assert_eq!(count("concord-core", inside("concord-raft")), 1);
        assert_eq!(count("xtask", inside("concord-core")), 1);
        assert_eq!(count("concord-raft", inside("concord-raft")), 1);
        let for_tests = Dependency {
            kind: Some("dev".into()),
            ..inside("concord-raft")
        };
        assert_eq!(count("concord-raft", for_tests), 0);
        assert_eq!(
            count("concord-other", inside("concord-core")),
            1,
            "unknown crates must be placed first"
        );
    }

    #[test]
    fn outside_crates_enter_by_their_door() {
        assert_eq!(count("concord-raft", outside("openraft", "=0.10.0", None)), 0);
        assert_eq!(
            count("concord-raft", outside("openraft", "^0.10.0", None)),
            1,
            "not pinned"
        );
        assert_eq!(count("concord-server", outside("openraft", "=0.10.0", None)), 1);
        assert_eq!(count("concord-core", outside("tokio", "1", None)), 1);
        assert_eq!(
            count("concord-core", outside("serde", "1", None)),
            1,
            "pure crates have a short list"
        );
        assert_eq!(count("concord-core", outside("proptest", "1", Some("dev"))), 0);
    }

    #[test]
    fn the_lock_file_has_no_unexplained_duplicate_and_no_banned_crate() {
        let twice = |name: &str| {
            let source = Some("registry+https://github.com/rust-lang/crates.io-index".to_owned());
            let one = || Package {
                source: source.clone(),
                ..package(name, vec![])
            };
            lock_file(&Graph {
                packages: vec![one(), one()],
            })
            .len()
        };
        assert_eq!(twice("syn"), 0);
        assert_eq!(twice("bytes"), 1);
        assert!(twice("aws-lc-sys") >= 1);
        let foreign = Package {
            source: Some("git+https://example.org/x".into()),
            ..package("x", vec![])
        };
        assert_eq!(
            lock_file(&Graph {
                packages: vec![foreign]
            })
            .len(),
            1
        );
    }

    #[test]
    fn a_banned_crate_deep_in_a_tree_is_found() {
        let tree = ["axum".to_owned(), "bytes".to_owned()];
        assert_eq!(forbidden("embedded", &tree, &NOT_EMBEDDED).len(), 1);
    }
}

//! Certificates: which settings go together, and what is said of files that cannot be used.

use super::*;

/// A certificate of node 1 with its key, and files that are not what they should be.
fn certificates() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let uri = rcgen::SanType::URI("concord://node/1".try_into().unwrap());
    params.subject_alt_names.push(uri);
    let key = rcgen::KeyPair::generate().unwrap();
    std::fs::write(
        dir.path().join("cert.pem"),
        params.self_signed(&key).unwrap().pem(),
    )
    .unwrap();
    std::fs::write(dir.path().join("key.pem"), key.serialize_pem()).unwrap();
    std::fs::write(
        dir.path().join("other.pem"),
        rcgen::KeyPair::generate().unwrap().serialize_pem(),
    )
    .unwrap();
    for name in ["key.pem", "other.pem"] {
        private(&dir.path().join(name));
    }
    dir
}

fn private(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// D-SEC-10: what is configured and cannot be used stops the start, and the message says where it was configured.
#[test]
fn d_sec_10_certificates_that_cannot_be_used_are_refused_with_the_line_that_names_them() {
    let files = certificates();
    let at = files.path().display();
    for (toml, message) in [
        (
            format!("[http]\ntls.certificate = \"{at}/none.pem\"\ntls.key = \"{at}/key.pem\"\n"),
            "concord.toml:2: `http.tls.certificate` cannot be used: cannot read",
        ),
        (
            format!("[http]\ntls.certificate = \"{at}/cert.pem\"\n\ntls.key = \"{at}/other.pem\"\n"),
            "concord.toml:4: `http.tls.key` cannot be used: ",
        ),
        (
            format!(
                "[http.tls]\ncertificate = \"{at}/cert.pem\"\nkey = \"{at}/key.pem\"\nclient_ca = \"{at}/other.pem\"\n"
            ),
            "concord.toml:4: `http.tls.client_ca` cannot be used: ",
        ),
        (
            format!(
                "[peers]\nlisten = \"127.0.0.1:1\"\n[peers.tls]\nca = \"{at}/none.pem\"\ncertificate = \"{at}/cert.pem\"\nkey = \"{at}/key.pem\"\n"
            ),
            "concord.toml:4: `peers.tls.ca` cannot be used: cannot read",
        ),
    ] {
        let refusal = refusal(&toml);
        assert!(refusal.contains(message), "{refusal}");
    }
}

#[test]
fn half_a_set_of_certificates_or_one_without_effect_is_refused() {
    let files = certificates();
    let at = files.path().display();
    let (certificate, key) = (
        format!("tls.certificate = \"{at}/cert.pem\"\n"),
        format!("tls.key = \"{at}/key.pem\"\n"),
    );
    for (toml, message) in [
        (
            format!("[http]\n{certificate}"),
            "`http.tls.certificate` needs `http.tls.key`",
        ),
        (
            format!("[http]\n{key}"),
            "`http.tls.key` needs `http.tls.certificate`",
        ),
        (
            format!("[http]\ntls.client_ca = \"{at}/cert.pem\"\n"),
            "`http.tls.client_ca` needs `http.tls.certificate`",
        ),
        (
            format!("[http]\nplaintext = true\n{certificate}{key}"),
            "`http.plaintext` has no effect beside `http.tls.certificate`",
        ),
        (
            format!("[http]\nenabled = false\n{certificate}{key}"),
            "has no effect beside `http.enabled`",
        ),
        (
            format!("[peers]\n{certificate}"),
            "has no effect without `peers.listen`",
        ),
        (
            format!("[peers]\nlisten = \"127.0.0.1:1\"\n{certificate}{key}"),
            "`peers.tls.certificate` needs `peers.tls.ca`",
        ),
        (
            "[auth]\ncertificates = true\n".to_owned(),
            "`auth.certificates` has no effect without `auth.mode`",
        ),
        (
            format!("auth = {{ mode = \"on\", certificates = true }}\n[http]\n{certificate}{key}"),
            "`auth.certificates` needs `http.tls.client_ca`",
        ),
        (
            "[tls]\nreload_interval = \"1s\"\n".to_owned(),
            "`tls.reload_interval` has no effect without",
        ),
    ] {
        let refusal = refusal(&toml);
        assert!(refusal.contains(message), "{refusal}");
    }
}

#[test]
fn prod_serves_other_machines_with_certificates_or_by_word() {
    let files = certificates();
    let at = files.path().display();
    let head = "profile = \"prod\"\ndata_dir = \"d\"\nauth.mode = \"off\"\n[http]\nlisten = \"0.0.0.0:1\"\n";
    assert!(refusal(head).contains("`http.tls.certificate`"));
    let tls = format!("{head}tls.certificate = \"{at}/cert.pem\"\ntls.key = \"{at}/key.pem\"\n");
    let loaded = load(&tls).unwrap();
    assert_eq!(
        loaded.config.warnings(),
        ["HTTP at 0.0.0.0:1 answers other machines, without authentication"]
    );
    let shown = loaded.show();
    assert!(
        shown.contains(&format!("tls.key = \"{at}/key.pem\" # ")),
        "{shown}"
    );
    assert!(load(&shown).is_ok(), "what is shown can be used");
    let peers = "profile = \"prod\"\ndata_dir = \"d\"\nauth.mode = \"off\"\n[peers]\nlisten = \"0.0.0.0:1\"\nadvertise = \"h:1\"\n\
                 secret = \"0123456789abcdef\"\n";
    assert!(refusal(peers).contains("`peers.tls.certificate`"));
    let tls = format!(
        "{peers}tls.certificate = \"{at}/cert.pem\"\ntls.key = \"{at}/key.pem\"\ntls.ca = \"{at}/cert.pem\"\n"
    );
    assert!(load(&tls).is_ok());
}

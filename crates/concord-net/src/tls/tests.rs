//! Files that cannot be used, and what is said of them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, KeyPair, SanType};
use tempfile::TempDir;

use super::*;

struct Files {
    directory: TempDir,
    settings: TlsSettings,
}

fn files() -> Files {
    let directory = TempDir::new().unwrap();
    let (certificate, key) = make();
    let path = |name: &str| directory.path().join(name);
    let settings = TlsSettings::new(path("cert.pem"), path("key.pem")).ca(path("ca.pem"));
    fs::write(&settings.certificate, &certificate).unwrap();
    fs::write(path("ca.pem"), certificate).unwrap();
    write_key(&settings.key, &key, 0o600);
    Files { directory, settings }
}

fn make() -> (String, String) {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params
        .subject_alt_names
        .push(SanType::URI("concord://node/1".try_into().unwrap()));
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    (certificate, key.serialize_pem())
}

fn write_key(path: &Path, key: &str, mode: u32) {
    fs::write(path, key).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

const CLIENTS: TlsPurpose = TlsPurpose::Clients(&[b"h2", b"http/1.1"]);

impl Files {
    #[track_caller]
    fn refused(&self) -> String {
        let said = [CLIENTS, TlsPurpose::Peers]
            .map(|purpose| with_cause(&Tls::open(purpose, self.settings.clone()).unwrap_err()));
        assert_eq!(said[0], said[1], "every listener reads files alike");
        let [said, _] = said;
        assert!(!said.contains("MIG"), "a part of a key: {said}");
        said
    }
}

#[test]
fn good_files_open_for_both() {
    let files = files();
    for purpose in [CLIENTS, TlsPurpose::Peers] {
        let tls = Tls::open(purpose, files.settings.clone()).unwrap();
        assert_eq!(
            tls.status().warnings(SystemTime::UNIX_EPOCH),
            Vec::<String>::new()
        );
        assert!(!format!("{tls:?}").contains("BEGIN"));
    }
}

/// D-SEC-10: a file that is configured and missing never means to do without.
#[test]
fn d_sec_10_missing_file_is_refused_by_its_name() {
    for name in ["cert.pem", "key.pem", "ca.pem"] {
        let files = files();
        fs::remove_file(files.directory.path().join(name)).unwrap();
        let said = files.refused();
        assert!(said.contains(name) && said.contains("No such file"), "{said}");
    }
}

/// D-SEC-10: nor does one without an authority in it.
#[test]
fn d_sec_10_file_without_what_it_is_for_is_refused() {
    for name in ["cert.pem", "key.pem", "ca.pem"] {
        for content in [
            "",
            "hello",
            "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
        ] {
            let files = files();
            fs::write(files.directory.path().join(name), content).unwrap();
            let said = files.refused();
            assert!(said.contains(name) && said.contains("there is no PEM"), "{said}");
        }
    }
    let files = files();
    let error = Tls::open(
        TlsPurpose::Peers,
        TlsSettings {
            ca: None,
            ..files.settings.clone()
        },
    );
    assert!(matches!(error, Err(TlsError::NoAuthority)));
}

#[test]
fn damaged_pem_is_refused_with_its_line_and_without_its_content() {
    let files = files();
    let good = fs::read_to_string(&files.settings.certificate).unwrap();
    let damaged = format!("# a comment\n{good}{}", good.replacen('M', "*", 1));
    let line = 2 + good.lines().count();
    fs::write(&files.settings.certificate, damaged).unwrap();
    let said = files.refused();
    assert!(
        said.contains(&format!("cert.pem:{line}: this PEM section is damaged")),
        "{said}"
    );
    let key = fs::read_to_string(&files.settings.key).unwrap();
    let (cut, _) = key.split_at(key.len() / 2);
    let files = self::files();
    write_key(&files.settings.key, cut, 0o600);
    assert!(files.refused().contains("key.pem:1: this PEM section is damaged"));
}

#[test]
fn certificate_that_is_not_one_is_refused_with_its_line() {
    let files = files();
    let content = "\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    fs::write(&files.settings.certificate, content).unwrap();
    assert!(files.refused().contains("cert.pem:2: certificate is malformed"));
}

#[test]
fn key_of_another_certificate_is_refused() {
    let files = files();
    write_key(&files.settings.key, &make().1, 0o600);
    let said = files.refused();
    assert!(
        said.contains("key.pem: this is not the key of the certificate in"),
        "{said}"
    );
}

#[test]
fn second_or_encrypted_key_is_refused() {
    let files = files();
    let two = make().1 + &make().1;
    write_key(&files.settings.key, &two, 0o600);
    assert!(files.refused().contains("this is a second private key"));
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    write_key(&files.settings.key, encrypted, 0o600);
    assert!(files.refused().contains("is encrypted, which is not supported"));
}

#[test]
fn key_that_others_can_read_or_change_is_refused() {
    let files = files();
    for mode in [0o604, 0o644, 0o620, 0o601, 0o666] {
        fs::set_permissions(&files.settings.key, fs::Permissions::from_mode(mode)).unwrap();
        let said = files.refused();
        assert!(
            said.contains(&format!("mode {mode:03o} lets others at the private key")),
            "{said}"
        );
    }
    for mode in [0o600, 0o400, 0o640, 0o440] {
        fs::set_permissions(&files.settings.key, fs::Permissions::from_mode(mode)).unwrap();
        assert!(Tls::open(CLIENTS, files.settings.clone()).is_ok(), "{mode:o}");
    }
}

#[test]
fn huge_file_is_refused() {
    let files = files();
    fs::write(&files.settings.certificate, vec![b'a'; (1 << 20) + 1]).unwrap();
    assert!(files.refused().contains("more than 1 MiB"));
}

#[test]
fn client_certificate_is_no_nodes_and_serves_clients() {
    let files = files();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    fs::write(&files.settings.certificate, certificate).unwrap();
    write_key(&files.settings.key, &key.serialize_pem(), 0o600);
    let said = Tls::open(TlsPurpose::Peers, files.settings.clone())
        .unwrap_err()
        .to_string();
    assert!(said.contains("certificate names no node"), "{said}");
    assert!(Tls::open(CLIENTS, files.settings.clone()).is_ok());
}

#[test]
fn what_ends_soon_or_could_not_be_read_is_warned_of() {
    let files = files();
    let tls = Tls::open(CLIENTS, files.settings.clone()).unwrap();
    let end = tls.status().certificate.not_after.unsigned_abs();
    let at = |days: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(end - days * 86_400);
    assert_eq!(tls.status().warnings(at(31)), Vec::<String>::new());
    let both = [
        "the certificate expires in 29 days",
        "the certificate authority expires in 29 days",
    ];
    assert_eq!(tls.status().warnings(at(29)), both);
    let later = at(0) + Duration::from_secs(1);
    assert_eq!(
        tls.status().warnings(later),
        [
            "the certificate has expired",
            "the certificate authority has expired"
        ]
    );
    fs::remove_file(&files.settings.key).unwrap();
    tls.reload().unwrap_err();
    let warnings = tls.status().warnings(at(31));
    assert!(
        warnings[0].starts_with("new certificates are not used: cannot read"),
        "{warnings:?}"
    );
}

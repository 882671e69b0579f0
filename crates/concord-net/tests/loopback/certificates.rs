//! Certificates made for one test.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use concord_net::tls::{Tls, TlsPurpose, TlsSettings};
use rcgen::{
    BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use tempfile::TempDir;

/// An authority, and a directory for what it signs.
pub(crate) struct Authority {
    pub(crate) directory: TempDir,
    issuer: Issuer<'static, KeyPair>,
    pub(crate) certificate: String,
    written: AtomicUsize,
}

/// What a certificate says.
#[derive(Default)]
pub(crate) struct Holder {
    pub(crate) common_name: Option<&'static str>,
    pub(crate) uris: Vec<String>,
    pub(crate) expired: bool,
}

impl Holder {
    pub(crate) fn node(id: u64) -> Self {
        Self {
            uris: vec![format!("concord://node/{id}")],
            ..Self::default()
        }
    }
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "authority of a test");
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        let directory = TempDir::new().unwrap();
        std::fs::write(directory.path().join("ca.pem"), &certificate).unwrap();
        Self {
            directory,
            issuer: Issuer::new(params, key),
            certificate,
            written: AtomicUsize::new(0),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A certificate and its key, PEM.
    pub(crate) fn sign(&self, holder: &Holder) -> (String, String) {
        let mut params =
            CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let uris = holder
            .uris
            .iter()
            .map(|uri| SanType::URI(uri.as_str().try_into().unwrap()));
        params.subject_alt_names.extend(uris);
        params.distinguished_name = rcgen::DistinguishedName::new();
        if let Some(name) = holder.common_name {
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
        }
        if holder.expired {
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// Writes a certificate and its key, and says where.
    pub(crate) fn write(&self, name: &str, holder: &Holder) -> TlsSettings {
        let (certificate, key) = self.sign(holder);
        let settings = TlsSettings::new(
            self.path(&format!("{name}.pem")),
            self.path(&format!("{name}-key.pem")),
        )
        .ca(self.path("ca.pem"));
        std::fs::write(&settings.certificate, certificate).unwrap();
        write_key(&settings.key, &key, 0o600);
        settings
    }

    /// The TLS of a node.
    pub(crate) fn peer(&self, id: u64) -> Arc<Tls> {
        self.peer_as(&Holder::node(id))
    }

    pub(crate) fn peer_as(&self, holder: &Holder) -> Arc<Tls> {
        let id = self.written.fetch_add(1, Ordering::Relaxed);
        let settings = self.write(&format!("peer-{id}"), holder);
        Arc::new(Tls::open(TlsPurpose::Peers, settings).unwrap())
    }
}

pub(crate) fn write_key(path: &Path, key: &str, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, key).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

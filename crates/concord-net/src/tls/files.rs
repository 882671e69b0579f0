//! Certificates and keys as they lie on the disk: PEM, bounded, with the line of what is wrong.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::{PemObject as _, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::limits::PEM_BYTES_MAX;

/// Why TLS cannot be set up. Never shows a part of a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{}:{line}: {reason}", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// Where in it, from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
    /// A file, or two together, cannot be used.
    #[error("{}: {reason}", path.display())]
    Unfit {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Peers must be verified, and no authority is given to verify them by.
    #[error("peers need a certificate authority")]
    NoAuthority,
}

impl TlsError {
    /// The file that it is about.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Unreadable { path, .. } | Self::Malformed { path, .. } | Self::Unfit { path, .. } => {
                Some(path)
            }
            Self::NoAuthority => None,
        }
    }

    pub(super) fn unfit(path: &Path, reason: impl Into<String>) -> Self {
        Self::Unfit {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }
}

/// The content of one file.
#[derive(Debug)]
pub(super) struct PemFile {
    path: PathBuf,
    text: Zeroizing<Vec<u8>>,
}

/// One `-----BEGIN`.
struct Section {
    kind: SectionKind,
    der: Vec<u8>,
    line: usize,
}

impl PemFile {
    pub(super) fn read(path: &Path) -> Result<Self, TlsError> {
        Self::read_if(path, |_| Ok(()))
    }

    /// Reads a file that must be its owner's own.
    pub(super) fn read_private(path: &Path) -> Result<Self, TlsError> {
        Self::read_if(path, |file| check_is_private(path, file))
    }

    fn read_if(path: &Path, check: impl Fn(&File) -> Result<(), TlsError>) -> Result<Self, TlsError> {
        let unreadable = |source| TlsError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let mut text = Zeroizing::new(Vec::new());
        let file = File::open(path).map_err(unreadable)?;
        check(&file)?;
        let read = file
            .take(PEM_BYTES_MAX + 1)
            .read_to_end(&mut text)
            .map_err(unreadable)?;
        if u64::try_from(read).is_ok_and(|read| read > PEM_BYTES_MAX) {
            return Err(TlsError::unfit(path, "file has more than 1 MiB"));
        }
        Ok(Self {
            path: path.to_owned(),
            text,
        })
    }

    /// Tells two contents apart, and neither of them.
    pub(super) fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.text.as_slice()).into()
    }

    fn malformed(&self, line: usize, reason: impl Into<String>) -> TlsError {
        TlsError::Malformed {
            path: self.path.clone(),
            line,
            reason: reason.into(),
        }
    }

    fn sections(&self) -> Result<Vec<Section>, TlsError> {
        let mut begins = Vec::new();
        let mut offset = 0;
        for (number, line) in self.text.split_inclusive(|byte| *byte == b'\n').enumerate() {
            if line.starts_with(b"-----BEGIN ") {
                begins.push((offset, number + 1));
            }
            offset += line.len();
        }
        let ends = begins.iter().skip(1).map(|(offset, _)| *offset).chain([offset]);
        let mut sections = Vec::new();
        for (&(begin, line), end) in begins.iter().zip(ends) {
            let text = self.text.get(begin..end).unwrap_or_default();
            match <(SectionKind, Vec<u8>)>::pem_slice_iter(text).next() {
                Some(Ok((kind, der))) => sections.push(Section { kind, der, line }),
                // Of a kind that nobody here needs.
                None => {}
                // The error of the library quotes the file, which may be a key.
                Some(Err(_)) => return Err(self.malformed(line, "this PEM section is damaged")),
            }
        }
        Ok(sections)
    }

    /// The certificates in it, at least one, each with its line.
    pub(super) fn certificates(&self) -> Result<Vec<(usize, CertificateDer<'static>)>, TlsError> {
        let certificates: Vec<_> = self
            .sections()?
            .into_iter()
            .filter(|section| section.kind == SectionKind::Certificate)
            .map(|section| (section.line, CertificateDer::from(section.der)))
            .collect();
        if certificates.is_empty() {
            return Err(TlsError::unfit(&self.path, "there is no PEM certificate in it"));
        }
        Ok(certificates)
    }

    /// The private key in it.
    pub(super) fn key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        let mut keys = self.sections()?.into_iter().filter_map(|section| {
            PrivateKeyDer::from_pem(section.kind, section.der).map(|key| (section.line, key))
        });
        let Some((_, key)) = keys.next() else {
            let encrypted = self.text.windows(9).any(|window| window == b"ENCRYPTED");
            return Err(TlsError::unfit(
                &self.path,
                match encrypted {
                    true => "the private key in it is encrypted, which is not supported",
                    false => "there is no PEM private key in it",
                },
            ));
        };
        match keys.next() {
            Some((line, _)) => Err(self.malformed(line, "this is a second private key")),
            None => Ok(key),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn at(&self, line: usize, reason: impl Into<String>) -> TlsError {
        self.malformed(line, reason)
    }
}

/// Refuses a key that everybody on the machine can read, or others than its owner can change.
/// A group may read it: that is how Kubernetes and service managers hand keys out.
#[cfg(unix)]
fn check_is_private(path: &Path, file: &File) -> Result<(), TlsError> {
    use std::os::unix::fs::PermissionsExt as _;
    const OTHERS: u32 = 0o007;
    const GROUP_CHANGES: u32 = 0o030;
    let metadata = file.metadata().map_err(|source| TlsError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & (OTHERS | GROUP_CHANGES) == 0 {
        return Ok(());
    }
    let reason =
        format!("mode {mode:03o} lets others at the private key: `chmod 600` it, or 640 for a group");
    Err(TlsError::unfit(path, reason))
}

#[cfg(not(unix))]
fn check_is_private(_: &Path, _: &File) -> Result<(), TlsError> {
    Ok(())
}

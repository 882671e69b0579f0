//! Certificates of a client on the command line.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use crate::client::ClientTls;

/// Whom to trust, and who to be, where an endpoint is `https://`.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct TlsArgs {
    /// PEM file with the authorities to trust [default: those of the system].
    #[arg(long, env = "CONCORD_CA_CERT", value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Connection")]
    pub(crate) ca_cert: Option<PathBuf>,
    /// PEM file with the certificate to show.
    #[arg(long, env = "CONCORD_CLIENT_CERT", value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Connection")]
    pub(crate) client_cert: Option<PathBuf>,
    /// PEM file with its private key.
    #[arg(long, env = "CONCORD_CLIENT_KEY", value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Connection")]
    pub(crate) client_key: Option<PathBuf>,
}

/// The same, given before the command.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct TlsBeforeArgs {
    /// PEM file with the authorities to trust.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Connection")]
    pub(crate) ca_cert: Option<PathBuf>,
    /// PEM file with the certificate to show.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Connection")]
    pub(crate) client_cert: Option<PathBuf>,
    /// PEM file with its private key.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Connection")]
    pub(crate) client_key: Option<PathBuf>,
}

impl TlsArgs {
    /// What the client is to use. A certificate without its key, or the reverse, is a mistake.
    pub(crate) fn client_tls(&self) -> Result<ClientTls, String> {
        let identity = match (&self.client_cert, &self.client_key) {
            (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
            (None, None) => None,
            (Some(_), None) => return Err("`--client-cert` needs `--client-key`".to_owned()),
            (None, Some(_)) => return Err("`--client-key` needs `--client-cert`".to_owned()),
        };
        Ok(ClientTls {
            ca_cert: self.ca_cert.clone(),
            identity,
        })
    }

    /// Takes over what was given before the command, where `is_own` does not say that the command's own flag stands.
    pub(crate) fn take(&mut self, before: &TlsBeforeArgs, is_own: impl Fn(&str) -> bool) {
        for (own, earlier, name) in [
            (&mut self.ca_cert, &before.ca_cert, "ca_cert"),
            (&mut self.client_cert, &before.client_cert, "client_cert"),
            (&mut self.client_key, &before.client_key, "client_key"),
        ] {
            if let Some(earlier) = earlier.as_ref().filter(|_| !is_own(name)) {
                *own = Some(earlier.clone());
            }
        }
    }
}

//! The first token, which may do everything: made once, through the log, by whichever node comes first.
//!
//! Where its secret comes from is settled before the node starts, so that a file that cannot be written is found before a token is
//! made that nobody knows. A secret that was drawn at random is given to one caller, and is nowhere else.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use concord_auth::policy::{Lifetime, NewToken};
use concord_auth::token::{ENTROPY_BYTES, Secret};
use concord_auth::{BuiltinRole, Name, Permissions};
use concord_core::PolicyChange;
use tokio::sync::oneshot;

use crate::concord::WeakConcord;
use crate::config::{AuthMode, Config, ConfigError, RootToken};
use crate::limits::BOOTSTRAP_PAUSE;
use crate::service::{self, Service};

/// What the first token is called.
const ROOT: &str = "root";

/// How long one attempt may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The secret of the first token, if there is to be one.
#[derive(Debug)]
pub(crate) struct Root {
    secret: Secret,
    /// Nobody knows it yet.
    is_drawn: bool,
}

impl Root {
    /// Settles where the secret comes from. Reads or writes the file that is named for it.
    pub(crate) fn settle(config: &Config) -> Result<Option<Self>, ConfigError> {
        if config.auth == AuthMode::Off {
            return Ok(None);
        }
        let (secret, is_drawn) = match &config.root_token {
            None => (draw()?, true),
            Some(RootToken::Given(secret)) => (parse(secret.expose())?, false),
            Some(RootToken::File(path)) => (in_file(path)?, false),
        };
        Ok(Some(Self { secret, is_drawn }))
    }

    /// Makes the token, unless there are tokens already, as soon as the node can.
    pub(crate) async fn make(self, concord: WeakConcord, made: oneshot::Sender<Option<Secret>>) {
        loop {
            let Some(concord) = concord.upgrade() else { return };
            match self.attempt(concord.service()).await {
                Ok(is_made) => {
                    concord.running().root_is_there();
                    let shown = is_made && self.is_drawn;
                    // Whoever wants to see it asks before.
                    let _ = made.send(shown.then_some(self.secret));
                    return;
                }
                Err(error) => tracing::debug!(%error, "the root token is not made yet"),
            }
            if concord.running().is_stopped() {
                return;
            }
            drop(concord);
            tokio::time::sleep(BOOTSTRAP_PAUSE).await;
        }
    }

    /// Says whether this made it.
    async fn attempt(&self, service: &Service) -> Result<bool, crate::Error> {
        let hash = self.secret.hash();
        let (is_made, _) = service
            .change_policy(
                &crate::judge::Caller::Embedder,
                |policy, now| {
                    if !policy.has_no_tokens()? {
                        let is_made = policy.recognize(&hash, now).is_ok();
                        return Ok((PolicyChange::unjudged(Vec::new()), is_made));
                    }
                    let token = NewToken {
                        hash,
                        name: Some(Name::new(ROOT)?),
                        lifetime: Lifetime {
                            now,
                            expires_at: None,
                        },
                        permissions: Permissions::NONE,
                        roles: vec![Name::new(BuiltinRole::Admin.name())?],
                    };
                    let edits = policy.create_token(&token)?;
                    Ok((PolicyChange::new(policy.revision(), edits), true))
                },
                PATIENCE,
            )
            .await?;
        Ok(is_made)
    }
}

fn draw() -> Result<Secret, ConfigError> {
    let entropy = service::random::<ENTROPY_BYTES>()
        .map_err(|error| ConfigError::invalid("auth.mode", error.to_string()))?;
    Ok(Secret::from_entropy(&entropy))
}

fn parse(text: &str) -> Result<Secret, ConfigError> {
    let wrong = "the root token must be `sk_concord_` and 43 characters of base64 for URLs";
    Secret::parse(text).map_err(|_| ConfigError::invalid("auth.root_token_file", wrong))
}

fn in_file(path: &Path) -> Result<Secret, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    };
    match fs::read_to_string(path).map(zeroize::Zeroizing::new) {
        Ok(text) => parse(text.trim_end_matches(['\r', '\n'])),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let secret = draw()?;
            write(path, &secret).map_err(unreadable)?;
            Ok(secret)
        }
        Err(error) => Err(unreadable(error)),
    }
}

/// Writes the secret to the disk, readable by its owner alone.
fn write(path: &Path, secret: &Secret) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(secret.expose().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

//! The election: one leader at a time, and everybody can see who.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::time::Duration;

use concord_core::ids::Revision;
use concord_core::key::Key;
use futures::Stream;

use super::claim::Application;
use super::guard::{Guard, within};
use super::line::{self, Holder};
use super::name::{Kind, Place};
use crate::concord::{Concord, IntoValue};
use crate::error::{Error, ErrorKind};
use crate::txn::key;

impl Concord {
    /// An election of this name. Nothing happens before somebody stands for it.
    ///
    /// ```
    /// # use concord_server::{Concord, Config, Error};
    /// # async fn example(db: &Concord) -> Result<(), Error> {
    /// let election = db.election("scheduler");
    /// let leadership = election.campaign("10.0.0.1:4000").await?;
    /// let leader = election.leader().await?.expect("it was won just now");
    /// assert_eq!(leader.text(), Some("10.0.0.1:4000"));
    /// assert_eq!(leader.token, leadership.token());
    /// leadership.proclaim("10.0.0.1:4001").await?;
    /// leadership.resign().await?;
    /// assert_eq!(election.leader().await?, None);
    /// # Ok(())
    /// # }
    /// # let directory = std::env::temp_dir().join(format!("concord-doc-election-{}", std::process::id()));
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// #     let db = Concord::open(Config::at(&directory)).await.unwrap();
    /// #     example(&db).await.unwrap();
    /// #     db.shutdown().await.unwrap();
    /// # });
    /// # std::fs::remove_dir_all(directory).unwrap();
    /// ```
    pub fn election(&self, name: impl Into<String>) -> Election {
        Election {
            application: Application::new(self, Place::new(Kind::Election, name)),
        }
    }
}

/// An election: see [`Concord::election`].
#[derive(Clone, Debug)]
pub struct Election {
    application: Application,
}

impl Election {
    /// How long the lease of a candidate lives without being kept alive: how long others wait for a
    /// leader that is gone. 10 seconds if not set.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.application.ttl = ttl;
        self
    }

    /// Stands for election and waits until it is won; `value` is what others see of the leader, such
    /// as its address. To drop the future withdraws.
    ///
    /// # Errors
    ///
    /// As [`Lock::acquire`](super::Lock::acquire); `invalid_value`, `value_too_large`.
    pub async fn campaign(&self, value: impl IntoValue) -> Result<Leadership, Error> {
        let application = Application {
            value: value.into_value(),
            ..self.application.clone()
        };
        let claim = application.wait_alone().await?;
        Ok(Leadership(Guard::new(claim)))
    }

    /// Stands for election for this long; `None` if that was not enough. Errors as
    /// [`Election::campaign`].
    pub async fn campaign_within(
        &self,
        patience: Duration,
        value: impl IntoValue,
    ) -> Result<Option<Leadership>, Error> {
        within(patience, self.campaign(value)).await
    }

    /// The leader now. Errors as [`Concord::get`].
    pub async fn leader(&self) -> Result<Option<Holder>, Error> {
        Ok(self.application.line().await?.into_first())
    }

    /// The leader and who would follow, in order. Errors as [`Concord::get`].
    pub async fn candidates(&self) -> Result<Vec<Holder>, Error> {
        Ok(self.application.line().await?.holders)
    }

    /// The leader now, and then whenever there is another one, none, or it says something
    /// else. Ends after its first error. A leader that was there only briefly may be passed over.
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let db = concord_server::Concord::open(concord_server::Config::at(directory.path())).await?;
    /// use futures::TryStreamExt as _;
    ///
    /// let mut leaders = std::pin::pin!(db.election("scheduler").observe()?);
    /// while let Some(leader) = leaders.try_next().await? {
    ///     match leader {
    ///         Some(leader) => println!("{:?} leads since {}", leader.text(), leader.token),
    ///         None => println!("nobody leads"),
    ///     }
    ///     # break;
    /// }
    /// # db.shutdown().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `invalid_request` for a bad name. Later, from the stream: as [`Concord::get`] and
    /// [`Concord::watch`].
    pub fn observe(
        &self,
    ) -> Result<impl Stream<Item = Result<Option<Holder>, Error>> + Send + 'static, Error> {
        let place = self.application.place.clone()?;
        Ok(line::observe(self.application.concord.clone(), place, first))
    }
}

/// Who leads among the candidates.
fn first(candidates: &BTreeMap<Key, Holder>) -> Option<Holder> {
    candidates
        .values()
        .min_by_key(|candidate| candidate.token)
        .cloned()
}

/// A won election. It is a [`Guard`]: what a leader writes can be fenced by it.
#[derive(Debug)]
#[must_use = "a leadership that is not held on to is given up at once"]
pub struct Leadership(Guard);

impl Leadership {
    /// Changes what others see of the leader, only if it still leads.
    ///
    /// # Errors
    ///
    /// `condition_failed` if it does not lead any more; else as [`Concord::put`].
    pub async fn proclaim(&self, value: impl IntoValue) -> Result<Revision, Error> {
        let put = key(self.key()).put(value).lease(self.lease());
        let done = self.txn().then(put).await?;
        if done.succeeded {
            return Ok(done.revision);
        }
        let message = format!("{} is led by somebody else by now", self.name());
        Err(Error::new(ErrorKind::ConditionFailed, message).with("token", self.token().get()))
    }

    /// Gives it up, at once. Errors as [`Guard::release`].
    ///
    /// # Errors
    ///
    /// As [`Guard::release`].
    pub async fn resign(self) -> Result<(), Error> {
        self.0.release().await
    }
}

impl Deref for Leadership {
    type Target = Guard;

    fn deref(&self) -> &Guard {
        &self.0
    }
}

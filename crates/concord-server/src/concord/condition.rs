//! Writes that happen only if something holds of what is stored.

use concord_core::command::Condition;
use concord_core::expr::Expression;
use concord_core::ids::Revision;
use concord_query::expression;

use super::convert::IntoValue;
use super::write::{Delete, Put, Write};
use crate::error::Error;

/// An expression from its text.
pub(crate) fn predicate(text: &str) -> Result<Expression, Error> {
    expression::parse(text).map_err(|error| {
        let message = format!("expression is wrong: {}", error.explain(text));
        Error::invalid_request(message)
    })
}

/// The condition of a write, while it is put together.
#[derive(Debug)]
pub struct Only(Result<Option<Condition>, Error>);

impl Only {
    pub(super) const ALWAYS: Self = Self(Ok(None));

    fn add(&mut self, condition: Result<Condition, Error>) {
        let given = std::mem::replace(&mut self.0, Ok(None));
        self.0 = match (given, condition) {
            (Err(error), _) | (Ok(_), Err(error)) => Err(error),
            (Ok(None), Ok(condition)) => Ok(Some(condition)),
            (Ok(Some(_)), Ok(_)) => Err(Error::invalid_request(
                "a write takes one condition: use a transaction for more",
            )),
        };
    }

    pub(super) fn into_condition(self) -> Result<Option<Condition>, Error> {
        self.0
    }
}

/// A kind of write that can have a condition.
pub trait Conditional {
    /// Where the condition is kept.
    fn only(&mut self) -> &mut Only;
}

impl Conditional for Put {
    fn only(&mut self) -> &mut Only {
        &mut self.only
    }
}

impl Conditional for Delete {
    fn only(&mut self) -> &mut Only {
        &mut self.only
    }
}

/// Conditions, judged where the write is applied, by the state that it changes. One that does
/// not hold refuses the write as `condition_failed`, with the record that was judged in
/// [`Error::current_record`]. A key that has expired is absent. A second condition is `invalid_request`.
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let db = concord_server::Concord::open(concord_server::Config::at(directory.path())).await?;
/// let made = db.put("config", "one").if_absent().await?;
/// db.put("config", "two").if_mod_revision(made.revision).await?;
///
/// let refused = db.put("config", "three").if_mod_revision(made.revision).await.unwrap_err();
/// assert_eq!(refused.code(), "condition_failed");
/// assert_eq!(refused.current_record().and_then(|record| record.value.as_text()), Some("two"));
/// # db.shutdown().await?;
/// # Ok(())
/// # }
/// ```
impl<K: Conditional> Write<'_, K> {
    /// Only if the key is absent.
    pub fn if_absent(self) -> Self {
        self.only_if(Ok(Condition::Absent))
    }

    /// Only if the key exists.
    pub fn if_present(self) -> Self {
        self.only_if(Ok(Condition::Present))
    }

    /// Only if the key holds this value: the same format and the same bytes.
    pub fn if_value(self, value: impl IntoValue) -> Self {
        self.only_if(value.into_value().map(Condition::ValueIs))
    }

    /// Only if the last write of the key was at this revision.
    pub fn if_mod_revision(self, revision: Revision) -> Self {
        self.only_if(Ok(Condition::ModRevisionIs(revision)))
    }

    /// Only if the key has been written this often since it came into being.
    pub fn if_version(self, version: u64) -> Self {
        self.only_if(Ok(Condition::VersionIs(version)))
    }

    /// Only if this expression is true of the stored record, such as
    /// `value.age >= 30 && value.role == "admin"`. Of no record, and by an error, it is not.
    pub fn if_true(self, expression: &str) -> Self {
        self.only_if(predicate(expression).map(Condition::Predicate))
    }

    pub(crate) fn only_if(mut self, condition: Result<Condition, Error>) -> Self {
        self.kind.only().add(condition);
        self
    }
}

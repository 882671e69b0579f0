//! Conditions of writes: in the query, or as HTTP has them in its headers. One a request.

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};
use axum::http::request::Parts;
use concord_core::command::Condition;
use concord_core::ids::Revision;
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::IntoParams;

use super::error::{ApiError, ApiResult};
use super::value::{Format, value_of};
use crate::concord::predicate;
use crate::error::ErrorKind;

/// The conditions that a query can have.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ConditionParams {
    /// Only if the key is absent.
    absent: bool,
    /// Only if the key exists.
    present: bool,
    /// Only if the last write of the key was at this revision.
    mod_revision: Option<u64>,
    /// Only if the key has been written this often since it came into being.
    version: Option<u64>,
    /// Only if this expression is true of the stored record, such as `value.age >= 30`.
    #[serde(rename = "where")]
    #[param(rename = "where")]
    only_where: Option<String>,
    /// Only if this is the stored value, in JSON: a string for text, anything else for a document.
    expected: Option<String>,
    /// What `expected` is kept as, if not as described there.
    #[param(inline)]
    expected_format: Option<Format>,
}

/// The headers that are conditions, for the document only.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "read by the document only")]
pub(crate) struct ConditionHeaders {
    /// An `ETag`: only if it is still the key's; or `*`: only if the key exists.
    #[param(rename = "If-Match")]
    if_match: Option<String>,
    /// `*`: only if the key is absent.
    #[param(rename = "If-None-Match")]
    if_none_match: Option<String>,
}

/// What must hold, gathered from wherever it is said.
#[derive(Debug, Default)]
pub(crate) struct Conditions(Option<Condition>);

impl Conditions {
    /// Adds a condition.
    pub(crate) fn add(&mut self, condition: Condition) -> ApiResult<()> {
        match self.0.replace(condition) {
            None => Ok(()),
            Some(_) => Err(ApiError::invalid_request(
                "a request takes one condition: use a transaction for more",
            )),
        }
    }

    /// Adds those of the query.
    pub(crate) fn with(mut self, params: &ConditionParams) -> ApiResult<Self> {
        if params.absent {
            self.add(Condition::Absent)?;
        }
        if params.present {
            self.add(Condition::Present)?;
        }
        if let Some(revision) = params.mod_revision {
            self.add(Condition::ModRevisionIs(Revision::new(revision)))?;
        }
        if let Some(version) = params.version {
            self.add(Condition::VersionIs(version))?;
        }
        if let Some(text) = &params.only_where {
            self.add(Condition::Predicate(predicate(text)?))?;
        }
        match &params.expected {
            Some(text) => {
                let value: &RawValue = serde_json::from_str(text).map_err(|error| {
                    ApiError::invalid_request(format!("query parameter `expected` is not JSON: {error}"))
                        .with("parameter", "expected".to_owned())
                })?;
                self.add(expected(value, params.expected_format)?)?;
            }
            None if params.expected_format.is_some() => {
                return Err(ApiError::invalid_request(
                    "expected_format has no effect without expected",
                ));
            }
            None => {}
        }
        Ok(self)
    }

    /// The condition, if there is one.
    pub(crate) fn get(self) -> Option<Condition> {
        self.0
    }
}

/// The condition that the stored value is this one.
pub(crate) fn expected(value: &RawValue, format: Option<Format>) -> ApiResult<Condition> {
    value_of(value, format).map(Condition::ValueIs)
}

impl<S: Sync> FromRequestParts<S> for Conditions {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        let headers = &parts.headers;
        let mut conditions = Self::default();
        if let Some(tag) = single(headers, IF_MATCH.as_str())? {
            conditions.add(match tag {
                "*" => Condition::Present,
                tag => Condition::ModRevisionIs(entity_tag(tag)?),
            })?;
        }
        match single(headers, IF_NONE_MATCH.as_str())? {
            None => {}
            Some("*") => conditions.add(Condition::Absent)?,
            Some(_) => return Err(unsupported(IF_NONE_MATCH.as_str())),
        }
        refuse_dates(headers)?;
        Ok(conditions)
    }
}

/// A request of a kind that takes no conditions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoConditions;

impl<S: Sync> FromRequestParts<S> for NoConditions {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        for name in [IF_MATCH, IF_NONE_MATCH] {
            if parts.headers.contains_key(&name) {
                return Err(unsupported(name.as_str()));
            }
        }
        refuse_dates(&parts.headers)?;
        Ok(Self)
    }
}

/// Nothing here has a date, so nothing can be judged by one.
fn refuse_dates(headers: &HeaderMap) -> ApiResult<()> {
    for name in [IF_UNMODIFIED_SINCE, IF_MODIFIED_SINCE] {
        if headers.contains_key(&name) {
            return Err(unsupported(name.as_str()));
        }
    }
    Ok(())
}

/// Ignoring a condition would change what the request means.
fn unsupported(name: &str) -> ApiError {
    let message = format!("header {name} is not supported here like that; nothing was written");
    ApiError::new(ErrorKind::Unsupported, message).with("header", name.to_owned())
}

fn single<'a>(headers: &'a HeaderMap, name: &str) -> ApiResult<Option<&'a str>> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => match value.to_str() {
            Ok(text) => Ok(Some(text.trim())),
            Err(_) => Err(unsupported(name)),
        },
        (Some(_), Some(_)) => Err(unsupported(name)),
    }
}

/// The revision in a tag that this interface gave.
fn entity_tag(tag: &str) -> ApiResult<Revision> {
    let digits = tag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    digits
        .filter(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|digits| digits.parse().ok())
        .map(Revision::new)
        .ok_or_else(|| unsupported(IF_MATCH.as_str()))
}

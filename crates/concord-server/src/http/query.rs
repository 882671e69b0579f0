//! Query parameters, strictly: an unknown, doubled or malformed one is an error that
//! names it, never ignored.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer as _, MapAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::decode::percent_decode;
use super::error::ApiError;

/// The query parameters of an endpoint: those that its struct `T` names, and those of the
/// structs `A` and `B` that it shares with others.
#[derive(Debug)]
pub(crate) struct Query<T, A = Nothing, B = Nothing>(pub(crate) T, pub(crate) A, pub(crate) B);

/// No query parameter at all.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// A request without query parameters.
pub(crate) type NoQuery = Query<Nothing>;

impl<T, A, B, S: Sync> FromRequestParts<S> for Query<T, A, B>
where
    T: DeserializeOwned,
    A: DeserializeOwned,
    B: DeserializeOwned,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parse(parts.uri.query().unwrap_or_default())
    }
}

/// Reads a query string: first what `A` and `B` name, then the rest, which is `T`'s.
pub(crate) fn parse<T, A, B>(query: &str) -> Result<Query<T, A, B>, ApiError>
where
    T: DeserializeOwned,
    A: DeserializeOwned,
    B: DeserializeOwned,
{
    let (named_a, named_b) = (Cell::new(&[][..]), Cell::new(&[][..]));
    let a = A::deserialize(Pairs::new(query, Part::Named(&named_a))).map_err(refusal)?;
    let b = B::deserialize(Pairs::new(query, Part::Named(&named_b))).map_err(refusal)?;
    let rest = Part::Without([named_a.get(), named_b.get()]);
    let own = T::deserialize(Pairs::new(query, rest)).map_err(refusal)?;
    Ok(Query(own, a, b))
}

fn refusal(problem: Problem) -> ApiError {
    match problem {
        Problem::Unknown(name) => {
            ApiError::invalid_request(format!("there is no query parameter `{name}` here"))
                .with("parameter", name)
        }
        Problem::Parameter { name, reason } => {
            ApiError::invalid_request(format!("query parameter `{name}` {reason}")).with("parameter", name)
        }
        Problem::Other(reason) => ApiError::invalid_request(format!("query {reason}")),
    }
}

#[derive(Debug)]
enum Problem {
    Unknown(String),
    Parameter { name: String, reason: String },
    Other(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl std::error::Error for Problem {}

impl serde::de::Error for Problem {
    fn custom<T: fmt::Display>(reason: T) -> Self {
        Self::Other(reason.to_string())
    }

    fn unknown_field(name: &str, _: &'static [&'static str]) -> Self {
        Self::Unknown(name.to_owned())
    }

    fn duplicate_field(name: &'static str) -> Self {
        Self::Parameter {
            name: name.to_owned(),
            reason: "is given twice".to_owned(),
        }
    }

    fn missing_field(name: &'static str) -> Self {
        Self::Parameter {
            name: name.to_owned(),
            reason: "is required".to_owned(),
        }
    }

    fn unknown_variant(found: &str, expected: &'static [&'static str]) -> Self {
        Self::Other(format!("must be {}, not `{found}`", expected.join(" or ")))
    }
}

type Names = &'static [&'static str];

/// Which pairs of the query are for the struct at hand.
enum Part<'a> {
    /// Those that it names. Its names are left here.
    Named(&'a Cell<Names>),
    /// All but these.
    Without([Names; 2]),
}

/// The pairs of a query string, one at a time.
struct Pairs<'a> {
    part: Part<'a>,
    rest: &'a str,
    name: Cow<'a, str>,
    value: Cow<'a, str>,
}

impl<'a> Pairs<'a> {
    fn new(query: &'a str, part: Part<'a>) -> Self {
        Self {
            part,
            rest: query,
            name: Cow::Borrowed(""),
            value: Cow::Borrowed(""),
        }
    }

    fn concerns(&self, name: &str) -> bool {
        match self.part {
            Part::Named(names) => names.get().contains(&name),
            Part::Without(taken) => !taken.iter().any(|names| names.contains(&name)),
        }
    }

    fn advance(&mut self) -> Result<bool, Problem> {
        while !self.rest.is_empty() {
            let (pair, rest) = self.rest.split_once('&').unwrap_or((self.rest, ""));
            self.rest = rest;
            if pair.is_empty() {
                continue;
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decode = |text: &'a str| {
                percent_decode(text, true).map_err(|malformed| Problem::Parameter {
                    name: name.to_owned(),
                    reason: malformed.reason().to_owned(),
                })
            };
            let decoded = decode(name)?;
            if self.concerns(&decoded) {
                self.value = decode(value)?;
                self.name = decoded;
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl<'de> Deserializer<'de> for Pairs<'_> {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_map(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: Names,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        if let Part::Named(left) = self.part {
            left.set(names);
        }
        visitor.visit_map(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

impl<'de> MapAccess<'de> for Pairs<'_> {
    type Error = Problem;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Problem> {
        if self.advance()? {
            seed.deserialize(StrDeserializer::new(&self.name)).map(Some)
        } else {
            Ok(None)
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Problem> {
        seed.deserialize(Parameter(&self.value))
            .map_err(|problem| match problem {
                Problem::Other(reason) => Problem::Parameter {
                    name: self.name.clone().into_owned(),
                    reason,
                },
                named @ (Problem::Unknown(_) | Problem::Parameter { .. }) => named,
            })
    }
}

/// One value. The type that is asked for decides how its text is read.
struct Parameter<'a>(&'a str);

impl Parameter<'_> {
    fn integer(&self) -> Result<u64, Problem> {
        let digits = !self.0.is_empty() && self.0.bytes().all(|byte| byte.is_ascii_digit());
        digits
            .then(|| self.0.parse().ok())
            .flatten()
            .ok_or_else(|| Problem::Other(format!("must be a whole number, not `{}`", self.0)))
    }
}

impl<'de> Deserializer<'de> for Parameter<'_> {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_str(self.0)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.0 {
            // `?keys_only` alone switches it on.
            "true" | "1" | "" => visitor.visit_bool(true),
            "false" | "0" => visitor.visit_bool(false),
            other => Err(Problem::Other(format!("must be true or false, not `{other}`"))),
        }
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_u64(self.integer()?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_some(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        let variant: StrDeserializer<'_, Problem> = self.0.into_deserializer();
        visitor.visit_enum(variant)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Params {
        prefix: Option<String>,
        limit: Option<u64>,
        keys_only: bool,
        order: Option<Order>,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Common {
        timeout: Option<String>,
    }

    fn parse<T: DeserializeOwned>(query: &str) -> Result<T, ApiError> {
        super::parse::<T, Nothing, Nothing>(query).map(|Query(own, ..)| own)
    }

    #[test]
    fn shared_parameters_stand_among_the_others() {
        let Query(own, common, Nothing {}) =
            super::parse::<Params, Common, Nothing>("limit=1&timeout=5s&keys_only").unwrap();
        assert_eq!((own.limit, own.keys_only), (Some(1), true));
        assert_eq!(common.timeout.as_deref(), Some("5s"));
        for (query, message) in [
            ("timeout=1&limit=2&timeout=3", "`timeout` is given twice"),
            ("timeout=1&tll=2", "there is no query parameter `tll` here"),
            ("timeout=%f", "`timeout` has a %"),
        ] {
            let error = format!(
                "{:?}",
                super::parse::<Params, Common, Nothing>(query).unwrap_err()
            );
            assert!(error.contains(message), "{query}\n{error}");
        }
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Order {
        Asc,
        Desc,
    }

    #[test]
    fn every_kind_of_parameter_is_read() {
        let params: Params = parse("prefix=a%2Fb+c&limit=10&keys_only&order=desc").unwrap();
        assert_eq!(params.prefix.as_deref(), Some("a/b c"));
        assert_eq!(
            (params.limit, params.keys_only, params.order),
            (Some(10), true, Some(Order::Desc))
        );
        assert_eq!(parse::<Params>("").unwrap(), Params::default());
        assert_eq!(parse::<Params>("&keys_only=0&").unwrap(), Params::default());
    }

    #[test]
    fn errors_name_the_parameter() {
        for (query, message) in [
            (
                "limit=abc",
                "query parameter `limit` must be a whole number, not `abc`",
            ),
            (
                "limit=-1",
                "query parameter `limit` must be a whole number, not `-1`",
            ),
            (
                "limit=+1",
                "query parameter `limit` must be a whole number, not ` 1`",
            ),
            (
                "limit=99999999999999999999",
                "query parameter `limit` must be a whole number, not `99999999999999999999`",
            ),
            ("limit=1&limit=2", "query parameter `limit` is given twice"),
            ("limt=1", "there is no query parameter `limt` here"),
            (
                "keys_only=yes",
                "query parameter `keys_only` must be true or false, not `yes`",
            ),
            (
                "order=up",
                "query parameter `order` must be asc or desc, not `up`",
            ),
            ("prefix=%FF", "query parameter `prefix` is not valid utf-8"),
            (
                "prefix=%f",
                "query parameter `prefix` has a % that is not followed by two hexadecimal digits",
            ),
        ] {
            let error = format!("{:?}", parse::<Params>(query).unwrap_err());
            assert!(error.contains(message), "{query}\n{error}\n{message}");
        }
    }
}

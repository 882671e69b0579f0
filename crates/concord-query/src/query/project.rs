//! What is shown of a record.

use std::collections::BTreeMap;

use bytes::Bytes;
use concord_core::document::Document;
use concord_core::expr::{Evaluated, Expression, Literal, Scope};
use concord_core::value::Value;

/// A field of a projection.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) expression: Expression,
}

/// The document of these fields of a record.
pub(super) fn projected(fields: &[Field], scope: &Scope<'_>) -> Value {
    let mut found = BTreeMap::new();
    for field in fields {
        let evaluated = field.expression.evaluate(scope).ok();
        if let Some(document) = evaluated.and_then(document) {
            found.insert(field.name.clone(), document);
        }
    }
    // A field can lie deeper here than a document may be: then there is nothing to show.
    Value::document(&Document::Object(found)).unwrap_or_else(|_| Value::binary(Bytes::new()))
}

/// Bytes have no place in a document.
fn document(evaluated: Evaluated) -> Option<Document> {
    Some(match evaluated {
        Evaluated::Scalar(Literal::Null) => Document::Null,
        Evaluated::Scalar(Literal::Bool(value)) => Document::Bool(value),
        Evaluated::Scalar(Literal::Integer(value)) => Document::Integer(value),
        Evaluated::Scalar(Literal::Float(value)) => Document::Float(value),
        Evaluated::Scalar(Literal::String(text)) => Document::String(text),
        Evaluated::Scalar(Literal::Bytes(_)) => return None,
        Evaluated::List(items) => Document::Array(items.into_iter().map(document).collect::<Option<_>>()?),
        Evaluated::Map(fields) => {
            let fields = fields
                .into_iter()
                .map(|(name, value)| Some((name, document(value)?)));
            Document::Object(fields.collect::<Option<_>>()?)
        }
    })
}

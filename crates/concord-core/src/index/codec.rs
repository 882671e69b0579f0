//! The byte forms of definitions, in commands and snapshots, and of how far an index is.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use super::{Extractor, Fill, Index, IndexDefinition, IndexName, PathStep};
use crate::codec::DecodeError;
use crate::codec::reader::Reader;
use crate::codec::writer;
use crate::expr::Expression;
use crate::ids::Revision;
use crate::key::Key;
use crate::tree::Tree;

const UNIQUE: u8 = 0x01;
const EXPRESSION: u8 = 0x02;

const FIELD: u8 = 1;
const EACH: u8 = 2;

const NOT_ASKED: u8 = 0;
const NOT_BEGUN: u8 = 1;
const UPTO: u8 = 2;
const COMPLETE: u8 = 3;
const FAILED: u8 = 4;

impl IndexName {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        writer::bytes(self.0.as_bytes(), out);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let name = text(reader)?;
        Self::new(name).map_err(|_| reader.error("invalid index name"))
    }
}

impl IndexDefinition {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let unique = if self.unique { UNIQUE } else { 0 };
        let (kind, body) = match &self.extractor {
            Extractor::Path(steps) => (0, path(steps)),
            Extractor::Expression(expression) => (EXPRESSION, expression.to_bytes()),
        };
        out.push(unique | kind);
        self.name.encode(out);
        writer::bytes(&self.prefix, out);
        writer::bytes(&body, out);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let flags = reader.u8()?;
        if flags & !(UNIQUE | EXPRESSION) != 0 {
            return Err(reader.error("unknown flags of an index"));
        }
        let name = IndexName::decode(reader)?;
        let prefix = Bytes::copy_from_slice(reader.bytes()?);
        let offset = reader.offset();
        let body = reader.bytes()?;
        let extractor = if flags & EXPRESSION == 0 {
            decode_path(body).map(Extractor::Path)
        } else {
            Expression::decode(body).map(Extractor::Expression)
        };
        let extractor = extractor.map_err(|error| DecodeError {
            what: error.what,
            offset: offset.saturating_add(error.offset),
        })?;
        Self::new(name, prefix, extractor, flags & UNIQUE != 0).map_err(|_| DecodeError {
            what: "invalid index",
            offset,
        })
    }
}

impl Index {
    /// What a snapshot keeps of it: all but the entries, which follow.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        self.definition.encode(out);
        writer::number(self.since.get(), out);
        match &self.fill {
            Fill::NotAsked => out.push(NOT_ASKED),
            Fill::Upto { key: None, .. } => out.push(NOT_BEGUN),
            Fill::Upto {
                key: Some(key),
                visited,
            } => {
                out.push(UPTO);
                writer::bytes(key.as_bytes(), out);
                writer::number(*visited, out);
            }
            Fill::Complete => out.push(COMPLETE),
            Fill::Failed { duplicate } => {
                out.push(FAILED);
                writer::bytes(duplicate.as_bytes(), out);
            }
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let definition = Arc::new(IndexDefinition::decode(&mut reader)?);
        let since = Revision::new(reader.number()?);
        let fill = match reader.u8()? {
            NOT_ASKED => Fill::NotAsked,
            NOT_BEGUN => Fill::Upto {
                key: None,
                visited: 0,
            },
            UPTO => Fill::Upto {
                key: Some(key(&mut reader)?),
                visited: reader.number()?,
            },
            COMPLETE => Fill::Complete,
            FAILED => Fill::Failed {
                duplicate: key(&mut reader)?,
            },
            _ => return Err(reader.error("unknown progress of an index")),
        };
        reader.end()?;
        Ok(Self {
            definition,
            since,
            fill,
            entries: Tree::new(),
        })
    }
}

fn path(steps: &[PathStep]) -> Vec<u8> {
    let mut out = Vec::new();
    for step in steps {
        match step {
            PathStep::Field(name) => {
                out.push(FIELD);
                writer::bytes(name.as_bytes(), &mut out);
            }
            PathStep::Each => out.push(EACH),
        }
    }
    out
}

fn decode_path(bytes: &[u8]) -> Result<Vec<PathStep>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let mut steps = Vec::new();
    while reader.left() > 0 {
        steps.push(match reader.u8()? {
            FIELD => PathStep::Field(text(&mut reader)?),
            EACH => PathStep::Each,
            _ => return Err(reader.error("unknown step of a path")),
        });
    }
    Ok(steps)
}

fn text(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    let offset = reader.offset();
    match core::str::from_utf8(reader.bytes()?) {
        Ok(text) => Ok(text.into()),
        Err(_) => Err(DecodeError {
            what: "text is not utf-8",
            offset,
        }),
    }
}

fn key(reader: &mut Reader<'_>) -> Result<Key, DecodeError> {
    let bytes = reader.bytes()?;
    Key::copy_of(bytes).map_err(|_| reader.error("invalid key"))
}

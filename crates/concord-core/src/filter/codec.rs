//! The byte form of filters, in the log.

use alloc::vec::Vec;

use bytes::Bytes;

use super::{Filter, KeyTest};
use crate::codec::DecodeError;
use crate::codec::reader::Reader;
use crate::codec::writer;
use crate::expr::Expression;
use crate::glob::Glob;
use crate::key::KeyRange;
use crate::limits::FILTER_TESTS_MAX;
use crate::pattern::Pattern;

const HAS_END: u8 = 0x01;
const HAS_PREDICATE: u8 = 0x02;

const SUFFIX: u8 = 1;
const CONTAINS: u8 = 2;
const GLOB: u8 = 3;
const PATTERN: u8 = 4;

impl Filter {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let mut flags = 0;
        if self.range.end().is_some() {
            flags |= HAS_END;
        }
        if self.predicate.is_some() {
            flags |= HAS_PREDICATE;
        }
        out.push(flags);
        writer::bytes(self.range.start(), out);
        if let Some(end) = self.range.end() {
            writer::bytes(end, out);
        }
        writer::count(self.tests.len(), out);
        for test in &self.tests {
            match test {
                KeyTest::Suffix(text) => {
                    out.push(SUFFIX);
                    writer::bytes(text, out);
                }
                KeyTest::Contains(text) => {
                    out.push(CONTAINS);
                    writer::bytes(text, out);
                }
                KeyTest::Glob(glob) => {
                    out.push(GLOB);
                    writer::bytes(glob.source(), out);
                }
                KeyTest::Pattern(pattern) => {
                    out.push(PATTERN);
                    pattern.encode(out);
                }
            }
        }
        if let Some(predicate) = &self.predicate {
            writer::bytes(&predicate.to_bytes(), out);
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>, whole: &Bytes) -> Result<Self, DecodeError> {
        let flags = reader.u8()?;
        if flags & !(HAS_END | HAS_PREDICATE) != 0 {
            return Err(reader.error("unknown flags of a filter"));
        }
        let start = reader.shared(whole)?;
        let range = if flags & HAS_END == 0 {
            KeyRange::from(start)
        } else {
            KeyRange::between(start, reader.shared(whole)?)
        };
        let count = reader.count(1)?;
        if count > FILTER_TESTS_MAX {
            return Err(reader.error("filter has too many tests"));
        }
        let mut tests = Vec::with_capacity(count);
        for _ in 0..count {
            tests.push(match reader.u8()? {
                SUFFIX => KeyTest::Suffix(reader.shared(whole)?),
                CONTAINS => KeyTest::Contains(reader.shared(whole)?),
                GLOB => {
                    let glob = Glob::new(reader.shared(whole)?);
                    KeyTest::Glob(glob.map_err(|_| reader.error("invalid glob"))?)
                }
                PATTERN => KeyTest::Pattern(Pattern::decode(reader)?),
                _ => return Err(reader.error("unknown test of a filter")),
            });
        }
        let predicate = if flags & HAS_PREDICATE == 0 {
            None
        } else {
            let offset = reader.offset();
            let expression = Expression::decode(reader.bytes()?).map_err(|error| DecodeError {
                what: error.what,
                offset: offset.saturating_add(error.offset),
            });
            Some(expression?)
        };
        Self::new(range, tests, predicate).map_err(|_| reader.error("invalid filter"))
    }
}

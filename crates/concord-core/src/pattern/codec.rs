//! The byte form of patterns, in the log.

use alloc::vec::Vec;

use super::{Assertion, Instruction, Pattern};
use crate::codec::DecodeError;
use crate::codec::reader::Reader;
use crate::codec::writer;
use crate::limits::{PATTERN_INSTRUCTIONS_MAX, PATTERN_RANGES_MAX};

const CLASS: u8 = 1;
const SPLIT: u8 = 2;
const JUMP: u8 = 3;
const MATCH: u8 = 4;
const START: u8 = 5;
const END: u8 = 6;
const WORD_BOUNDARY: u8 = 7;
const NOT_WORD_BOUNDARY: u8 = 8;

impl Pattern {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        writer::count(self.0.len(), out);
        for step in &self.0 {
            match step {
                Instruction::Class(ranges) => {
                    out.push(CLASS);
                    writer::count(ranges.len(), out);
                    for (first, last) in ranges {
                        writer::number(u64::from(*first), out);
                        writer::number(u64::from(*last), out);
                    }
                }
                Instruction::Split(one, other) => {
                    out.push(SPLIT);
                    writer::number(u64::from(*one), out);
                    writer::number(u64::from(*other), out);
                }
                Instruction::Jump(target) => {
                    out.push(JUMP);
                    writer::number(u64::from(*target), out);
                }
                Instruction::Assert(assertion) => out.push(match assertion {
                    Assertion::Start => START,
                    Assertion::End => END,
                    Assertion::WordBoundary => WORD_BOUNDARY,
                    Assertion::NotWordBoundary => NOT_WORD_BOUNDARY,
                }),
                Instruction::Match => out.push(MATCH),
            }
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = reader.count(1)?;
        // Before room is made.
        if count > PATTERN_INSTRUCTIONS_MAX {
            return Err(reader.error("pattern is too long"));
        }
        let mut steps = Vec::with_capacity(count);
        for _ in 0..count {
            steps.push(match reader.u8()? {
                CLASS => {
                    let count = reader.count(2)?;
                    if count > PATTERN_RANGES_MAX {
                        return Err(reader.error("class of a pattern is too long"));
                    }
                    let mut ranges = Vec::with_capacity(count);
                    for _ in 0..count {
                        ranges.push((small(reader)?, small(reader)?));
                    }
                    Instruction::Class(ranges)
                }
                SPLIT => Instruction::Split(small(reader)?, small(reader)?),
                JUMP => Instruction::Jump(small(reader)?),
                MATCH => Instruction::Match,
                START => Instruction::Assert(Assertion::Start),
                END => Instruction::Assert(Assertion::End),
                WORD_BOUNDARY => Instruction::Assert(Assertion::WordBoundary),
                NOT_WORD_BOUNDARY => Instruction::Assert(Assertion::NotWordBoundary),
                _ => return Err(reader.error("unknown step of a pattern")),
            });
        }
        Self::new(steps).map_err(|_| reader.error("invalid pattern"))
    }
}

fn small(reader: &mut Reader<'_>) -> Result<u32, DecodeError> {
    u32::try_from(reader.number()?).map_err(|_| reader.error("number of a pattern is too large"))
}

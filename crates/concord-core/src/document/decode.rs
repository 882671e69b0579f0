//! Canonical bytes to trees. One walk serves both uses: [`Sink`] is what is done with what
//! it finds, which for validation is nothing.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use super::encode::{ARRAY, Family, MAP, STRING};
use super::{Document, DocumentError, Finite, Integer};
use crate::limits::DOCUMENT_DEPTH_MAX;

/// Builds something from the parts of a document.
trait Sink {
    type Out;
    type List;
    type Fields;
    fn null() -> Self::Out;
    fn bool(value: bool) -> Self::Out;
    fn integer(value: Integer) -> Self::Out;
    fn float(value: Finite) -> Self::Out;
    fn string(text: &str) -> Self::Out;
    fn list() -> Self::List;
    fn push(list: &mut Self::List, item: Self::Out);
    fn end_list(list: Self::List) -> Self::Out;
    fn fields() -> Self::Fields;
    fn insert(fields: &mut Self::Fields, name: &str, value: Self::Out);
    fn end_fields(fields: Self::Fields) -> Self::Out;
}

pub(super) fn decode(bytes: &[u8]) -> Result<Document, DocumentError> {
    whole::<Build>(bytes)
}

pub(super) fn validate(bytes: &[u8]) -> Result<(), DocumentError> {
    whole::<Check>(bytes)
}

fn whole<S: Sink>(bytes: &[u8]) -> Result<S::Out, DocumentError> {
    let mut walk = Walk { bytes, at: 0 };
    let out = walk.document::<S>(DOCUMENT_DEPTH_MAX)?;
    if walk.at == bytes.len() {
        Ok(out)
    } else {
        Err(walk.malformed("bytes after the document"))
    }
}

pub(super) struct Walk<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Walk<'a> {
    fn malformed(&self, what: &'static str) -> DocumentError {
        DocumentError::Malformed {
            what,
            offset: self.at,
        }
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], DocumentError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let (taken, _) = rest
            .split_at_checked(count)
            .ok_or_else(|| self.malformed("document cut short"))?;
        self.at += count;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], DocumentError> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| self.malformed("document cut short"))
    }

    fn document<S: Sink>(&mut self, depth: usize) -> Result<S::Out, DocumentError> {
        let start = self.at;
        let [marker] = self.array()?;
        match marker {
            0xc0 => Ok(S::null()),
            0xc2 => Ok(S::bool(false)),
            0xc3 => Ok(S::bool(true)),
            0xcb => {
                let value = f64::from_be_bytes(self.array()?);
                let negative_zero = value == 0.0 && value.is_sign_negative();
                let finite = Finite::new(value).filter(|_| !negative_zero);
                finite.map(S::float).ok_or(DocumentError::Malformed {
                    what: "float not canonical",
                    offset: start,
                })
            }
            0x00..=0x7f | 0xcc..=0xcf | 0xd0..=0xd3 | 0xe0..=0xff => {
                Ok(S::integer(Integer(self.integer(marker, start)?)))
            }
            0xa0..=0xbf | 0xd9..=0xdb => Ok(S::string(self.string(marker, start)?)),
            0x90..=0x9f | 0xdc | 0xdd => self.list::<S>(marker, start, depth),
            0x80..=0x8f | 0xde | 0xdf => self.fields::<S>(marker, start, depth),
            // nil-like reserved byte, binary, extensions, 32-bit floats
            0xc1 | 0xc4..=0xca | 0xd4..=0xd8 => Err(DocumentError::Malformed {
                what: "marker not allowed in a document",
                offset: start,
            }),
        }
    }

    pub(super) fn integer(&mut self, marker: u8, start: usize) -> Result<i128, DocumentError> {
        // Value and the bounds outside which this marker is the shortest form.
        let (value, shorter): (i128, core::ops::RangeInclusive<i128>) = match marker {
            0xcc => (u8::from_be_bytes(self.array()?).into(), 0..=0x7f),
            0xcd => (u16::from_be_bytes(self.array()?).into(), 0..=0xff),
            0xce => (u32::from_be_bytes(self.array()?).into(), 0..=0xffff),
            0xcf => (u64::from_be_bytes(self.array()?).into(), 0..=0xffff_ffff),
            // Signed forms are for negative numbers only.
            0xd0 => (i8::from_be_bytes(self.array()?).into(), -32..=i128::MAX),
            0xd1 => (
                i16::from_be_bytes(self.array()?).into(),
                i8::MIN.into()..=i128::MAX,
            ),
            0xd2 => (
                i32::from_be_bytes(self.array()?).into(),
                i16::MIN.into()..=i128::MAX,
            ),
            0xd3 => (
                i64::from_be_bytes(self.array()?).into(),
                i32::MIN.into()..=i128::MAX,
            ),
            fix => {
                return Ok(if fix < 0x80 {
                    fix.into()
                } else {
                    i128::from(fix) - 0x100
                });
            }
        };
        if shorter.contains(&value) {
            return Err(DocumentError::Malformed {
                what: "integer not in its shortest form",
                offset: start,
            });
        }
        Ok(value)
    }

    pub(super) fn count(
        &mut self,
        family: &Family,
        marker: u8,
        start: usize,
    ) -> Result<usize, DocumentError> {
        let (count, longest_shorter) = if Some(marker) == family.len8 {
            (
                u32::from(u8::from_be_bytes(self.array()?)),
                u32::from(family.fix.1),
            )
        } else if marker == family.len16 {
            let below = if family.len8.is_some() {
                u8::MAX
            } else {
                family.fix.1
            };
            (u32::from(u16::from_be_bytes(self.array()?)), u32::from(below))
        } else if marker == family.len32 {
            (u32::from_be_bytes(self.array()?), u32::from(u16::MAX))
        } else {
            return Ok(usize::from(marker & family.fix.1));
        };
        if count <= longest_shorter {
            return Err(DocumentError::Malformed {
                what: "length not in its shortest form",
                offset: start,
            });
        }
        usize::try_from(count).map_err(|_| DocumentError::TooLong)
    }

    fn string(&mut self, marker: u8, start: usize) -> Result<&'a str, DocumentError> {
        let length = self.count(&STRING, marker, start)?;
        let text = self.take(length)?;
        core::str::from_utf8(text).map_err(|_| DocumentError::Malformed {
            what: "string is not utf-8",
            offset: start,
        })
    }

    fn list<S: Sink>(&mut self, marker: u8, start: usize, depth: usize) -> Result<S::Out, DocumentError> {
        let depth = depth.checked_sub(1).ok_or(DocumentError::TooDeep)?;
        let count = self.count(&ARRAY, marker, start)?;
        // Nothing is reserved by the count: it may lie. Items are pushed as they are found.
        let mut list = S::list();
        for _ in 0..count {
            let item = self.document::<S>(depth)?;
            S::push(&mut list, item);
        }
        Ok(S::end_list(list))
    }

    fn fields<S: Sink>(&mut self, marker: u8, start: usize, depth: usize) -> Result<S::Out, DocumentError> {
        let depth = depth.checked_sub(1).ok_or(DocumentError::TooDeep)?;
        let count = self.count(&MAP, marker, start)?;
        let mut fields = S::fields();
        let mut last: Option<&str> = None;
        for _ in 0..count {
            let start = self.at;
            let name = match self.array()? {
                [marker @ (0xa0..=0xbf | 0xd9..=0xdb)] => self.string(marker, start)?,
                [_] => {
                    return Err(DocumentError::Malformed {
                        what: "field name is not a string",
                        offset: start,
                    });
                }
            };
            if last.is_some_and(|last| last.as_bytes() >= name.as_bytes()) {
                return Err(DocumentError::Malformed {
                    what: "field names not in order",
                    offset: start,
                });
            }
            last = Some(name);
            let value = self.document::<S>(depth)?;
            S::insert(&mut fields, name, value);
        }
        Ok(S::end_fields(fields))
    }
}

/// Keeps nothing.
struct Check;

impl Sink for Check {
    type Out = ();
    type List = ();
    type Fields = ();
    fn null() {}
    fn bool(_: bool) {}
    fn integer(_: Integer) {}
    fn float(_: Finite) {}
    fn string(_: &str) {}
    fn list() {}
    fn push((): &mut (), (): ()) {}
    fn end_list((): ()) {}
    fn fields() {}
    fn insert((): &mut (), _: &str, (): ()) {}
    fn end_fields((): ()) {}
}

/// Keeps everything.
struct Build;

impl Sink for Build {
    type Out = Document;
    type List = Vec<Document>;
    type Fields = BTreeMap<String, Document>;
    fn null() -> Document {
        Document::Null
    }
    fn bool(value: bool) -> Document {
        Document::Bool(value)
    }
    fn integer(value: Integer) -> Document {
        Document::Integer(value)
    }
    fn float(value: Finite) -> Document {
        Document::Float(value)
    }
    fn string(text: &str) -> Document {
        Document::String(text.into())
    }
    fn list() -> Self::List {
        Vec::new()
    }
    fn push(list: &mut Self::List, item: Document) {
        list.push(item);
    }
    fn end_list(list: Self::List) -> Document {
        Document::Array(list)
    }
    fn fields() -> Self::Fields {
        BTreeMap::new()
    }
    fn insert(fields: &mut Self::Fields, name: &str, value: Document) {
        fields.insert(name.into(), value);
    }
    fn end_fields(fields: Self::Fields) -> Document {
        Document::Object(fields)
    }
}

//! What a certificate says of its holder: names, and when it ends.
//!
//! Reads only certificates whose chain was verified, or files of the operator's own; whether to
//! believe them is decided in `verify`. Alternative names are read by webpki, the rest here.

use std::time::{Duration, SystemTime};

use concord_core::ids::NodeId;
use rustls::pki_types::CertificateDer;

/// What stands before the id in the name of a node.
pub const NODE_URI: &str = "concord://node/";
/// What stands before the id, 32 hexadecimal digits, in the name of a cluster.
pub const CLUSTER_URI: &str = "concord://cluster/";

/// What a certificate says of its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CertificateFacts {
    /// The common name, if it has exactly one that is fit to be shown.
    pub common_name: Option<String>,
    /// The node that it is for. A certificate without is no node's.
    pub node_id: Option<NodeId>,
    /// The cluster that the node belongs to, if it says one.
    pub cluster_id: Option<u128>,
    /// When it begins, in seconds since the Unix epoch.
    pub not_before: i64,
    /// When it ends, in seconds since the Unix epoch.
    pub not_after: i64,
}

/// A certificate that cannot be read, or names its holder in a way that cannot be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnfitCertificate(pub(crate) &'static str);

impl CertificateFacts {
    /// Reads a certificate of a client, server or node.
    ///
    /// # Errors
    ///
    /// If it is malformed, or names several nodes or clusters.
    pub fn read(der: &CertificateDer<'_>) -> Result<Self, UnfitCertificate> {
        let mut facts = Self::read_issuer(der)?;
        let certificate =
            webpki::EndEntityCert::try_from(der).map_err(|_| UnfitCertificate("certificate is malformed"))?;
        for uri in certificate.valid_uri_names() {
            if let Some(id) = uri.strip_prefix(NODE_URI) {
                let id =
                    decimal(id).ok_or(UnfitCertificate("certificate names a node without a proper id"))?;
                if facts.node_id.replace(NodeId::new(id)).is_some() {
                    return Err(UnfitCertificate("certificate names several nodes"));
                }
            } else if let Some(id) = uri.strip_prefix(CLUSTER_URI) {
                let id = hexadecimal(id).ok_or(UnfitCertificate(
                    "certificate names a cluster without a proper id",
                ))?;
                if facts.cluster_id.replace(id).is_some() {
                    return Err(UnfitCertificate("certificate names several clusters"));
                }
            }
        }
        Ok(facts)
    }

    /// Reads a certificate of an authority: nobody's own, so without the names of nodes.
    ///
    /// # Errors
    ///
    /// If it is malformed.
    pub fn read_issuer(der: &CertificateDer<'_>) -> Result<Self, UnfitCertificate> {
        read_outline(der).ok_or(UnfitCertificate("certificate is malformed"))
    }

    /// Days until it ends; negative: it has ended.
    pub fn days_left(&self, now: SystemTime) -> i64 {
        const DAY_SECONDS: i64 = 86_400;
        let now = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO)
            .as_secs();
        let left = self
            .not_after
            .saturating_sub(i64::try_from(now).unwrap_or(i64::MAX));
        left.div_euclid(DAY_SECONDS)
    }
}

/// An id as this software writes it: no sign, no leading zero, not 0. Two texts never mean one node.
fn decimal(text: &str) -> Option<u64> {
    let id: u64 = text.parse().ok()?;
    (id != 0 && id.to_string() == text).then_some(id)
}

fn hexadecimal(text: &str) -> Option<u128> {
    let id = u128::from_str_radix(text, 16).ok()?;
    (format!("{id:032x}") == text).then_some(id)
}

const INTEGER: u8 = 0x02;
const OID: u8 = 0x06;
const UTF8: u8 = 0x0c;
const PRINTABLE: u8 = 0x13;
const IA5: u8 = 0x16;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;
/// 2.5.4.3
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// Validity and common name; see RFC 5280, section 4.1.
fn read_outline(der: &[u8]) -> Option<CertificateFacts> {
    let mut whole = der;
    let mut certificate = take(&mut whole, SEQUENCE)?;
    let mut body = take(&mut certificate, SEQUENCE)?;
    if body.first() == Some(&VERSION) {
        take(&mut body, VERSION)?;
    }
    take(&mut body, INTEGER)?;
    take(&mut body, SEQUENCE)?;
    take(&mut body, SEQUENCE)?;
    let mut validity = take(&mut body, SEQUENCE)?;
    let not_before = take_time(&mut validity)?;
    let not_after = take_time(&mut validity)?;
    let subject = take(&mut body, SEQUENCE)?;
    Some(CertificateFacts {
        common_name: common_name(subject)?,
        node_id: None,
        cluster_id: None,
        not_before,
        not_after,
    })
}

/// The outer `None`: malformed. The inner one: no single name that is fit to be shown.
fn common_name(mut subject: &[u8]) -> Option<Option<String>> {
    let mut names = Vec::new();
    while !subject.is_empty() {
        let mut parts = take(&mut subject, SET)?;
        while !parts.is_empty() {
            let mut part = take(&mut parts, SEQUENCE)?;
            let is_common_name = take(&mut part, OID)? == COMMON_NAME;
            let (tag, value) = take_any(&mut part)?;
            if is_common_name {
                let text = matches!(tag, UTF8 | PRINTABLE | IA5).then(|| str::from_utf8(value));
                names.push(text.and_then(Result::ok));
            }
        }
    }
    let single = match names.as_slice() {
        [Some(name)] if !name.is_empty() && !name.contains(char::is_control) => Some((*name).to_owned()),
        _ => None,
    };
    Some(single)
}

/// Takes one value with this tag off the front.
fn take<'a>(rest: &mut &'a [u8], wanted: u8) -> Option<&'a [u8]> {
    let (tag, value) = take_any(rest)?;
    (tag == wanted).then_some(value)
}

fn take_any<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&tag, after) = rest.split_first()?;
    let (&first, mut after) = after.split_first()?;
    let length = match first {
        0..=0x7f => usize::from(first),
        // One to three bytes of length: more than any certificate has.
        0x81..=0x83 => {
            let (digits, rest) = after.split_at_checked(usize::from(first & 0x7f))?;
            after = rest;
            digits
                .iter()
                .fold(0, |length, digit| length << 8 | usize::from(*digit))
        }
        _ => return None,
    };
    let (value, after) = after.split_at_checked(length)?;
    *rest = after;
    Some((tag, value))
}

fn take_time(rest: &mut &[u8]) -> Option<i64> {
    let (tag, text) = take_any(rest)?;
    let digits = text.strip_suffix(b"Z")?;
    let (year, digits) = match tag {
        UTC_TIME => {
            let (year, digits) = digits.split_at_checked(2)?;
            let year = number(year)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, digits)
        }
        GENERALIZED_TIME => {
            let (year, digits) = digits.split_at_checked(4)?;
            (number(year)?, digits)
        }
        _ => return None,
    };
    let [month, day, hour, minute, second] = digits
        .chunks(2)
        .map(number)
        .collect::<Option<Vec<_>>>()?
        .try_into()
        .ok()?;
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    Some(((days_from_epoch(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |number, digit| {
        digit
            .is_ascii_digit()
            .then(|| number * 10 + i64::from(digit - b'0'))
    })
}

/// Days of the Gregorian calendar: years begin in March, so that the leap day is their last.
fn days_from_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests;

//! Packets of gossip: their bytes and their proof. Leaves what they mean to `exchange`.
//!
//! All have one length. The proof, HMAC-SHA256 with the cluster secret over all before it, is looked at before anything
//! but magic and version; what stands between the body and it is filling, ignored and proven.

use std::net::{IpAddr, SocketAddr};

use bytes::{Buf, BufMut};
use concord_raft::ports::PeerIdentity;
use subtle::ConstantTimeEq;

use super::stats::DropReason;
use crate::hello::{put_identity, take_identity};
use crate::limits::{GOSSIP_ADDRESS_BYTES_MAX, GOSSIP_CONTACTS_TOLD_MAX, GOSSIP_PACKET_BYTES};
use crate::proof::{ClusterSecret, PROOF_BYTES};

const MAGIC: [u8; 8] = *b"CONCORD~";
const VERSION: u16 = 1;
const LABEL: &[u8] = b"concord gossip 1\0";

const ASK: u8 = 1;
const CHALLENGE: u8 = 2;
const TELL: u8 = 3;

const IPV4: u8 = 4;
const IPV6: u8 = 6;

/// The bytes of one packet.
pub(crate) type Datagram = [u8; GOSSIP_PACKET_BYTES];

/// What an answer repeats of its question. Drawn at random for each.
pub(crate) type Question = [u8; 16];

/// What a node gives to an address, and wants to see in questions from there.
pub(crate) type Cookie = [u8; 16];

/// One packet, proven or to be proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    /// Who sends it.
    pub(crate) sender: PeerIdentity,
    /// Which question is asked, or answered.
    pub(crate) question: Question,
    pub(crate) body: Body,
}

/// What a packet is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// Who are you, and whom do you know?
    Ask {
        /// What the asked node gave to the asker's address; zeros before it gave any.
        cookie: Cookie,
    },
    /// Ask again with this cookie: it shows that the question comes from where it says.
    Challenge { cookie: Cookie },
    /// The answer.
    Tell {
        /// Where peers reach the sender.
        peer_address: String,
        /// Where others gossip.
        contacts: Vec<SocketAddr>,
    },
}

impl Packet {
    /// An address that is too long is told as none, contacts beyond the limit are left out.
    pub(crate) fn encode(&self, secret: &ClusterSecret) -> Datagram {
        let mut out = Vec::with_capacity(GOSSIP_PACKET_BYTES);
        out.put_slice(&MAGIC);
        out.put_u16(VERSION);
        out.put_u8(match self.body {
            Body::Ask { .. } => ASK,
            Body::Challenge { .. } => CHALLENGE,
            Body::Tell { .. } => TELL,
        });
        out.put_slice(&self.question);
        put_identity(&mut out, &self.sender);
        match &self.body {
            Body::Ask { cookie } | Body::Challenge { cookie } => out.put_slice(cookie),
            Body::Tell {
                peer_address,
                contacts,
            } => {
                put_address(&mut out, peer_address);
                put_contacts(&mut out, contacts);
            }
        }
        out.resize(GOSSIP_PACKET_BYTES - PROOF_BYTES, 0);
        let proof = secret.seal(LABEL, &out);
        out.put_slice(&proof);
        out.try_into()
            .expect("the longest body fits, and the rest is filled")
    }

    /// Believes nothing before the proof holds.
    pub(crate) fn decode(bytes: &[u8], secret: &ClusterSecret) -> Result<Self, DropReason> {
        let datagram: &Datagram = bytes.try_into().map_err(|_| DropReason::Size)?;
        let Some((said, proof)) = datagram.split_last_chunk::<PROOF_BYTES>() else {
            return Err(DropReason::Size);
        };
        let rest = &mut said.strip_prefix(&MAGIC).ok_or(DropReason::Malformed)?;
        if rest.try_get_u16().map_err(short)? != VERSION {
            return Err(DropReason::Version);
        }
        if !bool::from(secret.seal(LABEL, said).as_slice().ct_eq(proof)) {
            return Err(DropReason::Proof);
        }
        let kind = rest.try_get_u8().map_err(short)?;
        let question = take_chunk(rest)?;
        let sender = take_identity(rest).map_err(|_| DropReason::Malformed)?;
        let body = match kind {
            ASK => Body::Ask {
                cookie: take_chunk(rest)?,
            },
            CHALLENGE => Body::Challenge {
                cookie: take_chunk(rest)?,
            },
            TELL => Body::Tell {
                peer_address: take_address(rest)?,
                contacts: take_contacts(rest)?,
            },
            _ => return Err(DropReason::Malformed),
        };
        Ok(Self {
            sender,
            question,
            body,
        })
    }
}

fn short(_: bytes::TryGetError) -> DropReason {
    DropReason::Malformed
}

fn take_chunk<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], DropReason> {
    let mut chunk = [0; N];
    rest.try_copy_to_slice(&mut chunk).map_err(short)?;
    Ok(chunk)
}

fn put_address(out: &mut Vec<u8>, address: &str) {
    let address = match u16::try_from(address.len()) {
        Ok(length) if address.len() <= GOSSIP_ADDRESS_BYTES_MAX => {
            out.put_u16(length);
            address
        }
        _ => {
            out.put_u16(0);
            ""
        }
    };
    out.put_slice(address.as_bytes());
}

fn take_address(rest: &mut &[u8]) -> Result<String, DropReason> {
    let length = usize::from(rest.try_get_u16().map_err(short)?);
    if length > GOSSIP_ADDRESS_BYTES_MAX {
        return Err(DropReason::Malformed);
    }
    let (address, after) = rest.split_at_checked(length).ok_or(DropReason::Malformed)?;
    *rest = after;
    let address = std::str::from_utf8(address).map_err(|_| DropReason::Malformed)?;
    Ok(address.to_owned())
}

fn put_contacts(out: &mut Vec<u8>, contacts: &[SocketAddr]) {
    let told = contacts.len().min(GOSSIP_CONTACTS_TOLD_MAX);
    out.put_u8(u8::try_from(told).expect("at most 32 are told"));
    for contact in contacts.iter().take(told) {
        match contact.ip() {
            IpAddr::V4(ip) => {
                out.put_u8(IPV4);
                out.put_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                out.put_u8(IPV6);
                out.put_slice(&ip.octets());
            }
        }
        out.put_u16(contact.port());
    }
}

fn take_contacts(rest: &mut &[u8]) -> Result<Vec<SocketAddr>, DropReason> {
    let count = usize::from(rest.try_get_u8().map_err(short)?);
    if count > GOSSIP_CONTACTS_TOLD_MAX {
        return Err(DropReason::Malformed);
    }
    let mut contacts = Vec::with_capacity(count);
    for _ in 0..count {
        let ip = match rest.try_get_u8().map_err(short)? {
            IPV4 => IpAddr::from(take_chunk::<4>(rest)?),
            IPV6 => IpAddr::from(take_chunk::<16>(rest)?),
            _ => return Err(DropReason::Malformed),
        };
        contacts.push(SocketAddr::new(ip, rest.try_get_u16().map_err(short)?));
    }
    Ok(contacts)
}

#[cfg(test)]
mod tests;

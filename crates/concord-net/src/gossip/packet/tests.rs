//! Packets of gossip: committed bytes, mutations, hostile bodies.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::testing::{assert_golden, golden, node, secret};

const GOLDEN: &str = include_str!("../../../testdata/gossip-v1.hex");

fn packet(body: Body) -> Packet {
    Packet {
        sender: node(3),
        question: [0x0a; 16],
        body,
    }
}

fn tell(contacts: Vec<SocketAddr>) -> Packet {
    packet(Body::Tell {
        peer_address: "node-3.example:4100".to_owned(),
        contacts,
    })
}

/// A datagram with these bytes in front of its filling, and a proof that holds.
fn sealed(said: &[u8]) -> Datagram {
    let mut out = said.to_vec();
    out.resize(GOSSIP_PACKET_BYTES - PROOF_BYTES, 0);
    let proof = secret(1).seal(LABEL, &out);
    out.extend_from_slice(&proof);
    out.try_into().unwrap()
}

#[test]
fn packets_of_version_1_have_these_bytes() {
    let mut outside = packet(Body::Ask { cookie: [0xc0; 16] });
    outside.sender.cluster_id = None;
    let contacts = ["10.0.0.2:4200", "[2001:db8::2]:4201"].map(|a| a.parse().unwrap());
    for (name, packet) in [
        ("ask", outside),
        ("challenge", packet(Body::Challenge { cookie: [0xc0; 16] })),
        ("tell", tell(contacts.to_vec())),
    ] {
        // The filling is not committed: the length and the proof say that it is zeros.
        let bytes = packet.encode(&secret(1));
        let (said, proof) = bytes.split_at(GOSSIP_PACKET_BYTES - PROOF_BYTES);
        let body = said.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        assert_golden(GOLDEN, &format!("{name}, said"), &said[..body]);
        assert_golden(GOLDEN, &format!("{name}, proof"), proof);
        let committed = golden(GOLDEN, &format!("{name}, said"));
        assert_eq!(Packet::decode(&sealed(&committed), &secret(1)), Ok(packet));
    }
}

/// D-SEC-13: what is not proven is not read.
#[test]
fn changed_bit_or_another_secret_drops_a_packet() {
    let bytes = tell(vec!["10.0.0.2:4200".parse().unwrap()]).encode(&secret(1));
    assert_eq!(Packet::decode(&bytes, &secret(2)), Err(DropReason::Proof));
    for at in 0..bytes.len() {
        let mut changed = bytes;
        changed[at] ^= 0x10;
        let expected = match at {
            0..8 => DropReason::Malformed,
            8..10 => DropReason::Version,
            _ => DropReason::Proof,
        };
        assert_eq!(Packet::decode(&changed, &secret(1)), Err(expected), "byte {at}");
    }
}

#[test]
fn packet_of_another_length_is_dropped_unread() {
    let bytes = tell(Vec::new()).encode(&secret(1));
    let mut longer = bytes.to_vec();
    longer.push(0);
    for wrong in [&[], &bytes[..1], &bytes[..bytes.len() - 1], &longer] {
        assert_eq!(Packet::decode(wrong, &secret(1)), Err(DropReason::Size));
    }
}

/// A later release may use some of what is filling now.
#[test]
fn proven_filling_is_ignored() {
    let mut grown = tell(Vec::new()).encode(&secret(1))[..GOSSIP_PACKET_BYTES - PROOF_BYTES].to_vec();
    *grown.last_mut().unwrap() = 7;
    assert_eq!(Packet::decode(&sealed(&grown), &secret(1)), Ok(tell(Vec::new())));
}

#[test]
fn most_that_can_be_told_fits() {
    let contacts: Vec<SocketAddr> = (0..100)
        .map(|port| SocketAddr::new(IpAddr::from([0xab; 16]), port))
        .collect();
    let longest = packet(Body::Tell {
        peer_address: "a".repeat(GOSSIP_ADDRESS_BYTES_MAX),
        contacts: contacts.clone(),
    });
    let told = packet(Body::Tell {
        peer_address: "a".repeat(GOSSIP_ADDRESS_BYTES_MAX),
        contacts: contacts[..GOSSIP_CONTACTS_TOLD_MAX].to_vec(),
    });
    assert_eq!(Packet::decode(&longest.encode(&secret(1)), &secret(1)), Ok(told));
    let unspeakable = packet(Body::Tell {
        peer_address: "a".repeat(GOSSIP_ADDRESS_BYTES_MAX + 1),
        contacts: Vec::new(),
    });
    let nowhere = packet(Body::Tell {
        peer_address: String::new(),
        contacts: Vec::new(),
    });
    assert_eq!(
        Packet::decode(&unspeakable.encode(&secret(1)), &secret(1)),
        Ok(nowhere)
    );
}

proptest! {
    #[test]
    fn random_datagrams_never_panic_and_are_never_believed(bytes in vec(any::<u8>(), 0..1_400)) {
        prop_assert!(Packet::decode(&bytes, &secret(1)).is_err());
    }

    /// Whoever knows the secret may still be broken: each body is read whole or refused.
    #[test]
    fn random_bodies_with_a_good_proof_never_panic(
        kind in 0_u8..5,
        body in vec(any::<u8>(), 0..GOSSIP_PACKET_BYTES - PROOF_BYTES - 11),
    ) {
        let said = [&MAGIC[..], &VERSION.to_be_bytes(), &[kind], &body].concat();
        if let Ok(packet) = Packet::decode(&sealed(&said), &secret(1)) {
            let again = packet.encode(&secret(1));
            prop_assert_eq!(Packet::decode(&again, &secret(1)), Ok(packet));
        }
    }

    #[test]
    fn what_is_told_is_heard(
        ports in vec((any::<u32>(), any::<bool>(), any::<u16>()), 0..GOSSIP_CONTACTS_TOLD_MAX),
        peer_address in "[a-z.]{0,60}:[0-9]{1,5}",
    ) {
        let contacts = ports.into_iter().map(|(ip, is_v4, port)| {
            let ip = if is_v4 { IpAddr::from(ip.to_be_bytes()) } else { IpAddr::from(u128::from(ip).to_be_bytes()) };
            SocketAddr::new(ip, port)
        });
        let told = packet(Body::Tell { peer_address, contacts: contacts.collect() });
        prop_assert_eq!(Packet::decode(&told.encode(&secret(1)), &secret(1)), Ok(told));
    }
}

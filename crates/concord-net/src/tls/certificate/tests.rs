//! Certificates made by another library, and pieces of them.

use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType, date_time_ymd};

use super::*;

fn make(common_names: &[&str], uris: &[&str]) -> CertificateDer<'static> {
    let mut params = CertificateParams::new(vec!["host.example".to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::OrganizationName, "somebody");
    for name in common_names {
        params.distinguished_name.push(DnType::CommonName, *name);
    }
    let uris = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap()));
    params.subject_alt_names.extend(uris);
    params.not_before = date_time_ymd(2024, 2, 29);
    params.not_after = date_time_ymd(2050, 3, 1);
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().into()
}

/// Computed with `date -u -d 2024-02-29 +%s`, and so on.
const BEGIN: i64 = 1_709_164_800;

#[test]
fn names_and_times_are_read_as_they_were_written() {
    let cluster = format!("{CLUSTER_URI}{:032x}", 0xab_u128);
    let der = make(
        &["alice"],
        &["concord://node/7", &cluster, "https://other.example"],
    );
    let facts = CertificateFacts::read(&der).unwrap();
    assert_eq!(facts.common_name.as_deref(), Some("alice"));
    assert_eq!(facts.node_id, Some(NodeId::new(7)));
    assert_eq!(facts.cluster_id, Some(0xab));
    assert_eq!(facts.not_before, BEGIN);
    assert_eq!(facts.not_after, days_from_epoch(2050, 3, 1) * 86_400);
}

#[test]
fn days_are_those_of_the_calendar() {
    // As `date -u -d ... +%s` has them, divided by 86,400.
    for ((year, month, day), days) in [
        ((1970, 1, 1), 0),
        ((1969, 12, 31), -1),
        ((2000, 2, 29), 11_016),
        ((2000, 3, 1), 11_017),
        ((2024, 2, 29), 19_782),
        ((2050, 1, 1), 29_220),
        ((2100, 3, 1), 47_541),
    ] {
        assert_eq!(days_from_epoch(year, month, day), days, "{year}-{month}-{day}");
    }
}

#[test]
fn holder_without_one_clear_name_has_none() {
    for names in [&[][..], &[""], &["a\u{0}b"], &["a\nb"]] {
        let facts = CertificateFacts::read(&make(names, &[])).unwrap();
        assert_eq!(facts.common_name, None, "{names:?}");
        assert_eq!(facts.node_id, None);
    }
}

#[test]
fn node_is_named_once_and_in_one_way_only() {
    for uris in [
        &["concord://node/1", "concord://node/2"][..],
        &["concord://node/1", "concord://node/1"],
        &["concord://node/0"],
        &["concord://node/01"],
        &["concord://node/+1"],
        &["concord://node/"],
        &["concord://node/1/2"],
        &["concord://node/99999999999999999999"],
        &["concord://cluster/1"],
        &["concord://cluster/000000000000000000000000000000AB"],
    ] {
        assert!(CertificateFacts::read(&make(&["x"], uris)).is_err(), "{uris:?}");
    }
}

#[test]
fn every_cut_and_every_changed_byte_is_read_without_a_panic() {
    let der = make(&["alice"], &["concord://node/7"]);
    for end in 0..der.len() {
        assert!(CertificateFacts::read(&CertificateDer::from(&der[..end])).is_err());
    }
    for at in 0..der.len() {
        for value in [0, 0x7f, 0x80, 0x84, 0xff, der[at].wrapping_add(1)] {
            let mut changed = der.to_vec();
            changed[at] = value;
            let changed = CertificateDer::from(changed);
            let _ = CertificateFacts::read(&changed);
            let _ = CertificateFacts::read_issuer(&changed);
        }
    }
}

#[test]
fn days_left_are_whole_days_and_negative_after_the_end() {
    let facts = CertificateFacts::read(&make(&["x"], &[])).unwrap();
    let end = SystemTime::UNIX_EPOCH + Duration::from_secs(facts.not_after.unsigned_abs());
    let day = Duration::from_secs(86_400);
    assert_eq!(facts.days_left(end - day), 1);
    assert_eq!(facts.days_left(end - day / 2), 0);
    assert_eq!(facts.days_left(end + Duration::from_secs(1)), -1);
}

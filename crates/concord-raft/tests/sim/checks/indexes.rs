//! An index has what a look at every record finds, at whatever revision and on whichever replica.

use std::ops::Bound;

use concord_core::index::{IndexName, IndexProgress};
use concord_core::{Direction, IndexRequest, KeyRange, ReadView};

use crate::workload::data::{DATA, INDEX};

/// Compares the index of the workload, if there is one and it is filled, with all records. Says whether it did.
pub(crate) fn look(view: &ReadView) -> Result<bool, String> {
    let name = IndexName::new(INDEX).expect("a short name");
    let is_ready = |progress: &IndexProgress| *progress == IndexProgress::Ready;
    if !view.index(&name).is_some_and(|index| is_ready(&index.progress)) {
        return Ok(false);
    }
    let request = IndexRequest::range(name, Bound::Unbounded, Bound::Unbounded);
    let page = view
        .lookup(&request)
        .map_err(|error| format!("I9: the index cannot be asked: {error}"))?;
    let found = page.records.iter().map(|record| {
        let text = record.value.as_text().unwrap_or_default().to_owned();
        (text, record.key.as_bytes().to_vec())
    });
    compare(view, found.collect()).map(|()| true)
}

/// `found`: values and keys in the order of the index.
fn compare(view: &ReadView, found: Vec<(String, Vec<u8>)>) -> Result<(), String> {
    let range = KeyRange::prefix(DATA);
    let mut expected: Vec<(String, Vec<u8>)> = view
        .records(&range, Direction::Ascending)
        .map(|record| {
            let value = record.to_record().expect("no value is damaged here").value;
            (
                value.as_text().unwrap_or_default().to_owned(),
                record.key().to_vec(),
            )
        })
        .collect();
    expected.sort();
    if found == expected {
        return Ok(());
    }
    Err(format!(
        "I9: at revision {} the index has {found:?}, all records are {expected:?}",
        view.revision()
    ))
}

#[test]
fn an_index_that_misses_a_record_is_found() {
    let put = |key: &str, value: &str| super::tests::put_of(&format!("{DATA}{key}"), value);
    let (view, _) = super::tests::store_after(&[put("a", "2"), put("b", "1")]);
    let entry = |value: &str, key: &str| (value.to_owned(), format!("{DATA}{key}").into_bytes());
    let whole = vec![entry("1", "b"), entry("2", "a")];
    assert_eq!(compare(&view, whole.clone()), Ok(()));
    for wrong in [
        vec![],
        whole[1..].to_vec(),
        vec![whole[1].clone(), whole[0].clone()],
        vec![whole[0].clone(), whole[1].clone(), whole[1].clone()],
        vec![entry("1", "b"), entry("3", "a")],
    ] {
        let error = compare(&view, wrong).unwrap_err();
        assert!(error.starts_with("I9"), "{error}");
    }
}

//! Random changes, drops and views against a plain queue.

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::ids::Revision;

type Model = VecDeque<(Place, Vec<u8>)>;

#[derive(Clone, Debug)]
enum Step {
    /// Changes with cells of these lengths, at a revision that is so much later.
    Push(u64, Vec<usize>),
    Drop(usize),
    View,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let cells = prop::collection::vec(prop_oneof![8 => 0..90_usize, 1 => 200..700_usize], 1..6);
    let step = prop_oneof![
        4 => (1..3_u64, cells).prop_map(|(later, lengths)| Step::Push(later, lengths)),
        2 => (1..12_usize).prop_map(Step::Drop),
        1 => Just(Step::View),
    ];
    prop::collection::vec(step, 0..80)
}

fn compare(log: &ChangeLog, model: &Model) {
    assert_eq!(log.check(), Ok(()));
    assert_eq!(log.len(), model.len());
    let all: Vec<_> = model
        .iter()
        .map(|(place, cell)| (*place, cell.as_slice()))
        .collect();
    assert_eq!(log.iter().collect::<Vec<_>>(), all);
    assert_eq!(log.first(), all.first().copied());
    for (at, (place, cell)) in model.iter().enumerate() {
        assert_eq!(log.get(*place), Some(cell.as_slice()));
        assert_eq!(log.after(*place).collect::<Vec<_>>(), all[at + 1..]);
        let between = Place {
            order: place.order + 1_000,
            ..*place
        };
        assert_eq!(log.get(between), None);
        let rest = all.iter().skip_while(|(place, _)| *place <= between);
        assert!(log.after(between).eq(rest.copied()));
    }
    let none = Place {
        revision: Revision::new(0),
        order: 0,
    };
    assert_eq!(log.get(none), None);
    assert!(log.after(none).eq(all));
}

fn push(log: &mut ChangeLog, model: &mut Model, place: Place, cell: Vec<u8>) {
    let taken = log.push(place, |out| out.extend_from_slice(&cell));
    assert_eq!(taken, PLACE_BYTES + cell.len());
    model.push_back((place, cell));
}

proptest! {
    /// I15 for the change log.
    #[test]
    fn log_and_its_views_match_the_model(steps in steps()) {
        let (mut log, mut model) = (ChangeLog::default(), Model::new());
        let mut views = vec![];
        let mut revision = Revision::new(1);
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Push(later, lengths) => {
                    revision = Revision::new(revision.get() + later);
                    for (order, length) in (0..).zip(lengths) {
                        let cell = vec![u8::try_from(number).unwrap(); length];
                        push(&mut log, &mut model, Place { revision, order }, cell);
                    }
                }
                Step::Drop(count) => {
                    for _ in 0..count {
                        log.drop_first();
                        model.pop_front();
                    }
                }
                Step::View => views.push((log.clone(), model.clone())),
            }
            compare(&log, &model);
        }
        for (view, model) in views {
            compare(&view, &model);
        }
    }
}

//! Damage to a log at rest: every byte, every sector, files, versions.

use std::path::PathBuf;

use concord_raft::StorageError;
use concord_raft::ports::Disk;
use concord_raft::sim_disk::SimDisk;

use crate::harness::{Work, recover, segments};
use crate::model::{Model, Promise};

/// A log of several segments, closed well, and what is in it.
fn closed_log(seed: u64, steps: usize) -> (SimDisk, Model) {
    let mut work = Work::new(seed);
    for _ in 0..steps {
        assert!(work.step());
    }
    work.close();
    let model = work.history.lock().unwrap().model.clone();
    assert_eq!(
        recover(&work.disk.fork(1), true).unwrap(),
        model,
        "the log is whole before it is damaged"
    );
    (work.disk.fork(1), model)
}

/// All files of a disk, to see that a refusal changed nothing.
fn all(disk: &SimDisk) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    disk.paths()
        .into_iter()
        .map(|path| (path.clone(), disk.contents(&path)))
        .collect()
}

/// How an image was taken.
#[derive(Default)]
struct Verdicts {
    refused: u64,
    harmless: u64,
}

impl Verdicts {
    /// Damage must be refused, with nothing changed, or make no difference at all.
    fn judge(&mut self, disk: &SimDisk, model: &Model, what: &str) {
        let before = all(disk);
        match recover(disk, true) {
            Ok(found) => {
                let promise = Promise::exactly(model.clone());
                assert!(
                    promise.allows(&found),
                    "{what} went unnoticed: {}",
                    promise.explain(&found)
                );
                self.harmless += 1;
            }
            Err(StorageError::Corrupt { .. }) => {
                assert_eq!(all(disk), before, "{what}: a refusal changed something");
                self.refused += 1;
            }
            Err(error) => panic!("{what}: {error}"),
        }
    }

    fn total(&self) -> u64 {
        self.refused + self.harmless
    }
}

/// One flipped bit in every byte that was ever written, and in some that were not.
#[test]
fn every_flipped_bit_is_refused_or_harmless() {
    let mut verdicts = Verdicts::default();
    let (mut dead_space, mut last_seal) = (0, 0);
    let seed = 1;
    let (disk, model) = closed_log(seed, 45);
    for path in segments(&disk) {
        let bytes = disk.contents(&path).unwrap();
        let used = bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        for offset in (0..used).chain((used..bytes.len()).step_by(61)) {
            let image = disk.fork(seed);
            let mask = 1_u8 << (offset % 8);
            assert!(image.flip(&path, offset as u64, mask));
            let harmless = verdicts.harmless;
            verdicts.judge(
                &image,
                &model,
                &format!("bit {mask:#x} of byte {offset} of {}", path.display()),
            );
            if verdicts.harmless > harmless {
                // Only what is not data may not matter: the rest of the header's
                // sector, the space after the end, and the seal, which is not data.
                if (48..512).contains(&offset) || offset >= used {
                    dead_space += 1;
                } else {
                    last_seal += 1;
                    assert!(offset + 32 >= used, "byte {offset} of {used} does not matter");
                }
            }
        }
    }
    let Verdicts { refused, harmless } = verdicts;
    println!(
        "{} images: {refused} refused, {harmless} harmless ({dead_space} dead space, {last_seal} last seal)",
        refused + harmless
    );
    assert!(refused >= 18_000 && harmless == dead_space + last_seal);
}

/// A file that was cut short, at every byte, is not taken for a log that ends there.
#[test]
fn a_file_that_lost_its_end_is_refused() {
    let mut verdicts = Verdicts::default();
    let (disk, model) = closed_log(3, 12);
    for path in segments(&disk) {
        let bytes = disk.contents(&path).unwrap();
        for len in 0..bytes.len() {
            let image = disk.fork(1);
            image.set_contents(&path, &bytes[..len]);
            verdicts.judge(&image, &model, &format!("{} cut to {len} bytes", path.display()));
        }
    }
    println!("{} images, all refused", verdicts.total());
    assert!(verdicts.harmless == 0 && verdicts.refused >= 15_000);
}

/// Sectors that were lost, written elsewhere, or left as they were.
#[test]
fn lost_and_misdirected_sectors_are_refused_or_harmless() {
    const SECTOR: usize = 512;
    let mut verdicts = Verdicts::default();
    for seed in 4..=6 {
        let (disk, model) = closed_log(seed, 50);
        let paths = segments(&disk);
        for (at, path) in paths.iter().enumerate() {
            let bytes = disk.contents(path).unwrap();
            let used = bytes
                .iter()
                .rposition(|byte| *byte != 0)
                .map_or(0, |last| last + 1);
            // The seal that closes the log is what vouches for the end. If the write of
            // the last sector is lost altogether, nothing here can tell.
            let last = used / SECTOR;
            let is_newest = paths[at + 1..]
                .iter()
                .all(|path| disk.contents(path).unwrap()[512..].iter().all(|b| *b == 0));
            for sector in 0..used.div_ceil(SECTOR) {
                if is_newest && sector + 1 >= last {
                    continue;
                }
                let place = sector * SECTOR..(sector + 1) * SECTOR;
                for other in [sector + 1, sector.saturating_sub(1), 7, 15] {
                    let other = &bytes[other.min(15) * SECTOR..][..SECTOR];
                    let elsewhere = disk.contents(&paths[(at + 1) % paths.len()]).unwrap();
                    // Segments have different lengths.
                    let elsewhere = elsewhere.get(place.clone()).unwrap_or(&[0; SECTOR]);
                    for new in [other, elsewhere, &[0; SECTOR]] {
                        let image = disk.fork(1);
                        let mut damaged = bytes.clone();
                        damaged[place.clone()].copy_from_slice(new);
                        if damaged == bytes {
                            continue;
                        }
                        image.set_contents(path, &damaged);
                        verdicts.judge(&image, &model, &format!("sector {sector} of {}", path.display()));
                    }
                }
            }
        }
    }
    let Verdicts { refused, harmless } = verdicts;
    println!(
        "{} images: {refused} refused, {harmless} harmless",
        refused + harmless
    );
    assert!(refused >= 500);
}

/// A segment that is gone, in the middle or at the end, is missed; so is the whole log.
#[test]
fn a_missing_segment_is_refused() {
    let (disk, model) = closed_log(7, 60);
    let paths = segments(&disk);
    assert!(paths.len() > 4, "{} segments", paths.len());
    let mut verdicts = Verdicts::default();
    // The newest is the one made ahead of need: it holds nothing yet.
    for path in &paths[..paths.len() - 1] {
        let image = disk.fork(1);
        image.lose(path);
        verdicts.judge(&image, &model, &format!("{} missing", path.display()));
    }
    assert_eq!(verdicts.harmless, 0);
    let image = disk.fork(1);
    for path in &paths {
        image.lose(path);
    }
    assert!(matches!(recover(&image, true), Err(StorageError::Corrupt { .. })));
    assert!(
        recover(&image, false).is_ok(),
        "a node of no cluster may begin anew"
    );
}

/// The last frame torn at every byte, with either end new, is cut or complete.
#[test]
fn a_torn_last_frame_is_cut_at_every_byte() {
    let mut images = 0;
    for seed in 10..=25 {
        let mut work = Work::new(seed);
        for _ in 0..20 {
            assert!(work.step());
        }
        work.disk.stop_after(u64::MAX);
        let before = work.disk.fork(1);
        let promised = work.history.lock().unwrap().model.clone();
        assert!(work.step());
        let history = work.history.lock().unwrap().clone();
        let after = work.disk.fork(1);
        for path in segments(&after) {
            let (Some(old), Some(new)) = (before.contents(&path), after.contents(&path)) else {
                continue;
            };
            let Some(start) = old.iter().zip(&new).position(|(old, new)| old != new) else {
                continue;
            };
            let end = 1 + old.iter().zip(&new).rposition(|(old, new)| old != new).unwrap();
            for cut in start..=end {
                let head_new = [&new[..cut], &old[cut..]].concat();
                let tail_new = [&old[..cut], &new[cut..]].concat();
                for bytes in [head_new, tail_new] {
                    let image = before.fork(1);
                    image.set_contents(&path, &bytes);
                    // The frames of one step were synced one by one: a part of an earlier
                    // one missing while a later one is there cannot come from a crash.
                    match recover(&image, true) {
                        Ok(found) => {
                            let mut model = promised.clone();
                            let skip =
                                history.events.len() - new_events(&history.events, &promised, &history.model);
                            let fits = model == found
                                || history.events[skip..].iter().any(|event| {
                                    model.apply(event);
                                    model == found
                                });
                            assert!(fits, "seed {seed} cut {cut}");
                        }
                        Err(StorageError::Corrupt { .. }) if image.contents(&path).unwrap() == bytes => {}
                        Err(error) => panic!("seed {seed} cut {cut}: {error}"),
                    }
                    images += 1;
                }
            }
        }
    }
    println!("{images} images");
    assert!(images >= 5_000);
}

/// How many of the last events lead from one model to the other.
fn new_events(events: &[crate::model::Event], from: &Model, to: &Model) -> usize {
    (0..=events.len())
        .find(|count| {
            let mut model = from.clone();
            events[events.len() - count..]
                .iter()
                .for_each(|event| model.apply(event));
            model == *to
        })
        .expect("the step's events lead there")
}

/// A newer release's log is left alone, and named as such.
#[test]
fn a_newer_format_version_is_refused_with_its_number() {
    let (disk, _) = closed_log(8, 5);
    let path = &segments(&disk)[0];
    let mut bytes = disk.contents(path).unwrap();
    bytes[8..12].copy_from_slice(&7_u32.to_le_bytes());
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..48]);
    bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
    disk.set_contents(path, &bytes);
    match recover(&disk, true) {
        Err(StorageError::Version {
            file,
            found: 7,
            supported: 1,
        }) => assert_eq!(&file, path),
        other => panic!("{other:?}"),
    }
}

/// Another store's segment is not taken up.
#[test]
fn a_foreign_segment_is_refused() {
    let (disk, _) = closed_log(9, 5);
    let path = &segments(&disk)[0];
    let mut bytes = disk.contents(path).unwrap();
    bytes[16] ^= 1;
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..48]);
    bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
    disk.set_contents(path, &bytes);
    assert!(matches!(recover(&disk, true), Err(StorageError::Foreign { .. })));
    assert!(disk.exists(path).unwrap());
}

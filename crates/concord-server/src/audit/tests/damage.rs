//! What is found, and what a crash looks like.

use std::fs;

use proptest::prelude::*;
use tempfile::tempdir;

use super::*;
use crate::audit::chain::{Hash, Seal};
use crate::audit::line::Sealed;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
}

#[tokio::test]
async fn an_untouched_log_is_intact_over_files_and_restarts() {
    for config in [small(), keyed(small())] {
        let dir = tempdir().unwrap();
        for _ in 0..3 {
            written(dir.path(), &config, 20).await;
        }
        let report = verify(dir.path(), &config);
        assert!(report.intact, "{report:?}");
        assert_eq!(report.events, 60);
        assert_eq!(report.lines, lines(dir.path()).len() as u64);
        assert_eq!((report.first_seq, report.last_seq), (1, report.lines));
        assert_eq!(report.keyed, config.secret.is_some());
        assert!(
            of_kind(dir.path(), "header")
                .iter()
                .skip(1)
                .all(|header| header["opened"] == "rotation" || header["clean"] == true)
        );
    }
}

/// Something that somebody may do to the lines of a log.
#[derive(Clone, Debug)]
enum Change {
    EditByte(usize, usize, u8),
    Drop(usize),
    Swap(usize),
    Repeat(usize),
    Insert(usize),
    CutBehind(usize),
    DropFile(usize),
    SwapFiles(usize),
}

fn changes() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (any::<usize>(), any::<usize>(), 1..=255_u8).prop_map(|(line, at, flip)| Change::EditByte(line, at, flip)),
        1 => any::<usize>().prop_map(Change::Drop),
        1 => any::<usize>().prop_map(Change::Swap),
        1 => any::<usize>().prop_map(Change::Repeat),
        1 => any::<usize>().prop_map(Change::Insert),
        1 => any::<usize>().prop_map(Change::CutBehind),
        1 => any::<usize>().prop_map(Change::DropFile),
        1 => any::<usize>().prop_map(Change::SwapFiles),
    ]
}

/// The file that has a line, counted over all files, with its lines, and the place among them.
fn locate(dir: &Path, line: usize) -> (std::path::PathBuf, Vec<Vec<u8>>, usize) {
    let mut line = line % lines(dir).len();
    for path in files::list(dir).unwrap().into_values() {
        let text = fs::read(&path).unwrap();
        let split = text.split_inclusive(|byte| *byte == b'\n');
        let in_file: Vec<Vec<u8>> = split.map(<[u8]>::to_vec).collect();
        if line < in_file.len() {
            return (path, in_file, line);
        }
        line -= in_file.len();
    }
    unreachable!("there are so many lines")
}

/// Makes the change; `false` if it changes nothing.
fn make(dir: &Path, change: &Change) -> bool {
    let paths: Vec<_> = files::list(dir).unwrap().into_values().collect();
    match change {
        Change::EditByte(..) | Change::Drop(_) | Change::Swap(_) | Change::Repeat(_) | Change::Insert(_) => {
            return make_in_file(dir, change);
        }
        Change::CutBehind(line) => {
            let (path, all, line) = locate(dir, *line);
            if line + 1 == all.len() && Some(&path) == paths.last() {
                return false;
            }
            fs::write(&path, all[..=line].concat()).unwrap();
            for later in paths.iter().skip_while(|other| **other != path).skip(1) {
                fs::remove_file(later).unwrap();
            }
        }
        Change::DropFile(file) => fs::remove_file(&paths[file % paths.len()]).unwrap(),
        Change::SwapFiles(file) => {
            let (one, other) = (&paths[file % paths.len()], &paths[(file + 1) % paths.len()]);
            let (left, right) = (fs::read(one).unwrap(), fs::read(other).unwrap());
            fs::write(one, right).unwrap();
            fs::write(other, left).unwrap();
        }
    }
    true
}

fn make_in_file(dir: &Path, change: &Change) -> bool {
    let (Change::EditByte(line, ..)
    | Change::Drop(line)
    | Change::Swap(line)
    | Change::Repeat(line)
    | Change::Insert(line)
    | Change::CutBehind(line)
    | Change::DropFile(line)
    | Change::SwapFiles(line)) = change;
    let (path, mut all, line) = locate(dir, *line);
    match change {
        Change::EditByte(_, at, flip) => {
            let at = at % all[line].len();
            all[line][at] ^= flip;
        }
        Change::Drop(_) => drop(all.remove(line)),
        Change::Swap(_) if line + 1 == all.len() => return false,
        Change::Swap(_) => all.swap(line, line + 1),
        Change::Repeat(_) => all.insert(line, all[line].clone()),
        // With a hash of its own that is right: what follows does not follow it.
        Change::Insert(_) => {
            let sealed = Sealed::parse(all[line].trim_ascii_end()).unwrap();
            let body = [sealed.body, b",\"added\":1"].concat();
            let hash = Seal::Plain.hash(&sealed.hash, &body);
            let made = [
                body.as_slice(),
                b",\"hash\":\"",
                hash.as_str().as_bytes(),
                b"\"}\n",
            ]
            .concat();
            all.insert(line + 1, made);
        }
        Change::CutBehind(_) | Change::DropFile(_) | Change::SwapFiles(_) => unreachable!("about files"),
    }
    fs::write(path, all.concat()).unwrap();
    true
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// D-AUD-3: whatever is edited, dropped, reordered, added or cut is found.
    #[test]
    fn any_change_of_a_closed_log_is_found(change in changes(), is_keyed in any::<bool>()) {
        let dir = tempdir().unwrap();
        let config = if is_keyed { keyed(small()) } else { small() };
        runtime().block_on(written(dir.path(), &config, 12));
        prop_assert!(verify(dir.path(), &config).intact);
        if make(dir.path(), &change) {
            let report = verify(dir.path(), &config);
            prop_assert!(!report.intact, "{report:?}");
            prop_assert!(!report.findings.is_empty());
        }
    }
}

/// A process that was killed leaves part of a line: cut at every byte, it is cut off, noted, and the log goes on.
#[tokio::test]
async fn a_torn_last_line_is_cut_at_every_byte_and_noted() {
    let origin = tempdir().unwrap();
    let config = small();
    let recorder = open(origin.path(), &config);
    // The file that names the end is behind, as after a crash.
    let head = fs::read(origin.path().join("head.json")).unwrap();
    record_many(&recorder, 2).await;
    recorder.close().await;
    let whole = fs::read(files::path_of(origin.path(), 1)).unwrap();
    let begin = |lines_back: usize| {
        let feeds: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] == b'\n').collect();
        feeds[feeds.len() - 1 - lines_back] + 1
    };
    let (last_event, last_line) = (begin(2), begin(1));
    for cut in last_event + 1..last_line {
        let dir = tempdir().unwrap();
        fs::write(files::path_of(dir.path(), 1), &whole[..cut]).unwrap();
        fs::write(dir.path().join("head.json"), &head).unwrap();
        let before = verify(dir.path(), &config);
        assert!(
            before.intact,
            "a line that is being written is no damage: {before:?}"
        );
        assert_eq!(before.torn_bytes, (cut - last_event) as u64);
        let recorder = open(dir.path(), &config);
        record(&recorder, "later").await.unwrap();
        recorder.close().await;
        let report = verify(dir.path(), &config);
        assert!(report.intact, "{report:?}");
        assert_eq!(report.events, 2);
        let header = &of_kind(dir.path(), "header")[1];
        assert_eq!(header["torn_bytes_cut"], cut - last_event);
        assert_eq!(header["clean"], false);
    }
}

/// A cut between lines looks like nothing at all, but for what names the end: the file beside the log, or the operator.
#[tokio::test]
async fn a_cut_between_lines_is_found_by_what_names_the_end() {
    let dir = tempdir().unwrap();
    let config = keyed(small());
    let recorder = open(dir.path(), &config);
    let old_head = fs::read(dir.path().join("head.json")).unwrap();
    record_many(&recorder, 2).await;
    recorder.close().await;
    let noted = verify(dir.path(), &config);
    let noted = AuditHead {
        seq: noted.last_seq,
        hash: noted.last_hash,
    };
    let path = files::path_of(dir.path(), 1);
    let whole = fs::read_to_string(&path).unwrap();
    let kept: Vec<&str> = whole.split_inclusive('\n').take(2).collect();
    fs::write(&path, kept.concat()).unwrap();
    assert!(!verify(dir.path(), &config).intact);
    // Whoever also puts back an old head is found only by what was noted elsewhere.
    fs::write(dir.path().join("head.json"), old_head).unwrap();
    assert!(verify(dir.path(), &config).intact);
    let report = verify_noted(dir.path(), &config, vec![noted.clone()]);
    assert!(!report.intact);
    fs::write(&path, &whole).unwrap();
    assert!(verify_noted(dir.path(), &config, vec![noted]).intact);
    fs::remove_file(dir.path().join("head.json")).unwrap();
    assert!(
        !verify(dir.path(), &config).intact,
        "a head that is gone is a finding"
    );
}

/// Without a secret whoever may write the files may also write another history. With one, they cannot.
#[tokio::test]
async fn a_history_written_anew_is_found_by_its_seal() {
    let dir = tempdir().unwrap();
    let config = keyed(AuditConfig::new());
    written(dir.path(), &config, 5).await;
    let mut head = Hash::NONE;
    let mut forged = Vec::new();
    for line in lines(dir.path()) {
        let line = line
            .replace("key:002", "key:999")
            .replace("hmac-sha256", "sha256");
        let sealed = Sealed::parse(line.as_bytes()).unwrap();
        head = Seal::Plain.hash(&head, sealed.body);
        forged.extend([sealed.body, b",\"hash\":\"", head.as_str().as_bytes(), b"\"}\n"].concat());
    }
    fs::write(files::path_of(dir.path(), 1), forged).unwrap();
    let as_copy = |keys| read::verify(dir.path(), keys, Vec::new(), true).unwrap();
    assert!(as_copy(Vec::new()).intact, "the forgery is well made");
    assert!(!as_copy(keys_of(&config)).intact);
}

/// A log that goes on behind damage does not hide it.
#[tokio::test]
async fn a_restart_does_not_mend_what_was_cut() {
    let dir = tempdir().unwrap();
    let config = small();
    written(dir.path(), &config, 3).await;
    let path = files::path_of(dir.path(), 1);
    let whole = fs::read_to_string(&path).unwrap();
    let kept: Vec<&str> = whole.split_inclusive('\n').take(2).collect();
    fs::write(&path, kept.concat()).unwrap();
    written(dir.path(), &config, 3).await;
    let report = verify(dir.path(), &config);
    assert!(!report.intact, "{report:?}");
    assert!(of_kind(dir.path(), "header")[1]["damage"].is_string());
    assert_eq!(report.events, 4);
    for (_, path) in files::list(dir.path()).unwrap() {
        fs::remove_file(path).unwrap();
    }
    written(dir.path(), &config, 1).await;
    assert!(
        !verify(dir.path(), &config).intact,
        "all files were removed by somebody"
    );
}

#[tokio::test]
async fn what_retention_removes_is_noted_and_the_rest_is_intact() {
    let dir = tempdir().unwrap();
    let mut config = small();
    config.retention_bytes = 4_000;
    for _ in 0..3 {
        written(dir.path(), &config, 30).await;
    }
    let first = *files::list(dir.path()).unwrap().first_key_value().unwrap().0;
    assert!(first > 5, "files were removed: {first}");
    let report = verify(dir.path(), &config);
    assert!(report.intact, "{report:?}");
    assert_eq!(report.files_removed, first - 1);
    assert_eq!(of_kind(dir.path(), "removed").last().unwrap()["reason"], "bytes");
    // One more, by hand.
    fs::remove_file(files::path_of(dir.path(), first)).unwrap();
    assert!(!verify(dir.path(), &config).intact);
}

#[tokio::test]
async fn a_log_has_one_writer() {
    let dir = tempdir().unwrap();
    let recorder = open(dir.path(), &AuditConfig::new());
    let second = Recorder::start(
        &AuditConfig::new(),
        dir.path().to_owned(),
        NodeId::new(8),
        Box::new(OsDisk),
    );
    assert_eq!(second.unwrap_err().kind(), std::io::ErrorKind::ResourceBusy);
    recorder.close().await;
    open(dir.path(), &AuditConfig::new()).close().await;
}

/// Another secret, or the first one: the chain goes on, and takes both to check.
#[tokio::test]
async fn a_new_secret_continues_the_chain() {
    let dir = tempdir().unwrap();
    let mut other = keyed(AuditConfig::new());
    other.secret = Some(Secret::new("another secret of theirs"));
    for config in [&keyed(AuditConfig::new()), &other] {
        written(dir.path(), config, 3).await;
    }
    let both = [keys_of(&other), keys_of(&keyed(AuditConfig::new()))].concat();
    let report = read::verify(dir.path(), both, Vec::new(), false).unwrap();
    assert!(report.intact, "{report:?}");
    assert!(!verify(dir.path(), &other).intact);
}

//! What a directory does, a bucket does.

use std::time::Duration;

use concord_raft::backup::BackupName;
use concord_server::{Concord, Config, ErrorKind, KeepBackups, RestoreOptions, telemetry::Event};
use tempfile::TempDir;

use crate::server::Server;
use crate::{URL, bucket, config, keys, open};

/// Text that does not compress.
pub(crate) fn noise(seed: u64, bytes: usize) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b' ' + u8::try_from(state % 90).unwrap())
    };
    (0..bytes).map(|_| next()).collect()
}

pub(crate) async fn text(node: &Concord, key: &str) -> Option<String> {
    let found = node.get(key).await.unwrap().into_inner()?;
    found.text().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_in_a_bucket_is_listed_checked_restored_and_removed() {
    let (server, dir) = (Server::start().await, TempDir::new().unwrap());
    let node = open(dir.path(), &server).await;
    let backups = node.backups();
    assert!(backups.list().await.unwrap().is_empty());
    let mut made = Vec::new();
    for value in ["one", "two", "three", "four"] {
        node.put("k", value).await.unwrap();
        made.push(node.backups().create().await.unwrap());
    }
    let keys: Vec<_> = made.iter().map(|made| format!("of/us/{}", made.name)).collect();
    assert_eq!(server.keys(), keys);
    // What is deeper, beside or called otherwise is somebody else's.
    for other in ["of/us/deeper/a.backup", "of/b.backup", "of/us/notes.txt"] {
        let bytes = server.state().objects.get(&keys[0]).unwrap().clone();
        server.state().objects.insert(other.to_owned(), bytes);
    }
    let listed = backups.list().await.unwrap();
    let names: Vec<_> = listed.iter().map(|listed| listed.name.clone()).collect();
    assert_eq!(
        names,
        made.iter().map(|made| made.name.clone()).collect::<Vec<_>>()
    );
    assert_eq!(listed[1].backup.as_ref(), Ok(&made[1]));
    let verified = backups.verify(&made[1].name).await.unwrap();
    assert_eq!(verified.backup, made[1]);

    let restored = backups
        .restore(&made[1].name, RestoreOptions::default())
        .await
        .unwrap();
    assert_eq!(restored.backup, made[1]);
    assert_eq!(text(&node, "k").await.as_deref(), Some("two"));

    backups.remove(&made[0].name).await.unwrap();
    assert_eq!(
        backups.remove(&made[0].name).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    let keep = KeepBackups {
        count: Some(2),
        days: None,
    };
    let would = backups.clean_up(keep, true).await.unwrap();
    assert_eq!(would.removed, [made[1].name.clone()]);
    let done = backups.clean_up(keep, false).await.unwrap();
    assert_eq!((done.removed, done.kept), (would.removed, would.kept));
    assert!(!server.keys().contains(&keys[1]) && server.keys().contains(&keys[2]));
    assert!(server.keys().contains(&"of/us/notes.txt".to_owned()));
    node.shutdown().await.unwrap();
}

/// What does not fit in one request goes in parts, of which few are in memory; all of it comes back.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_backup_goes_and_comes_in_parts() {
    let (server, dir) = (Server::start().await, TempDir::new().unwrap());
    let node = open(dir.path(), &server).await;
    for n in 0..45 {
        node.put(format!("k/{n:02}"), noise(n, 512 << 10)).await.unwrap();
    }
    let made = node.backups().create().await.unwrap();
    assert!(made.file_bytes > 16 << 20, "{}", made.file_bytes);
    {
        let state = server.state();
        assert!(state.uploads.is_empty() && state.body_bytes <= 16 << 20);
        assert!(state.asked.iter().any(|asked| asked.contains("partNumber=2")));
    }
    node.put("k/07", "changed").await.unwrap();
    server.state().asked.clear();
    node.backups()
        .restore(&made.name, RestoreOptions::default())
        .await
        .unwrap();
    assert_eq!(text(&node, "k/07").await, Some(noise(7, 512 << 10)));
    // Twice all of it, in ranges that grow, and not one for each block.
    let asked = server
        .state()
        .asked
        .iter()
        .filter(|asked| asked.starts_with("GET"))
        .count();
    assert!(asked < 60, "{asked}");
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_makes_and_removes_backups_in_a_bucket_and_the_program_is_told() {
    let (server, dir) = (Server::start().await, TempDir::new().unwrap());
    let (sender, events) = tokio::sync::mpsc::unbounded_channel();
    let mut config: Config = config(dir.path(), bucket(&server, URL, keys()))
        .on_event(move |_, event| drop(sender.send(event.clone())));
    config.backup.interval = Some(Duration::from_secs(1));
    config.backup.keep_count = Some(1);
    let node = Concord::open(config).await.unwrap();
    node.put("k", "v").await.unwrap();
    let mut events = events;
    let mut made = 0;
    while made < 3 {
        let event = tokio::time::timeout(crate::process::PATIENCE, events.recv()).await;
        if matches!(
            event.unwrap().unwrap(),
            Event::BackupCreated { file_bytes: 1.., .. }
        ) {
            made += 1;
        }
    }
    // The clean-up behind the third may be under way.
    assert!((1..=2).contains(&server.keys().len()), "{:?}", server.keys());
    node.shutdown().await.unwrap();
}

/// D-BAK-4, D-SEC-12: what was cut, edited or put there by somebody is refused before anything changes.
#[tokio::test(flavor = "multi_thread")]
async fn d_bak_4_a_truncated_or_edited_object_is_refused() {
    let (server, dir) = (Server::start().await, TempDir::new().unwrap());
    let node = open(dir.path(), &server).await;
    node.put("k", noise(1, 100 << 10)).await.unwrap();
    let made = node.backups().create().await.unwrap();
    let key = format!("of/us/{}", made.name);
    let whole = server.state().objects.get(&key).unwrap().clone();
    node.put("k", "now").await.unwrap();
    let mut edited = whole.to_vec();
    edited[50_000] ^= 1;
    for (damaged, is_readable) in [
        (whole.slice(..whole.len() - 1), true),
        (whole.slice(..60_000), true),
        (edited.into(), true),
        (whole.slice(..10), false),
        (bytes::Bytes::new(), false),
        (bytes::Bytes::from_static(b"<html>"), false),
    ] {
        server.state().objects.insert(key.clone(), damaged);
        let listed = node.backups().list().await.unwrap();
        assert_eq!(listed[0].backup.is_ok(), is_readable, "{listed:?}");
        let refused = node.backups().verify(&made.name).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Corrupt, "{refused}");
        let told = refused.to_string();
        assert!(
            told.contains(&format!("{URL}/{}", made.name)) && told.contains("at byte"),
            "{told}"
        );
        let refused = node
            .backups()
            .restore(&made.name, RestoreOptions::default())
            .await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(text(&node, "k").await.as_deref(), Some("now"));
    }
    node.shutdown().await.unwrap();
}

/// An object that is another one in the middle of reading is no mixture of both.
#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_replaced_while_it_is_read_is_refused() {
    let (server, dir) = (Server::start().await, TempDir::new().unwrap());
    let node = open(dir.path(), &server).await;
    node.put("k", noise(1, 100 << 10)).await.unwrap();
    let made = node.backups().create().await.unwrap();
    let (bucket, name) = (
        bucket(&server, URL, keys()),
        BackupName::parse(&made.name).unwrap(),
    );
    let opened = tokio::task::spawn_blocking(move || {
        let file = bucket.backups().unwrap().open(&name).unwrap();
        file.bytes().unwrap()
    });
    let bytes = opened.await.unwrap();
    let key = format!("of/us/{}", made.name);
    let longer = [&server.state().objects.get(&key).unwrap()[..], b"more"].concat();
    server.state().objects.insert(key, longer.into());
    let read = tokio::task::spawn_blocking(move || bytes.read_at(0, 10))
        .await
        .unwrap();
    assert!(format!("{read:?}").contains("it was replaced"), "{read:?}");
    node.shutdown().await.unwrap();
}

//! Watches: every change once and in order, through whatever may happen in between.

use std::time::Duration;

use concord_server::{ChangeKind, Concord, Config, Position, Record, Revision, WatchEvent, Watcher};
use serde_json::{Value as Json, json};

use crate::cluster::Cluster;
use crate::door::{Door, Narrowing, Outcome, Refusal, encode, of_record};
use crate::patience::PATIENCE;
use crate::wire::send;

/// An event, as far as both doors can tell.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) revision: u64,
    pub(crate) kind: String,
    pub(crate) key: String,
    pub(crate) value: Json,
    pub(crate) previous: Json,
}

/// A watch through one of the doors.
pub(crate) enum Watching {
    Embedded(Box<Watcher>),
    Http(Sse),
}

/// A stream of server-sent events.
pub(crate) struct Sse {
    response: reqwest::Response,
    text: String,
    last_id: String,
}

/// One server-sent event.
#[derive(Debug)]
pub(crate) struct Message {
    name: String,
    data: Json,
}

impl Sse {
    async fn open(base: &str, query: &str, last_id: Option<&str>) -> Outcome<Self> {
        Self::open_at(base, &format!("watch?{query}"), last_id).await
    }

    /// Opens the stream of a path.
    pub(crate) async fn open_at(base: &str, path: &str, last_id: Option<&str>) -> Outcome<Self> {
        let client = crate::http_client();
        let mut request = client.get(format!("{base}/api/v1/{path}"));
        if let Some(id) = last_id {
            request = request.header("last-event-id", id);
        }
        let response = request.send().await.unwrap();
        if !response.status().is_success() {
            return Err(refusal(&response.json().await.unwrap()));
        }
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut sse = Self {
            response,
            text: String::new(),
            last_id: String::new(),
        };
        let first = sse.message().await.unwrap();
        assert_eq!(first.name, "progress", "the first event says where it begins");
        Ok(sse)
    }

    /// The next message; `None` at the end.
    async fn message(&mut self) -> Option<Message> {
        loop {
            if let Some((message, rest)) = self.text.split_once("\n\n") {
                let (mut name, mut data) = (String::new(), Json::Null);
                for line in message.lines() {
                    match line.split_once(": ").unwrap() {
                        ("event", text) => text.clone_into(&mut name),
                        ("id", text) => text.clone_into(&mut self.last_id),
                        ("data", text) => data = serde_json::from_str(text).unwrap(),
                        other => panic!("{other:?}"),
                    }
                }
                self.text = rest.to_owned();
                return Some(Message { name, data });
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk())
                .await
                .unwrap()
                .unwrap()?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

fn refusal(answer: &Json) -> Refusal {
    let details = &answer["error"]["details"];
    Refusal {
        code: answer["error"]["code"].as_str().unwrap().to_owned(),
        may_have_written: details["may_have_written"].as_bool().unwrap(),
        revision: details["compact_revision"]
            .as_u64()
            .or(details["current_revision"].as_u64()),
        item: None,
        current: None,
    }
}

impl Watching {
    /// Opens a watch by its query parameters, previous values included.
    pub(crate) async fn open(door: &Door, query: &[(&str, &str)]) -> Outcome<Self> {
        match door {
            Door::Embedded(db) => {
                let mut watch = db.watch().with_previous();
                for (name, value) in query {
                    watch = match *name {
                        "key" => watch.key(value),
                        "prefix" => watch.prefix(value),
                        "start" => {
                            watch.between(value, query.iter().find(|(name, _)| *name == "end").unwrap().1)
                        }
                        "end" => watch,
                        "glob" => watch.glob(value),
                        "pattern" => watch.pattern(value),
                        "where" => watch.only_if(value),
                        "from_revision" => watch.from_revision(Revision::new(value.parse().unwrap())),
                        "after" => watch.after(value.parse().unwrap()),
                        "events" => {
                            let all = [ChangeKind::Put, ChangeKind::Delete, ChangeKind::Expire];
                            let kinds = value
                                .split(',')
                                .map(|name| all.into_iter().find(|kind| kind.name() == name).unwrap());
                            watch.kinds(&kinds.collect::<Vec<_>>())
                        }
                        other => panic!("no such parameter: {other}"),
                    };
                }
                Ok(Self::Embedded(Box::new(watch.await?)))
            }
            Door::Http { read, .. } => {
                let query: Vec<String> = query
                    .iter()
                    .map(|(name, value)| format!("{name}={}", encode(value)))
                    .collect();
                let query = format!("with_previous&{}", query.join("&"));
                Ok(Self::Http(Sse::open(read, &query, None).await?))
            }
        }
    }

    /// The events of the next revision that has any.
    pub(crate) async fn next(&mut self) -> Outcome<Vec<Seen>> {
        match self {
            Self::Embedded(watcher) => {
                let batch = tokio::time::timeout(PATIENCE, watcher.next())
                    .await
                    .unwrap()
                    .unwrap()?;
                assert!(batch.is_complete());
                Ok(batch.events.iter().map(seen).collect())
            }
            Self::Http(sse) => loop {
                let message = sse.message().await.unwrap();
                match message.name.as_str() {
                    "progress" => {}
                    "changes" => {
                        assert_eq!(message.data["complete"], true);
                        let revision = &message.data["revision"];
                        let events = message.data["events"].as_array().unwrap();
                        assert!(events.iter().all(|event| &event["mod_revision"] == revision));
                        return Ok(events.iter().map(seen_json).collect());
                    }
                    "error" => return Err(refusal(&message.data)),
                    other => panic!("{other}"),
                }
            },
        }
    }

    /// So many events.
    pub(crate) async fn take(&mut self, count: usize) -> Vec<Seen> {
        let mut events = Vec::new();
        while events.len() < count {
            events.extend(self.next().await.unwrap());
        }
        assert_eq!(events.len(), count);
        events
    }
}

fn seen(event: &WatchEvent) -> Seen {
    let value = |record: &Option<Record>| {
        record
            .as_ref()
            .map_or(Json::Null, |record| of_record(record).value)
    };
    Seen {
        revision: event.revision.get(),
        kind: event.kind.name().to_owned(),
        key: event.key.to_string(),
        value: value(&event.record),
        previous: value(&event.previous),
    }
}

fn seen_json(event: &Json) -> Seen {
    Seen {
        revision: event["mod_revision"].as_u64().unwrap(),
        kind: event["event"].as_str().unwrap().to_owned(),
        key: event["key"].as_str().unwrap().to_owned(),
        value: event["value"].clone(),
        previous: event["previous"]["value"].clone(),
    }
}

fn told(revision: u64, kind: &str, key: &str, value: Json, previous: Json) -> Seen {
    Seen {
        revision,
        kind: kind.to_owned(),
        key: key.to_owned(),
        value,
        previous,
    }
}

/// D-EVT-1, D-EVT-2, D-EVT-5: every committed change is told with key, revision and both values,
/// expiry included; refusals and reads are not.
pub(crate) async fn every_change_is_told_and_nothing_else(door: &Door) {
    let mut watching = Watching::open(door, &[("prefix", "told:")]).await.unwrap();
    let first = door.put("told:a", json!(1), None).await.unwrap();
    door.put("elsewhere", json!(0), None).await.unwrap();
    door.get("told:a").await.unwrap();
    let second = door.increment("told:a", 2).await.unwrap();
    assert_eq!(second, 3);
    door.put("told:text", json!("x"), None).await.unwrap();
    assert_eq!(
        door.increment("told:text", 1).await.unwrap_err().code,
        "invalid_value"
    );
    door.touch("told:absent", None).await.unwrap_err();
    assert!(!door.delete("told:absent").await.unwrap().0);
    let (_, removed) = door.delete("told:a").await.unwrap();
    let brief = door
        .put("told:brief", json!([]), Some(Duration::from_millis(50)))
        .await
        .unwrap();
    let mut events = watching.take(6).await;
    let expired = events.pop().unwrap();
    let null = Json::Null;
    assert_eq!(
        events,
        [
            told(first, "put", "told:a", json!(1), null.clone()),
            told(first + 2, "put", "told:a", json!(3), json!(1)),
            told(first + 3, "put", "told:text", json!("x"), null.clone()),
            told(removed, "delete", "told:a", null.clone(), json!(3)),
            told(brief, "put", "told:brief", json!([]), null.clone()),
        ]
    );
    assert_eq!(
        expired,
        told(expired.revision, "expire", "told:brief", null, json!([]))
    );
    assert!(expired.revision > brief);
}

/// D-EVT-3: everybody gets everything that they asked for, whoever else watches.
pub(crate) async fn each_watcher_gets_what_its_filter_lets_through(door: &Door) {
    let queries: [(Narrowing<'_>, &[&str]); 9] = [
        (&[("key", "pick:b")], &["put pick:b", "delete pick:b"]),
        (
            &[("prefix", "pick:")],
            &[
                "put pick:a",
                "put pick:b",
                "put pick:c",
                "delete pick:b",
                "put pick:z",
            ],
        ),
        (
            &[("prefix", "pick:")],
            &[
                "put pick:a",
                "put pick:b",
                "put pick:c",
                "delete pick:b",
                "put pick:z",
            ],
        ),
        (
            &[("start", "pick:b"), ("end", "pick:d")],
            &["put pick:b", "put pick:c", "delete pick:b"],
        ),
        (
            &[("glob", "p*:?"), ("events", "put")],
            &["put pick:a", "put pick:b", "put pick:c", "put pick:z"],
        ),
        (&[("glob", "*:c")], &["put pick:c"]),
        (
            &[("pattern", "^p.*:[bz]$"), ("events", "put")],
            &["put pick:b", "put pick:z"],
        ),
        (&[("pattern", "k:[^abz]")], &["put pick:c"]),
        (
            &[("prefix", "pick:"), ("events", "delete,expire")],
            &["delete pick:b"],
        ),
    ];
    let mut watching = Vec::new();
    for (query, _) in queries {
        watching.push(Watching::open(door, query).await.unwrap());
    }
    for key in ["pick:a", "pick:b", "pick:c"] {
        door.put(key, json!(1), None).await.unwrap();
    }
    door.delete("pick:b").await.unwrap();
    door.put("pick:z", json!(1), None).await.unwrap();
    for (watching, (query, expected)) in watching.iter_mut().zip(queries) {
        let events = watching.take(expected.len()).await;
        let told: Vec<String> = events
            .iter()
            .map(|event| format!("{} {}", event.kind, event.key))
            .collect();
        assert_eq!(told, expected, "{query:?}");
    }
}

/// The past and what comes are one stream.
pub(crate) async fn a_watch_begins_at_any_revision(door: &Door) {
    let first = door.put("begin", json!(1), None).await.unwrap();
    door.put("begin", json!(2), None).await.unwrap();
    let third = door.put("begin", json!(3), None).await.unwrap();
    let mut watching = Vec::new();
    for (name, number, expected) in [
        ("from_revision", first, &[1, 2, 3, 4][..]),
        ("after", first, &[2, 3, 4]),
        ("from_revision", third, &[3, 4]),
        ("from_revision", third + 1, &[4]),
    ] {
        let query = [("key", "begin"), (name, &number.to_string())];
        watching.push((Watching::open(door, &query).await.unwrap(), expected));
    }
    door.put("begin", json!(4), None).await.unwrap();
    for (mut watching, expected) in watching {
        let events = watching.take(expected.len()).await;
        let values: Vec<u64> = events.iter().map(|event| event.value.as_u64().unwrap()).collect();
        assert_eq!(values, expected);
    }
    let current = door.put("begin", json!(5), None).await.unwrap();
    let future = (current + 2).to_string();
    let mut watching = Watching::open(door, &[("key", "begin"), ("from_revision", &future)])
        .await
        .unwrap();
    for value in [6, 7, 8] {
        door.put("begin", json!(value), None).await.unwrap();
    }
    let told: Vec<Json> = watching
        .take(2)
        .await
        .into_iter()
        .map(|event| event.value)
        .collect();
    assert_eq!(
        told,
        [json!(7), json!(8)],
        "nothing before the revision asked for"
    );
}

/// D-V3-4: what is forgotten is refused, with the revision from which nothing is missing.
pub(crate) async fn a_compacted_beginning_is_refused(door: &Door) {
    let first = door.put("forgotten", json!(1), None).await.unwrap();
    let second = door.put("forgotten", json!(2), None).await.unwrap();
    door.put("forgotten", json!(3), None).await.unwrap();
    door.compact(second).await.unwrap();
    // The node that is asked may be another one than compacted.
    door.get_with("forgotten", &[("consistency", "strong")])
        .await
        .unwrap();
    for from in [first, second] {
        let query = [("key", "forgotten"), ("from_revision", &from.to_string())];
        let Err(refused) = Watching::open(door, &query).await else {
            panic!("revision {from} is compacted");
        };
        assert_eq!(
            (refused.code.as_str(), refused.revision),
            ("compacted", Some(second))
        );
    }
    let kept = [("key", "forgotten"), ("from_revision", &(second + 1).to_string())];
    let events = Watching::open(door, &kept).await.unwrap().take(1).await;
    assert_eq!((&events[0].value, &events[0].previous), (&json!(3), &json!(2)));
}

/// Counts up a key, some of it while a leader changes; each number is one revision.
async fn count_up(db: Concord, key: &'static str, from: i64, upto: i64) {
    for number in from..=upto {
        // Its session applies it once, through whichever leader, so only time can run out.
        loop {
            let done = db.put(key, number.to_string()).timeout(PATIENCE).await;
            match done {
                Ok(_) => break,
                Err(error) if error.kind().is_retryable() => {}
                Err(error) => panic!("{error:?}"),
            }
        }
    }
}

/// The numbers of a counted key, each once and in order: what a watcher saw is the whole truth.
fn assert_counted(events: &[Seen], upto: i64) {
    let numbers: Vec<i64> = events
        .iter()
        .map(|event| event.value.as_str().unwrap().parse().unwrap())
        .collect();
    assert_eq!(numbers, (1..=upto).collect::<Vec<_>>());
    assert!(events.windows(2).all(|pair| pair[0].revision < pair[1].revision));
}

/// D-EVT-2: watchers of every node see every change, once and in order, across a change of the leader
/// and across reconnects to other nodes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_tells_everything_once_across_reconnects_and_a_new_leader() {
    const NUMBERS: i64 = 120;
    let cluster = Cluster::start(3).await;
    let mut fixed = Vec::new();
    for place in 0..3 {
        let door = Door::Embedded(cluster.node(place).clone());
        fixed.push(Watching::open(&door, &[("key", "count")]).await.unwrap());
    }
    let urls: Vec<String> = (0..3).map(|place| cluster.url(place)).collect();
    let roaming = tokio::spawn(async move {
        let (mut events, mut last_id) = (Vec::new(), "0".to_owned());
        // Another node after every seven events, each with the last id of the one before.
        for url in urls.iter().cycle() {
            let sse = Sse::open(url, "key=count", Some(&last_id)).await.unwrap();
            let mut watching = Watching::Http(sse);
            for _ in 0..7 {
                events.extend(watching.next().await.unwrap());
                if events.len() == usize::try_from(NUMBERS).unwrap() {
                    return events;
                }
            }
            let Watching::Http(sse) = watching else {
                unreachable!()
            };
            last_id = sse.last_id;
        }
        unreachable!("the urls are cycled")
    });
    let writing = tokio::spawn(count_up(cluster.node(1).clone(), "count", 1, NUMBERS));
    let term = cluster.node(0).status().unwrap().term;
    cluster.move_leadership(None).await;
    writing.await.unwrap();
    assert!(
        cluster.node(0).status().unwrap().term > term,
        "another leader was elected"
    );
    for watching in &mut fixed {
        assert_counted(&watching.take(usize::try_from(NUMBERS).unwrap()).await, NUMBERS);
    }
    assert_counted(&roaming.await.unwrap(), NUMBERS);
    cluster.stop().await;
}

/// D-EVT-4, D-V3-3: a watcher that does not look gets everything all the same, however much it is;
/// nothing is dropped after so many events.
#[tokio::test]
async fn a_slow_watcher_misses_nothing() {
    const NUMBERS: i64 = 3_000;
    let cluster = Cluster::start(1).await;
    let db = cluster.node(0);
    let mut slow = Watching::open(&Door::Embedded(db.clone()), &[("key", "count")])
        .await
        .unwrap();
    for number in 1..=NUMBERS {
        db.put("count", number.to_string()).await.unwrap();
    }
    let status = db.watchers().unwrap().pop().unwrap();
    assert_eq!(
        (status.events, status.lag),
        (0, 3_000),
        "nothing was taken on its behalf"
    );
    assert_counted(&slow.take(3_000).await, NUMBERS);
    let status = db.watchers().unwrap().pop().unwrap();
    assert_eq!((status.events, status.lag), (3_000, 0));
    assert_eq!(status.revision, db.revision());
    cluster.stop().await;
}

/// D-V3-4: who falls behind compaction learns it, and from where to go on; who only had nothing to
/// hear of is not behind.
#[tokio::test]
async fn compaction_ends_watches_that_are_behind_and_no_others() {
    let cluster = Cluster::start(1).await;
    let db = cluster.node(0);
    let mut behind = db.watch().key("busy").await.unwrap();
    let mut idle = db.watch().key("quiet").await.unwrap();
    for number in 0..10 {
        db.put("busy", number.to_string()).await.unwrap();
    }
    let compacted = db.compact(db.revision()).await.unwrap();
    let error = behind.next().await.unwrap().unwrap_err();
    assert_eq!(
        (error.code(), error.compact_revision()),
        ("compacted", Some(compacted))
    );
    let restart = error.number("restart_revision").unwrap();
    assert!(behind.next().await.is_none(), "an error is the last item");

    let last = db.put("busy", "last").await.unwrap().revision;
    let mut again = db
        .watch()
        .key("busy")
        .from_revision(Revision::new(restart))
        .await
        .unwrap();
    assert_eq!(again.next().await.unwrap().unwrap().revision, last);
    db.put("quiet", "word").await.unwrap();
    assert_eq!(idle.next().await.unwrap().unwrap().events.len(), 1);
    cluster.stop().await;
}

/// D-V3-4: a restart forgets no change and tells none again to who says where it was.
#[tokio::test]
async fn a_watch_goes_on_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let db = Concord::open(Config::at(dir.path())).await.unwrap();
    let mut watcher = db.watch().prefix("k").await.unwrap();
    db.put("k1", "1").await.unwrap();
    db.put("k2", "2").await.unwrap();
    let position: Position = watcher.next().await.unwrap().unwrap().position;
    db.put("other", "3").await.unwrap();
    db.shutdown().await.unwrap();
    let mut ended = Vec::new();
    while let Some(item) = watcher.next().await {
        ended.push(
            item.map(|batch| batch.events[0].key.to_string())
                .map_err(|error| error.code()),
        );
    }
    assert_eq!(ended.last(), Some(&Err("shutting_down")));
    drop((watcher, db));

    let db = Concord::open(Config::at(dir.path())).await.unwrap();
    let mut watcher = db.watch().prefix("k").after(position).await.unwrap();
    db.put("k4", "4").await.unwrap();
    let mut keys = Vec::new();
    for _ in 0..2 {
        keys.push(watcher.next().await.unwrap().unwrap().events[0].key.to_string());
    }
    assert_eq!(keys, ["k2", "k4"]);
    db.shutdown().await.unwrap();
}

/// Streams are told of the end, and do not hold it up.
#[tokio::test]
async fn a_stopping_node_ends_its_streams_with_an_error() {
    let cluster = Cluster::start(1).await;
    let mut sse = Sse::open(&cluster.url(0), "prefix=k", None).await.unwrap();
    let polling = tokio::spawn({
        let url = cluster.url(0);
        async move { send(&url, "GET", "/api/v1/watch?prefix=k&wait=10m", "", b"").await }
    });
    let db = cluster.node(0).clone();
    while db.watchers().unwrap().len() < 2 {
        tokio::task::yield_now().await;
    }
    let stopping = tokio::spawn(async move { db.shutdown().await });
    let last = sse.message().await.unwrap();
    assert_eq!(
        (last.name.as_str(), refusal(&last.data).code.as_str()),
        ("error", "shutting_down")
    );
    assert!(sse.message().await.is_none());
    assert_eq!(polling.await.unwrap().code(), "shutting_down");
    tokio::time::timeout(Duration::from_secs(8), stopping)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let refused = cluster
        .node(0)
        .watch()
        .from_revision(Revision::new(2))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), "shutting_down");
}

#[tokio::test]
async fn a_watch_is_closed_when_its_client_is_gone() {
    let cluster = Cluster::start(1).await;
    let db = cluster.node(0);
    let sse = Sse::open(&cluster.url(0), "prefix=k", None).await.unwrap();
    let listed = send(&cluster.url(0), "GET", "/api/v1/watches", "", b"")
        .await
        .json();
    assert_eq!(listed["data"]["count"], 1);
    assert_eq!(listed["data"]["watches"][0]["selector"], "prefix k");
    drop(sse);
    while !db.watchers().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let dropped = db.watch().await.unwrap();
    assert_eq!(db.watchers().unwrap().len(), 1);
    drop(dropped);
    assert!(db.watchers().unwrap().is_empty());
    cluster.stop().await;
}

#[tokio::test]
async fn no_more_watches_than_allowed_are_open_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let db = Concord::open(Config::at(dir.path()).watches_max(2))
        .await
        .unwrap();
    let first = db.watch().key("a").await.unwrap();
    let _second = db.watch().key("b").await.unwrap();
    assert_eq!(db.watch().key("c").await.unwrap_err().code(), "overloaded");
    drop(first);
    let mut third = db.watch().key("c").await.unwrap();
    db.put("c", "1").await.unwrap();
    assert_eq!(third.next().await.unwrap().unwrap().events.len(), 1);
    db.shutdown().await.unwrap();
}

/// A progress notification is a low-water mark: everything up to it was told (I16: it never goes back).
#[tokio::test]
async fn progress_is_told_while_nothing_else_is() {
    let cluster = Cluster::start(1).await;
    let db = cluster.node(0);
    let interval = Duration::from_millis(100);
    let mut watcher = db.watch().key("quiet").progress(interval).await.unwrap();
    let mut revisions = vec![watcher.position().revision()];
    for _ in 0..3 {
        let written = db.put("busy", "x").await.unwrap().revision;
        let batch = watcher.next().await.unwrap().unwrap();
        assert!(batch.is_progress());
        assert!(batch.revision >= written, "{} of {written}", batch.revision);
        revisions.push(batch.revision);
    }
    assert!(revisions.is_sorted());
    let word = db.put("quiet", "word").await.unwrap().revision;
    assert_eq!(watcher.next().await.unwrap().unwrap().revision, word);
    // Dropping a wait in the middle loses nothing.
    for _ in 0..3 {
        let _ = futures::poll!(Box::pin(watcher.next()));
    }
    let word = db.put("quiet", "again").await.unwrap().revision;
    loop {
        let batch = watcher.next().await.unwrap().unwrap();
        if !batch.is_progress() {
            assert_eq!(batch.revision, word);
            break;
        }
    }
    cluster.stop().await;
}

/// Each poll goes on where the one before ended, also where nothing came.
#[tokio::test]
async fn long_polls_follow_one_another_without_a_gap() {
    let cluster = Cluster::start(1).await;
    let (db, url) = (cluster.node(0), cluster.url(0));
    let poll = async |query: &str| {
        let target = format!("/api/v1/watch?prefix=p&{query}");
        send(&url, "GET", &target, "", b"").await.json()["data"].clone()
    };
    let nothing = poll("wait=1ms").await;
    assert_eq!(nothing["events"], json!([]));
    for number in 0..5 {
        db.put(format!("p{number}"), "x").await.unwrap();
    }
    let position = nothing["position"].as_str().unwrap().to_owned();
    let all = poll(&format!("after={position}&wait=10s")).await;
    assert_eq!(all["events"].as_array().unwrap().len(), 5);
    assert_eq!(all["events"][0]["event"], "put");
    let query = format!("after={}&wait=30s", all["position"].as_str().unwrap());
    let waiting = poll(&query);
    let (answer, _) = tokio::join!(waiting, async { db.delete("p0").await.unwrap() });
    assert_eq!(answer["events"][0]["event"], "delete");
    assert_eq!(answer["revision"], answer["events"][0]["mod_revision"]);
    cluster.stop().await;
}

#[tokio::test]
async fn wrong_parameters_of_a_watch_are_named() {
    let cluster = Cluster::start(1).await;
    let url = cluster.url(0);
    let long = format!("key={}", "k".repeat(1025));
    for (query, code, word) in [
        ("key=", "invalid_key", "empty"),
        (long.as_str(), "invalid_key", "1025"),
        ("key=a&prefix=b", "invalid_request", "only one"),
        ("glob=", "invalid_request", "glob"),
        ("glob=a%5C", "invalid_request", "glob"),
        ("pattern=(", "invalid_request", "pattern"),
        ("pattern=(a%7B999%7D)%7B999%7D", "invalid_request", "pattern"),
        ("pattern=a&prefix=b", "invalid_request", "only one"),
        ("start=b&end=a", "invalid_request", "between"),
        ("events=put,created", "invalid_request", "created"),
        ("events=", "invalid_request", "events"),
        ("from_revision=0", "invalid_request", "from_revision"),
        ("from_revision=x", "invalid_request", "from_revision"),
        ("after=1.", "invalid_request", "after"),
        ("after=1&from_revision=1", "invalid_request", "together"),
        ("wait=0s", "invalid_request", "wait"),
        ("wait=11m", "invalid_request", "wait"),
        ("progress=1ms", "invalid_request", "progress"),
        ("progress=1s&wait=1s", "invalid_request", "progress"),
        ("timeout=0", "invalid_request", "timeout"),
        ("prefx=a", "invalid_request", "prefx"),
    ] {
        let reply = send(&url, "GET", &format!("/api/v1/watch?{query}"), "", b"").await;
        assert_eq!((reply.status, reply.code().as_str()), (400, code), "{query}");
        let message = reply.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(word), "{query}: {message}");
    }
    let reply = send(&url, "GET", "/api/v1/watch?wait=1s", "last-event-id: x", b"").await;
    assert_eq!((reply.status, reply.code().as_str()), (400, "invalid_request"));
    cluster.stop().await;
}

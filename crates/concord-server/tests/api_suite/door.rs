//! The operations of the suite, through either door.

use std::time::Duration;

use concord_server::{
    Concord, Entry, Error, Record, Remaining, Revision, Value, ValueFormat, Version, document_from_json,
    document_to_json,
};
use reqwest::Method;
use serde_json::{Value as Json, json};

/// A refusal, as far as both doors can tell.
#[derive(Debug, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) code: String,
    pub(crate) may_have_written: bool,
    /// `compact_revision` or `current_revision`, if there is one.
    pub(crate) revision: Option<u64>,
    /// Which item of the request is wrong, if the error is about one.
    pub(crate) item: Option<u64>,
    /// The record that a condition was judged by.
    pub(crate) current: Option<Box<Found>>,
}

pub(crate) type Outcome<T> = Result<T, Refusal>;

/// A record, as far as both doors can tell.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    pub(crate) value: Json,
    pub(crate) format: String,
    pub(crate) create_revision: u64,
    pub(crate) mod_revision: u64,
    pub(crate) version: u64,
}

/// A page of keys.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) keys: Vec<String>,
    pub(crate) count: u64,
    pub(crate) cursor: Option<String>,
    pub(crate) revision: u64,
}

/// How a scan is narrowed: query parameters by name.
pub(crate) type Narrowing<'a> = &'a [(&'a str, &'a str)];

pub(crate) enum Door {
    Embedded(Concord),
    Http {
        client: reqwest::Client,
        write: String,
        read: String,
    },
}

impl Door {
    pub(crate) fn http(write: &str, read: &str) -> Self {
        let client = crate::http_client();
        Self::Http {
            client,
            write: write.to_owned(),
            read: read.to_owned(),
        }
    }

    /// Stores a JSON value: a string as text, anything else as a document.
    pub(crate) async fn put(&self, key: &str, value: Json, ttl: Option<Duration>) -> Outcome<u64> {
        self.put_previous(key, value, ttl)
            .await
            .map(|(revision, _)| revision)
    }

    pub(crate) async fn put_previous(
        &self,
        key: &str,
        value: Json,
        ttl: Option<Duration>,
    ) -> Outcome<(u64, Option<Found>)> {
        match self {
            Self::Embedded(db) => {
                let mut put = db.put(key, kept(&value)).return_previous();
                if let Some(ttl) = ttl {
                    put = put.ttl(ttl);
                }
                let written = put.await?;
                Ok((written.revision.get(), written.previous.as_ref().map(of_record)))
            }
            Self::Http { .. } => {
                let mut body = json!({"value": value, "return_previous": true});
                if let Some(ttl) = ttl {
                    body["ttl"] = json!(format!("{}ms", ttl.as_millis()));
                }
                let data = self
                    .send(Method::PUT, &format!("kv/{}", encode(key)), Some(body))
                    .await?;
                Ok((number(&data["revision"]), of_json(&data["previous"])))
            }
        }
    }

    pub(crate) async fn get(&self, key: &str) -> Outcome<Option<Found>> {
        self.get_with(key, &[]).await
    }

    /// Reads with `revision`, `min_revision`, `consistency`, `timeout_ms`.
    pub(crate) async fn get_with(&self, key: &str, options: &[(&str, &str)]) -> Outcome<Option<Found>> {
        match self {
            Self::Embedded(db) => {
                let mut get = db.get(key);
                for (name, value) in options {
                    get = match (*name, *value) {
                        ("revision", number) => get.revision(Revision::new(number.parse().unwrap())),
                        ("min_revision", number) => get.min_revision(Revision::new(number.parse().unwrap())),
                        ("timeout_ms", number) => get.timeout(Duration::from_millis(number.parse().unwrap())),
                        ("consistency", "strong") => get.strong(),
                        ("consistency", "eventual") => get.eventual(),
                        ("consistency", "leader") => get,
                        other => panic!("no such option: {other:?}"),
                    };
                }
                let found = get.await?;
                Ok(found.data.as_ref().map(of_entry))
            }
            Self::Http { .. } => {
                let query: Vec<String> = options
                    .iter()
                    .map(|(name, value)| match *name {
                        "timeout_ms" => format!("timeout={value}ms"),
                        name => format!("{name}={value}"),
                    })
                    .collect();
                let path = format!("kv/{}?{}", encode(key), query.join("&"));
                absent_as_none(self.fetch(&path).await).map(|data| data.as_ref().and_then(of_json))
            }
        }
    }

    pub(crate) async fn exists(&self, key: &str) -> Outcome<bool> {
        match self {
            Self::Embedded(db) => Ok(db.exists(key).await?.into_inner()),
            Self::Http { client, read, .. } => {
                let url = format!("{read}/api/v1/kv/{}", encode(key));
                let response = client.head(url).send().await.unwrap();
                match response.status().as_u16() {
                    200 => Ok(true),
                    404 => Ok(false),
                    other => panic!("HEAD answered {other}"),
                }
            }
        }
    }

    /// Whether there was something to remove, and the revision.
    pub(crate) async fn delete(&self, key: &str) -> Outcome<(bool, u64)> {
        match self {
            Self::Embedded(db) => {
                let deleted = db.delete(key).await?;
                Ok((deleted.existed, deleted.revision.get()))
            }
            Self::Http { .. } => {
                let data = self
                    .send(Method::DELETE, &format!("kv/{}", encode(key)), None)
                    .await?;
                Ok((data["existed"].as_bool().unwrap(), number(&data["revision"])))
            }
        }
    }

    /// Resets the time to live; `None` ends it.
    pub(crate) async fn touch(&self, key: &str, ttl: Option<Duration>) -> Outcome<u64> {
        match self {
            Self::Embedded(db) => Ok(match ttl {
                Some(ttl) => db.touch(key, ttl).await?.revision.get(),
                None => db.persist(key).await?.revision.get(),
            }),
            Self::Http { .. } => {
                let ttl = ttl.map(|ttl| format!("{}ms", ttl.as_millis()));
                let path = format!("kv/{}/touch", encode(key));
                let data = self.send(Method::POST, &path, Some(json!({"ttl": ttl}))).await?;
                Ok(number(&data["revision"]))
            }
        }
    }

    /// Milliseconds left: outer `None`: no such key, inner: for ever.
    pub(crate) async fn ttl(&self, key: &str) -> Outcome<Option<Option<u64>>> {
        match self {
            Self::Embedded(db) => {
                let millis = |left: Remaining| {
                    left.duration()
                        .map(|left| u64::try_from(left.as_millis()).unwrap())
                };
                Ok(db.ttl(key).await?.map(millis))
            }
            Self::Http { .. } => {
                let data = absent_as_none(self.fetch(&format!("kv/{}/ttl", encode(key))).await)?;
                Ok(data.map(|data| data["ttl_ms"].as_u64()))
            }
        }
    }

    pub(crate) async fn increment(&self, key: &str, delta: i64) -> Outcome<i64> {
        match self {
            Self::Embedded(db) => Ok(db.increment(key, delta).await?.value),
            Self::Http { .. } => {
                let path = format!("kv/{}/increment", encode(key));
                let data = self
                    .send(Method::POST, &path, Some(json!({"delta": delta})))
                    .await?;
                Ok(data["value"].as_i64().unwrap())
            }
        }
    }

    pub(crate) async fn scan(&self, narrowing: Narrowing<'_>) -> Outcome<Page> {
        match self {
            Self::Embedded(db) => {
                let mut scan = db.scan();
                let named = |name: &str| {
                    narrowing
                        .iter()
                        .find(|(found, _)| *found == name)
                        .map(|(_, value)| *value)
                };
                if let (Some(start), Some(end)) = (named("start"), named("end")) {
                    scan = scan.between(start, end);
                }
                for (name, value) in narrowing {
                    scan = match *name {
                        "prefix" => scan.prefix(value),
                        "start" | "end" => scan,
                        "limit" => scan.limit(value.parse().unwrap()),
                        "order" => scan.descending(),
                        "keys_only" => scan.keys_only(),
                        "count_only" => scan.count(),
                        "revision" => scan.revision(Revision::new(value.parse().unwrap())),
                        "cursor" => scan.cursor(
                            value
                                .parse::<concord_server::Cursor>()
                                .map_err(concord_server::Error::from)?,
                        ),
                        other => panic!("no such option: {other}"),
                    };
                }
                let page = scan.await?;
                Ok(Page {
                    keys: page.records.iter().map(|record| record.key.to_string()).collect(),
                    count: page.count,
                    cursor: page.cursor.map(|cursor| cursor.to_string()),
                    revision: page.revision.get(),
                })
            }
            Self::Http { .. } => {
                let query: Vec<String> = narrowing
                    .iter()
                    .map(|(name, value)| format!("{name}={}", encode(value)))
                    .collect();
                let data = self.fetch(&format!("kv?{}", query.join("&"))).await?;
                let items = data["items"].as_array().cloned().unwrap_or_default();
                Ok(Page {
                    keys: items
                        .iter()
                        .map(|item| item["key"].as_str().unwrap().to_owned())
                        .collect(),
                    count: number(&data["count"]),
                    cursor: data["next_cursor"].as_str().map(str::to_owned),
                    revision: number(&data["revision"]),
                })
            }
        }
    }

    /// The versions of a key, newest first: its value, or `None` where it was absent.
    pub(crate) async fn history(&self, key: &str) -> Outcome<Vec<Option<Json>>> {
        match self {
            Self::Embedded(db) => {
                let found = db.history(key).await?;
                Ok(found
                    .versions
                    .iter()
                    .map(|version| match version {
                        Version::Record(record) => Some(of_record(record).value),
                        Version::Removed { .. } => None,
                    })
                    .collect())
            }
            Self::Http { .. } => {
                let data = self.fetch(&format!("kv/{}/history", encode(key))).await?;
                let versions = data["versions"].as_array().unwrap();
                Ok(versions
                    .iter()
                    .map(|version| version.get("value").cloned())
                    .collect())
            }
        }
    }

    pub(crate) async fn compact(&self, revision: u64) -> Outcome<u64> {
        match self {
            Self::Embedded(db) => Ok(db.compact(Revision::new(revision)).await?.get()),
            Self::Http { .. } => {
                let data = self
                    .send(
                        Method::POST,
                        "cluster/compact",
                        Some(json!({"revision": revision})),
                    )
                    .await?;
                Ok(number(&data["compact_revision"]))
            }
        }
    }

    pub(crate) async fn fetch(&self, path: &str) -> Outcome<Json> {
        let Self::Http { read, .. } = self else {
            unreachable!("only over HTTP")
        };
        self.exchange(read, Method::GET, path, None).await
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<Json>) -> Outcome<Json> {
        let Self::Http { write, .. } = self else {
            unreachable!("only over HTTP")
        };
        self.exchange(write, method, path, body).await
    }

    async fn exchange(&self, base: &str, method: Method, path: &str, body: Option<Json>) -> Outcome<Json> {
        let Self::Http { client, .. } = self else {
            unreachable!("only over HTTP")
        };
        let mut request = client.request(method, format!("{base}/api/v1/{path}"));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let revision = response
            .headers()
            .get("x-concord-revision")
            .map(|value| value.to_str().unwrap().to_owned());
        assert!(
            revision.is_some_and(|text| text.parse::<u64>().is_ok()),
            "every answer says its revision"
        );
        let is_ok = response.status().is_success();
        let text = response.text().await.unwrap();
        let answer: Json = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path}: not JSON: {text}"));
        if is_ok {
            assert_eq!(answer["status"], "ok");
            return Ok(answer["data"].clone());
        }
        assert_eq!(answer["status"], "error");
        let details = &answer["error"]["details"];
        Err(Refusal {
            code: answer["error"]["code"].as_str().unwrap().to_owned(),
            may_have_written: details["may_have_written"].as_bool().unwrap(),
            revision: details["compact_revision"]
                .as_u64()
                .or(details["current_revision"].as_u64()),
            item: details["item"].as_u64(),
            current: of_json(&details["current"]).map(Box::new),
        })
    }
}

/// A JSON value as the store keeps it: a string as text, anything else as a document.
pub(crate) fn kept(value: &Json) -> Value {
    match value.as_str() {
        Some(text) => Value::text(text),
        None => Value::document(&document_from_json(&value.to_string()).unwrap()).unwrap(),
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self {
            code: error.code().to_owned(),
            may_have_written: error.may_have_written(),
            revision: error
                .compact_revision()
                .or(error.current_revision())
                .map(Revision::get),
            item: error.number("item"),
            current: error.current_record().map(of_record).map(Box::new),
        }
    }
}

fn absent_as_none(outcome: Outcome<Json>) -> Outcome<Option<Json>> {
    match outcome {
        Ok(data) => Ok(Some(data)),
        Err(refusal) if refusal.code == "not_found" => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

pub(crate) fn of_json(record: &Json) -> Option<Found> {
    (!record.is_null()).then(|| Found {
        value: record["value"].clone(),
        format: record["format"].as_str().unwrap().to_owned(),
        create_revision: number(&record["create_revision"]),
        mod_revision: number(&record["mod_revision"]),
        version: number(&record["version"]),
    })
}

pub(crate) fn of_entry(entry: &Entry) -> Found {
    Found {
        value: of_value(&entry.to_value()),
        format: entry.format().to_string(),
        create_revision: entry.create_revision().get(),
        mod_revision: entry.mod_revision().get(),
        version: entry.version(),
    }
}

pub(crate) fn of_record(record: &Record) -> Found {
    Found {
        value: of_value(&record.value),
        format: record.value.format().to_string(),
        create_revision: record.create_revision.get(),
        mod_revision: record.mod_revision.get(),
        version: record.version,
    }
}

fn of_value(value: &Value) -> Json {
    match value.format() {
        ValueFormat::Text => json!(value.as_text().unwrap()),
        ValueFormat::Document => {
            serde_json::from_str(&document_to_json(&value.to_document().unwrap())).unwrap()
        }
        ValueFormat::Binary => panic!("the suite stores no raw bytes"),
    }
}

pub(crate) fn number(json: &Json) -> u64 {
    json.as_u64().unwrap_or_else(|| panic!("not a number: {json}"))
}

/// Every byte that is not plain, percent-encoded.
pub(crate) fn encode(key: &str) -> String {
    key.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

//! A server that speaks as much of S3 as backups need, in memory.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::{Body, to_bytes};
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_MATCH, LAST_MODIFIED, RANGE};
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use crate::signature::fault;

pub(crate) const KEY_ID: &str = "AKIDFORTESTSONLY";
pub(crate) const SECRET_KEY: &str = "a-secret-key-for-tests-only/+";
pub(crate) const REGION: &str = "here-1";
const BUCKET: &str = "backups";
const BODY_BYTES_MAX: usize = 64 << 20;
/// Objects on a page of a list: few, so that there are many pages.
const PAGE: usize = 2;

/// What the server does wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Closes the connection instead of answering what this is true of, so many times.
    Cut(&'static str, usize),
    /// Sends half of what it announced, so many times.
    Half(usize),
    /// Answers like this, always.
    Refuse(&'static str),
}

#[derive(Debug, Default)]
pub(crate) struct State {
    /// By key.
    pub(crate) objects: BTreeMap<String, Bytes>,
    /// By id: the key, and the parts.
    pub(crate) uploads: BTreeMap<String, (String, BTreeMap<usize, Bytes>)>,
    pub(crate) fault: Option<Fault>,
    /// What was asked: method, path and query.
    pub(crate) asked: Vec<String>,
    /// The largest body that came.
    pub(crate) body_bytes: usize,
    drawn: u64,
}

#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { address, state }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The keys of what is there.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.state().objects.keys().cloned().collect()
    }

    pub(crate) fn fail(&self, fault: impl Into<Option<Fault>>) {
        self.state().fault = fault.into();
    }

    /// An upload that somebody has left.
    pub(crate) fn leave(&self, id: &str, key: &str) {
        let parts = BTreeMap::from([(1, Bytes::from_static(b"part"))]);
        self.state()
            .uploads
            .insert(id.to_owned(), (key.to_owned(), parts));
    }
}

async fn serve(stream: TcpStream, state: Arc<Mutex<State>>) {
    let service = service_fn(move |request| answer(Arc::clone(&state), request));
    // A connection that was cut ends with an error.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(state: Arc<Mutex<State>>, request: Request<Incoming>) -> io::Result<Response<Body>> {
    let (head, body) = request.into_parts();
    let body = to_bytes(Body::new(body), BODY_BYTES_MAX)
        .await
        .map_err(io::Error::other)?;
    let (answered, is_half) = state.lock().unwrap().take(&head, body)?;
    Ok(match is_half {
        true => cut_in_half(answered).await,
        false => answered,
    })
}

/// The length of all of it, and the first half of the bytes.
async fn cut_in_half(whole: Response<Body>) -> Response<Body> {
    let (mut head, body) = whole.into_parts();
    let bytes = to_bytes(body, BODY_BYTES_MAX).await.unwrap();
    head.headers.insert(CONTENT_LENGTH, bytes.len().into());
    let first = bytes.slice(..bytes.len() / 2);
    let pieces = [Ok(first), Err(io::Error::other("cut"))];
    Response::from_parts(head, Body::from_stream(futures::stream::iter(pieces)))
}

fn refusal(status: StatusCode, code: &str) -> Response<Body> {
    let body = format!(
        "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>no</Message><AWSAccessKeyId>{KEY_ID}</AWSAccessKeyId></Error>"
    );
    let mut answer = Response::new(body.into());
    *answer.status_mut() = status;
    answer
}

/// As the place where a machine of Amazon's asks for keys.
fn lend(head: &Parts) -> Option<String> {
    let rest = head.uri.path().strip_prefix("/latest/")?;
    Some(match rest {
        "api/token" => "a-token".to_owned(),
        "meta-data/iam/security-credentials/" => "a-role".to_owned(),
        _ => format!(
            "{{\"Code\":\"Success\",\"AccessKeyId\":\"{KEY_ID}\",\"SecretAccessKey\":\"{SECRET_KEY}\",\
             \"Token\":\"lent\",\"Expiration\":\"2099-01-01T00:00:00Z\"}}"
        ),
    })
}

/// Other bytes have another tag, as far as these tests go: it is asked for with every range.
fn tag(bytes: &[u8]) -> String {
    let sample: u64 = bytes.iter().step_by(4_099).map(|byte| u64::from(*byte)).sum();
    format!("\"{:x}-{sample:x}\"", bytes.len())
}

fn tagged(bytes: &[u8]) -> Response<Body> {
    let mut answer = Response::new(Body::empty());
    answer.headers_mut().insert(ETAG, tag(bytes).parse().unwrap());
    answer
}

impl State {
    /// The answer to a request, and whether only half of it shall arrive.
    fn take(&mut self, head: &Parts, body: Bytes) -> io::Result<(Response<Body>, bool)> {
        let line = format!("{} {}", head.method, head.uri);
        self.body_bytes = self.body_bytes.max(body.len());
        self.asked.push(line.clone());
        let mut is_half = false;
        match self.fault.clone() {
            Some(Fault::Cut(what, times)) if line.contains(what) => {
                self.fault = (times > 1).then_some(Fault::Cut(what, times - 1));
                return Err(io::Error::other("cut"));
            }
            Some(Fault::Half(times)) if head.method == Method::GET && head.headers.contains_key(RANGE) => {
                self.fault = (times > 1).then_some(Fault::Half(times - 1));
                is_half = true;
            }
            Some(Fault::Refuse(code)) => return Ok((refusal(StatusCode::SERVICE_UNAVAILABLE, code), false)),
            _ => {}
        }
        if let Some(lent) = lend(head) {
            return Ok((Response::new(lent.into()), false));
        }
        if let Some(code) = fault(head, &body, (KEY_ID, SECRET_KEY), REGION) {
            return Ok((refusal(StatusCode::FORBIDDEN, code), false));
        }
        let path = head.uri.path().trim_start_matches('/');
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        if bucket != BUCKET {
            return Ok((refusal(StatusCode::NOT_FOUND, "NoSuchBucket"), false));
        }
        Ok((self.answer(head, key, body), is_half))
    }

    fn answer(&mut self, head: &Parts, key: &str, body: Bytes) -> Response<Body> {
        let query: BTreeMap<String, String> = head
            .uri
            .query()
            .unwrap_or("")
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (name.to_owned(), value.replace("%2F", "/")))
            .collect();
        let asked = |name: &str| query.get(name).cloned();
        match (head.method.clone(), asked("uploadId")) {
            (Method::GET, None) if asked("list-type").is_some() => self.list(&query),
            (Method::GET, None) if asked("uploads").is_some() => self.list_uploads(&query),
            (Method::POST, None) => self.begin(key),
            (Method::PUT, None) => {
                let answer = tagged(&body);
                self.objects.insert(key.to_owned(), body);
                answer
            }
            (Method::PUT, Some(id)) => {
                self.take_part(&id, asked("partNumber").unwrap().parse().unwrap(), body)
            }
            (Method::POST, Some(id)) => self.complete(&id),
            (Method::DELETE, Some(id)) => match self.uploads.remove(&id) {
                Some(_) => status(StatusCode::NO_CONTENT),
                None => refusal(StatusCode::NOT_FOUND, "NoSuchUpload"),
            },
            (Method::DELETE, None) => {
                self.objects.remove(key);
                status(StatusCode::NO_CONTENT)
            }
            (method, _) => self.read(head, &method, key),
        }
    }

    fn begin(&mut self, key: &str) -> Response<Body> {
        self.drawn += 1;
        let id = format!("upload.{}", self.drawn);
        self.uploads.insert(id.clone(), (key.to_owned(), BTreeMap::new()));
        xml(
            "InitiateMultipartUploadResult",
            &format!("<UploadId>{id}</UploadId>"),
        )
    }

    fn take_part(&mut self, id: &str, number: usize, body: Bytes) -> Response<Body> {
        let Some((_, parts)) = self.uploads.get_mut(id) else {
            return refusal(StatusCode::NOT_FOUND, "NoSuchUpload");
        };
        let answer = tagged(&body);
        parts.insert(number, body);
        answer
    }

    fn complete(&mut self, id: &str) -> Response<Body> {
        let Some((key, parts)) = self.uploads.remove(id) else {
            return refusal(StatusCode::NOT_FOUND, "NoSuchUpload");
        };
        assert!(parts.keys().copied().eq(1..=parts.len()), "parts without gaps");
        let whole: Bytes = parts.into_values().flatten().collect();
        let answer = format!("<ETag>{}</ETag>", tag(&whole));
        self.objects.insert(key, whole);
        xml("CompleteMultipartUploadResult", &answer)
    }

    fn list(&self, query: &BTreeMap<String, String>) -> Response<Body> {
        let prefix = query.get("prefix").map_or("", String::as_str);
        let after = query.get("continuation-token").cloned().unwrap_or_default();
        let found: Vec<_> = self
            .objects
            .iter()
            .filter(|(key, _)| {
                key.strip_prefix(prefix).is_some_and(|rest| !rest.contains('/')) && **key > after
            })
            .collect();
        let page = found.get(..PAGE).unwrap_or(&found);
        let mut body: String = page
            .iter()
            .map(|(key, bytes)| {
                format!(
                    "<Contents><Key>{key}</Key><LastModified>2026-11-22T12:00:00.000Z</LastModified><ETag>{}</ETag><Size>{}</Size></Contents>",
                    tag(bytes),
                    bytes.len()
                )
            })
            .collect();
        if let Some((key, _)) = page.last().filter(|_| found.len() > PAGE) {
            body.push_str(&format!("<NextContinuationToken>{key}</NextContinuationToken>"));
        }
        xml("ListBucketResult", &body)
    }

    fn list_uploads(&self, query: &BTreeMap<String, String>) -> Response<Body> {
        let prefix = query.get("prefix").map_or("", String::as_str);
        let uploads = self
            .uploads
            .iter()
            .filter(|(_, (key, _))| key.starts_with(prefix));
        let body: String = uploads
            .map(|(id, (key, _))| format!("<Upload><Key>{key}</Key><UploadId>{id}</UploadId></Upload>"))
            .collect();
        xml("ListMultipartUploadsResult", &body)
    }

    fn read(&self, head: &Parts, method: &Method, key: &str) -> Response<Body> {
        let Some(bytes) = self.objects.get(key) else {
            return refusal(StatusCode::NOT_FOUND, "NoSuchKey");
        };
        let mut answer = tagged(bytes);
        let wanted = head.headers.get(IF_MATCH).map(|wanted| wanted.to_str().unwrap());
        if wanted.is_some_and(|wanted| wanted != tag(bytes)) {
            return refusal(StatusCode::PRECONDITION_FAILED, "PreconditionFailed");
        }
        let headers = answer.headers_mut();
        headers.insert(LAST_MODIFIED, "Sun, 22 Nov 2026 12:00:00 GMT".parse().unwrap());
        if *method == Method::HEAD {
            headers.insert(CONTENT_LENGTH, bytes.len().into());
            return answer;
        }
        let range = head.headers.get(RANGE).unwrap().to_str().unwrap();
        let (start, end) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        let (start, end): (usize, usize) = (start.parse().unwrap(), end.parse::<usize>().unwrap() + 1);
        let Some(part) = bytes
            .get(start..end.min(bytes.len()))
            .filter(|part| !part.is_empty())
        else {
            return refusal(StatusCode::RANGE_NOT_SATISFIABLE, "InvalidRange");
        };
        let told = format!("bytes {start}-{}/{}", start + part.len() - 1, bytes.len());
        headers.insert(CONTENT_RANGE, told.parse().unwrap());
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
        *answer.body_mut() = Body::from(bytes.slice_ref(part));
        answer
    }
}

fn status(status: StatusCode) -> Response<Body> {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = status;
    answer
}

fn xml(name: &str, body: &str) -> Response<Body> {
    Response::new(format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><{name}>{body}</{name}>").into())
}

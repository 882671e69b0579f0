//! Requests that came in by HTTP: how many of each route, how they ended, how long they took.
//!
//! A series belongs to a route of the table of routes and a method that it has, never to a path that somebody sent: whatever
//! is no route is counted as one.

use std::sync::Arc;
use std::time::Instant;

use axum::http::{Method, StatusCode};
use concord_raft::stats::{Counter, Histogram, HistogramCounts};

use super::requests::place;
use crate::http::Routes;

/// Threads that count at the same time count in different places, most of the time.
const SHARDS: usize = 4;

/// How requests end. Nobody waited for the answer of the last.
const ENDS: [&str; 6] = ["2xx", "3xx", "4xx", "5xx", "other", "gone"];
const OTHER_STATUS: usize = 4;
const GONE: usize = 5;

/// Methods of routes. Anybody can make up others.
const METHODS: [&str; 6] = ["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH"];

/// The labels of what is no route, or a method that a route does not have.
pub(super) const NO_ROUTE: (&str, &str) = ("_other", "_other");

/// What some threads count of one route and method.
#[derive(Debug, Default)]
struct Answers {
    ends: [Counter; ENDS.len()],
    times: Histogram,
}

#[derive(Debug)]
struct Shard {
    /// In the order of the series, and at last those of no route.
    answers: Box<[Answers]>,
    arrived: Counter,
    received_bytes: Counter,
    sent_bytes: Counter,
    connected: Counter,
    disconnected: Counter,
}

/// What one HTTP listener counts.
#[derive(Debug)]
pub(crate) struct HttpStats {
    routes: Arc<Routes>,
    /// Of each route, by method, the number of its series.
    numbers: Vec<[Option<usize>; METHODS.len()]>,
    /// Route and method of each series.
    series: Vec<(String, &'static str)>,
    shards: Box<[Shard]>,
}

impl HttpStats {
    /// For routes with the methods that each has, in the order of their numbers.
    pub(crate) fn new(routes: Arc<Routes>, table: &[(String, Vec<&'static str>)]) -> Self {
        let (mut numbers, mut series) = (Vec::new(), Vec::new());
        for (route, methods) in table {
            let mut own = [None; METHODS.len()];
            for (number, method) in own.iter_mut().zip(METHODS) {
                // A route that can be got has a head, too.
                let asked = if method == "HEAD" { "GET" } else { method };
                if methods.contains(&asked) {
                    *number = Some(series.len());
                    series.push((route.clone(), method));
                }
            }
            numbers.push(own);
        }
        let shard = || Shard {
            answers: (0..=series.len()).map(|_| Answers::default()).collect(),
            arrived: Counter::default(),
            received_bytes: Counter::default(),
            sent_bytes: Counter::default(),
            connected: Counter::default(),
            disconnected: Counter::default(),
        };
        Self {
            shards: (0..SHARDS).map(|_| shard()).collect(),
            routes,
            numbers,
            series,
        }
    }

    /// A request has come. It is counted when it is answered, or when nobody waits for that any more.
    pub(crate) fn arrived(self: &Arc<Self>, method: &Method, path: &str) -> Underway {
        let route = self.routes.number_of(path);
        let methods = route.and_then(|route| self.numbers.get(route));
        let place = METHODS.iter().position(|known| *known == method.as_str());
        let series = methods.zip(place).and_then(|(all, place)| *all.get(place)?);
        if let Some(shard) = self.shard() {
            shard.arrived.add(1);
        }
        Underway {
            stats: Arc::clone(self),
            series: series.unwrap_or(self.series.len()),
            began: Instant::now(),
            end: GONE,
        }
    }

    /// Bytes were read from a connection.
    pub(crate) fn received(&self, bytes: usize) {
        if let Some(shard) = self.shard() {
            shard.received_bytes.add(bytes as u64);
        }
    }

    /// Bytes were written to a connection.
    pub(crate) fn sent(&self, bytes: usize) {
        if let Some(shard) = self.shard() {
            shard.sent_bytes.add(bytes as u64);
        }
    }

    /// Somebody has connected, for as long as what is returned is kept.
    pub(crate) fn connected(self: &Arc<Self>) -> Connected {
        if let Some(shard) = self.shard() {
            shard.connected.add(1);
        }
        Connected(Arc::clone(self))
    }

    fn shard(&self) -> Option<&Shard> {
        self.shards.get(place() % SHARDS)
    }

    fn sum(&self, of: impl Fn(&Shard) -> &Counter) -> u64 {
        self.shards.iter().map(|shard| of(shard).get()).sum()
    }

    /// Requests that have come and are not answered.
    pub(super) fn in_flight(&self) -> u64 {
        // What ended first: it had come by then.
        let all = self.shards.iter().flat_map(|shard| &shard.answers);
        let ended: u64 = all.flat_map(|answers| &answers.ends).map(Counter::get).sum();
        self.sum(|shard| &shard.arrived).saturating_sub(ended)
    }

    /// Open connections.
    pub(super) fn connections(&self) -> u64 {
        let ended = self.sum(|shard| &shard.disconnected);
        self.sum(|shard| &shard.connected).saturating_sub(ended)
    }

    pub(super) fn received_bytes(&self) -> u64 {
        self.sum(|shard| &shard.received_bytes)
    }

    pub(super) fn sent_bytes(&self) -> u64 {
        self.sum(|shard| &shard.sent_bytes)
    }

    /// Calls `visit` with route, method and end of all that there were, and how many.
    pub(super) fn each_end(&self, mut visit: impl FnMut(&str, &str, &str, u64)) {
        self.each(|route, method, answers| {
            for (end, name) in ENDS.iter().enumerate() {
                let counters = answers.iter().filter_map(|answers| answers.ends.get(end));
                let count: u64 = counters.map(Counter::get).sum();
                if count > 0 {
                    visit(route, method, name, count);
                }
            }
        });
    }

    /// Calls `visit` with route and method of all that there were, and how long they took.
    pub(super) fn each_time(&self, mut visit: impl FnMut(&str, &str, HistogramCounts)) {
        self.each(|route, method, answers| {
            let mut sum = HistogramCounts::default();
            for answers in answers {
                sum.add(&answers.times.counts());
            }
            if sum.count() > 0 {
                visit(route, method, sum);
            }
        });
    }

    fn each(&self, mut visit: impl FnMut(&str, &str, &[&Answers])) {
        let series = self
            .series
            .iter()
            .map(|(route, method)| (route.as_str(), *method));
        for (number, (route, method)) in series.chain([NO_ROUTE]).enumerate() {
            let answers = self.shards.iter().filter_map(|shard| shard.answers.get(number));
            visit(route, method, &answers.collect::<Vec<_>>());
        }
    }
}

/// A request that is not answered.
#[derive(Debug)]
pub(crate) struct Underway {
    stats: Arc<HttpStats>,
    series: usize,
    began: Instant,
    end: usize,
}

impl Underway {
    /// The head of its answer is made.
    pub(crate) fn answered(mut self, status: StatusCode) {
        self.end = match status.as_u16() / 100 {
            2 => 0,
            3 => 1,
            4 => 2,
            5 => 3,
            _ => OTHER_STATUS,
        };
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        let shard = self.stats.shard();
        let Some(answers) = shard.and_then(|shard| shard.answers.get(self.series)) else {
            return;
        };
        answers.times.record_time(self.began.elapsed());
        if let Some(count) = answers.ends.get(self.end) {
            count.add(1);
        }
    }
}

/// Somebody who is connected.
#[derive(Debug)]
pub(crate) struct Connected(Arc<HttpStats>);

impl Drop for Connected {
    fn drop(&mut self) {
        if let Some(shard) = self.0.shard() {
            shard.disconnected.add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats() -> Arc<HttpStats> {
        let routes = ["/kv/{key}", "/txn"].map(str::to_owned).to_vec();
        let table = vec![
            ("/kv/{key}".to_owned(), vec!["GET", "PUT"]),
            ("/txn".to_owned(), vec!["POST"]),
        ];
        Arc::new(HttpStats::new(Arc::new(Routes::new(routes)), &table))
    }

    fn ends(stats: &HttpStats) -> Vec<String> {
        let mut ends = Vec::new();
        stats.each_end(|route, method, end, count| ends.push(format!("{method} {route} {end} {count}")));
        ends
    }

    /// D-MET-1: whatever is sent, the series are those of the table.
    #[test]
    fn what_callers_choose_is_no_label() {
        let stats = stats();
        for path in ["/kv/secret", "/kv/other", "/kv/a/b", "/secret", "", "/txn"] {
            for method in ["GET", "HEAD", "POST", "SECRET"] {
                let method = Method::from_bytes(method.as_bytes()).unwrap();
                stats.arrived(&method, path).answered(StatusCode::OK);
            }
        }
        assert_eq!(
            ends(&stats),
            [
                "GET /kv/{key} 2xx 2",
                "HEAD /kv/{key} 2xx 2",
                "POST /txn 2xx 1",
                "_other _other 2xx 19"
            ]
        );
    }

    #[test]
    fn requests_are_in_flight_until_they_end_in_one_way_or_another() {
        let stats = stats();
        let connected = stats.connected();
        let (one, other) = (
            stats.arrived(&Method::PUT, "/kv/k"),
            stats.arrived(&Method::PUT, "/kv/k"),
        );
        assert_eq!((stats.in_flight(), stats.connections()), (2, 1));
        one.answered(StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(stats.in_flight(), 1);
        drop((other, connected));
        assert_eq!((stats.in_flight(), stats.connections()), (0, 0));
        assert_eq!(ends(&stats), ["PUT /kv/{key} 5xx 1", "PUT /kv/{key} gone 1"]);
        let mut times = Vec::new();
        stats.each_time(|route, method, counts| times.push(format!("{method} {route} {}", counts.count())));
        assert_eq!(times, ["PUT /kv/{key} 2"]);
    }
}

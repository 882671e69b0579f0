//! One suite of API cases against every door to the store: the embedded handle, one node
//! over HTTP, and three nodes over HTTP, written through one and read through another.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected is to fail there, with the place in its message"
)]

mod access;
mod audit;
mod backups;
mod bad_input;
mod cases;
#[path = "../../../concord-net/tests/loopback/certificates.rs"]
#[expect(dead_code, reason = "made for tests of peers, too")]
mod certificates;
mod cluster;
mod compression;
mod contract;
mod data_plane;
mod door;
mod gossip;
mod indexes;
mod leases;
mod lifecycle;
mod membership;
mod metrics;
mod old_data;
mod patience;
mod protocol;
mod queries;
mod recipes;
mod restores;
mod subscriptions;
mod tenants;
mod tls;
mod traces;
mod txns;
mod watches;
mod wire;

use crate::cluster::Cluster;
use crate::door::Door;

#[tokio::test]
async fn every_case_holds_for_the_embedded_handle() {
    let cluster = Cluster::start(1).await;
    cases::run_all(&Door::Embedded(cluster.node(0).clone())).await;
    cluster.stop().await;
}

#[tokio::test]
async fn every_case_holds_for_one_node_over_http() {
    let cluster = Cluster::start(1).await;
    cases::run_all(&Door::http(&cluster.url(0), &cluster.url(0))).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_case_holds_for_three_nodes_over_http() {
    let cluster = Cluster::start(3).await;
    cases::run_all(&Door::http(&cluster.url(1), &cluster.url(2))).await;
    cluster.stop().await;
}

/// A client that connects to nodes only. The library wants to be told about TLS even where there is none.
fn http_client() -> reqwest::Client {
    let trust = concord_net::tls::Trust::Authorities(Vec::new());
    reqwest::Client::builder()
        .tls_backend_preconfigured(concord_net::tls::client_config(trust, None).unwrap())
        .no_proxy()
        .build()
        .unwrap()
}

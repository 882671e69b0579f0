//! Byte forms: what a request, an entry and a document cost to write and read.

use std::collections::BTreeMap;

use bytes::Bytes;
use concord_benches::fixture::{BATCH, loaded, put};
use concord_core::{Batch, Command, Document, document};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn request(c: &mut Criterion) {
    let mut group = c.benchmark_group("codec/put");
    let bytes = put(7);
    let command = Command::decode(&bytes).expect("it was just encoded");
    group.throughput(Throughput::Elements(1));
    group.bench_function("encode", |b| b.iter(|| command.to_bytes()));
    group.bench_function("decode", |b| b.iter(|| Command::decode(&bytes)));
    group.finish();
}

fn batch(c: &mut Criterion) {
    let mut group = c.benchmark_group("codec/batch_256");
    let (_, mut log) = loaded(1);
    let (_, batch) = log.inserts(1);
    let mut out = Vec::new();
    batch.encode(&mut out);
    let bytes = Bytes::from(out.clone());
    group.throughput(Throughput::Elements(u64::try_from(BATCH).unwrap_or_default()));
    group.bench_function("encode", |b| {
        b.iter(|| {
            out.clear();
            batch.encode(&mut out);
            out.len()
        });
    });
    group.bench_function("decode", |b| b.iter(|| Batch::decode(&bytes)));
    group.finish();
}

/// A user as applications store them: ten fields, one of them a list.
fn documents(c: &mut Criterion) {
    let mut group = c.benchmark_group("codec/document");
    let mut fields: BTreeMap<String, Document> = (0..8_i64)
        .map(|n| (format!("field_{n}"), Document::integer(n * 1_000)))
        .collect();
    fields.insert("name".into(), Document::String("a name of some length".into()));
    fields.insert(
        "tags".into(),
        Document::Array(vec![Document::String("tag".into()); 5]),
    );
    let tree = Document::Object(fields);
    let bytes = tree.encode().expect("it is not deep");
    group.throughput(Throughput::Bytes(u64::try_from(bytes.len()).unwrap_or_default()));
    group.bench_function("encode", |b| b.iter(|| tree.encode()));
    group.bench_function("decode", |b| b.iter(|| Document::decode(&bytes)));
    group.bench_function("validate", |b| b.iter(|| document::validate(&bytes)));
    group.finish();
}

criterion_group!(benches, request, batch, documents);
criterion_main!(benches);

//! Micro benches of the three layers a request passes: decoding, the store, and dispatch with its reply.
//!
//! `cargo bench -p millpond-benches`. For changes between two commits count instructions instead:
//! `valgrind --tool=callgrind` on the bench binary with `--profile-time 1 <name>`.

use commands::call::Call;
use commands::clients::Client;
use commands::dispatch;
use commands::host::{Host, ProcessStats};
use commands::node::Node;
use commands::session::Session;
use commands::settings::Settings;
use commands::table;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use protocol::{Args, Decoder, Limits, Output, Protocol, ReplyWriter, Span, Status};
use std::hint::black_box;
use storage::{Cx, Db, Layout, NewValue, Slot, Stage, Store};

/// Requests in one decoded pipeline.
const PIPELINE: usize = 64;
/// Keys of the store benches: more than the caches hold.
const KEYS: u64 = 2_000_000;

struct NoHost;

impl Host for NoHost {
    fn wake(&self, _core: usize) {}
    fn process(&self) -> ProcessStats {
        ProcessStats::default()
    }
    fn setting_changed(&self, _name: &str, _text: &str) {}
}

fn key(n: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key.copy_from_slice(format!("{:016x}", n.wrapping_mul(0x9E37_79B9_7F4A_7C15)).as_bytes());
    key
}

fn set_request(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut request = b"*3\r\n$3\r\nSET\r\n".to_vec();
    for arg in [key, value] {
        request.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        request.extend_from_slice(arg);
        request.extend_from_slice(b"\r\n");
    }
    request
}

fn decode(c: &mut Criterion) {
    let mut pipeline: Vec<u8> = (0..PIPELINE as u64).flat_map(|n| set_request(&key(n), &[b'v'; 64])).collect();
    let mut group = c.benchmark_group("decode");
    group.throughput(Throughput::Elements(PIPELINE as u64));
    group.bench_function("pipeline of SET", |b| {
        let mut spans: Vec<Span> = Vec::new();
        b.iter(|| {
            spans.clear();
            let (mut decoder, mut at) = (Decoder::new(), 0);
            while let Ok(Status::Complete { consumed, .. }) =
                decoder.decode(&mut pipeline[at..], &Limits::DEFAULT, &mut spans)
            {
                at += consumed;
            }
            black_box(spans.len())
        });
    });
}

fn filled() -> &'static Store {
    let store = Box::leak(Box::new(Store::new(Layout::new(1024, [1, 2, 3, 4]))));
    let mut participant = store.join();
    let mut access = participant.batch();
    for n in 0..KEYS {
        let key = key(n);
        let kh = access.hash(&key);
        access.one(Db(0), kh, &key, &Cx::at(1), |slot| slot.put(NewValue::Bytes(&[b'v'; 64]), None));
    }
    store
}

fn lookups(c: &mut Criterion) {
    let store = filled();
    let mut participant = store.join();
    let mut group = c.benchmark_group("store");
    group.throughput(Throughput::Elements(PIPELINE as u64));
    for prefetch in [false, true] {
        let name = if prefetch { "64 reads of random keys, prefetched" } else { "64 reads of random keys, one by one" };
        group.bench_function(name, |b| {
            let mut next = 0u64;
            b.iter(|| {
                let mut access = participant.batch();
                let keys: Vec<_> = (0..PIPELINE as u64)
                    .map(|n| {
                        let key = key((next + n * 7919) % KEYS);
                        (access.hash(&key), key)
                    })
                    .collect();
                next += 104_729;
                if prefetch {
                    for stage in [Stage::Bucket, Stage::Entry] {
                        keys.iter().for_each(|(kh, _)| access.prefetch(Db(0), *kh, stage));
                    }
                }
                let mut bytes = 0;
                for (kh, key) in &keys {
                    bytes += access.one(Db(0), *kh, key, &Cx::at(1), |slot| match slot {
                        Slot::Live(live) => live.value().len(),
                        Slot::Vacant(_) => 0,
                    });
                }
                black_box(bytes)
            });
        });
    }
}

fn dispatching(c: &mut Criterion) {
    let store = filled();
    let node = Node::new(Settings::default(), 1, Box::new(NoHost), "0".repeat(40), 1);
    let client = node.clients.register(Client::new(1, 0, "test:1".into(), "test:2".into(), 0, false, 1));
    let mut session = Session::new(client, true);
    let mut participant = store.join();
    let mut effects = Vec::new();
    let mut output = Output::new();
    let mut group = c.benchmark_group("dispatch");
    let key = key(7);
    for (name, parts) in [("GET", vec![&b"GET"[..], &key]), ("SET", vec![&b"SET"[..], &key, &[b'v'; 64]])] {
        let request = protocol::OwnedRequest::from_slices(&parts);
        group.bench_function(name, |b| {
            b.iter(|| {
                let mut access = participant.batch();
                let args: Args<'_> = request.as_args();
                let lookup = table::find(args);
                let table::Lookup::Command(command) = lookup else { panic!("{name} is known") };
                let mut call = Call {
                    command,
                    args,
                    first_hash: Some(access.hash(&key)),
                    session: &mut session,
                    store: &mut access,
                    reply: ReplyWriter::new(&mut output, Protocol::Resp2),
                    cx: Cx::at(1),
                    node: &node,
                    stats: &node.workers[0],
                    effects: &mut effects,
                };
                black_box(dispatch::dispatch(&mut call, lookup));
                output.clear();
            });
        });
    }
}

criterion_group!(micro, decode, lookups, dispatching);
criterion_main!(micro);

//! What projections are measured beside: the loops that people write themselves.
//!
//! ```text
//! sinks map    BOOTSTRAP TOPIC RECORDS [REGISTRY]   a consumer of a group with automatic commits, into a concurrent map
//! sinks socket BOOTSTRAP TOPIC RECORDS PORT         the same into a server: SET with an expiry for each record, pipelined
//! ```
//!
//! Each reads a whole topic and prints one JSON object: wall and CPU seconds, of the thread that consumes alone. `map` with a
//! registry decodes Avro as such loops do: one schema, resolved for each record.

use apache_avro::Schema;
use apache_avro::types::Value;
use dashmap::DashMap;
use rdkafka::Message;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Records sent before replies are awaited.
const PIPELINE: usize = 256;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["map", bootstrap, topic, records] => map(bootstrap, topic, records, None),
        ["map", bootstrap, topic, records, registry] => map(bootstrap, topic, records, Some(registry)),
        ["socket", bootstrap, topic, records, port] => socket(bootstrap, topic, records, port),
        _ => {
            eprintln!("usage: sinks (map BOOTSTRAP TOPIC RECORDS [SCHEMA] | socket BOOTSTRAP TOPIC RECORDS PORT)");
            std::process::exit(2);
        }
    }
}

/// Calls `each` with every record until that many came.
fn consume(bootstrap: &str, topic: &str, records: &str, mut each: impl FnMut(&[u8], Option<&[u8]>)) {
    let wanted: u64 = records.parse().expect("a number of records");
    let group = format!("sinks-{}", std::process::id());
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", &group)
        .set("enable.auto.commit", "true")
        .set("auto.offset.reset", "earliest")
        .create()
        .expect("a consumer");
    consumer.subscribe(&[topic]).expect("a subscription");
    let (mut seen, mut begun) = (0, None);
    while seen < wanted {
        if let Some(message) = consumer.poll(Duration::from_secs(60)) {
            let message = message.expect("a record");
            // Joining the group is not what is measured.
            begun.get_or_insert_with(|| (Instant::now(), cpu()));
            each(message.key().unwrap_or_default(), message.payload());
            seen += 1;
        }
    }
    let (at, spent) = begun.expect("a record");
    println!("{{\"wall\": {:.3}, \"cpu\": {:.3}}}", at.elapsed().as_secs_f64(), cpu() - spent);
}

/// CPU seconds of this thread.
fn cpu() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn map(bootstrap: &str, topic: &str, records: &str, schema: Option<&str>) {
    let schema = schema.map(|text| Schema::parse_str(text).expect("a schema"));
    match schema {
        None => {
            let map: DashMap<Vec<u8>, Vec<u8>> = DashMap::new();
            consume(bootstrap, topic, records, |key, value| match value {
                Some(value) => drop(map.insert(key.to_vec(), value.to_vec())),
                None => drop(map.remove(key)),
            });
        }
        Some(schema) => {
            let map: DashMap<Vec<u8>, Value> = DashMap::new();
            consume(bootstrap, topic, records, |key, value| match value {
                Some(value) => {
                    #[allow(deprecated)] // it is what such loops call
                    let value = apache_avro::from_avro_datum(&schema, &mut &value[5..], None).expect("a value");
                    map.insert(key.to_vec(), value);
                }
                None => drop(map.remove(key)),
            });
        }
    }
}

fn socket(bootstrap: &str, topic: &str, records: &str, port: &str) {
    let mut stream = TcpStream::connect(("127.0.0.1", port.parse().expect("a port"))).expect("a server");
    stream.set_nodelay(true).expect("a socket");
    let (mut request, mut pending) = (Vec::new(), 0);
    let mut flush = |request: &mut Vec<u8>, pending: &mut usize| {
        stream.write_all(request).expect("the server takes it");
        request.clear();
        let mut replies = vec![0; *pending * 5];
        stream.read_exact(&mut replies).expect("replies");
        assert!(replies.chunks(5).all(|reply| reply == b"+OK\r\n"));
        *pending = 0;
    };
    let wanted: u64 = records.parse().expect("a number of records");
    let mut seen = 0;
    consume(bootstrap, topic, records, |key, value| {
        let value = value.unwrap_or_default();
        write!(request, "*5\r\n$3\r\nSET\r\n${}\r\n", key.len()).expect("memory");
        request.extend_from_slice(key);
        write!(request, "\r\n${}\r\n", value.len()).expect("memory");
        request.extend_from_slice(value);
        request.extend_from_slice(b"\r\n$2\r\nEX\r\n$5\r\n86400\r\n");
        (pending, seen) = (pending + 1, seen + 1);
        if pending == PIPELINE || seen == wanted {
            flush(&mut request, &mut pending);
        }
    });
}

//! What projections are measured beside: the loops that people write themselves.
//!
//! ```text
//! sinks map    BOOTSTRAP TOPIC RECORDS [REGISTRY]   a consumer of a group with automatic commits, into a concurrent map
//! sinks socket BOOTSTRAP TOPIC RECORDS PORT         the same into a server: SET with an expiry for each record, pipelined
//! sinks live   BOOTSTRAP TOPIC RATE SECONDS PORT    no loop: a steady producer, and a reader of what a projection makes of it
//! ```
//!
//! The loops read a whole topic and print one JSON object: wall and CPU seconds, of the thread that consumes alone. `map` with a
//! registry decodes Avro as such loops do: one schema, resolved for each record. `live` prints the time from the producer's call to the
//! value being readable at the server, in ms, to the brokers' acknowledgement, and from that to readable: what lies before it is theirs and
//! the producer's.

use apache_avro::Schema;
use apache_avro::types::Value;
use dashmap::DashMap;
use rdkafka::Message;
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
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
        ["live", bootstrap, topic, rate, seconds, port] => live(bootstrap, topic, rate, seconds, port),
        _ => {
            eprintln!(
                "usage: sinks (map BOOTSTRAP TOPIC RECORDS [SCHEMA] | socket BOOTSTRAP TOPIC RECORDS PORT | live BOOTSTRAP TOPIC RATE SECONDS PORT)"
            );
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

/// Probes a second, among the other records.
const PROBES: u64 = 500;

fn live(bootstrap: &str, topic: &str, rate: &str, seconds: &str, port: &str) {
    let (rate, seconds): (u64, u64) = (rate.parse().expect("a rate"), seconds.parse().expect("seconds"));
    let port: u16 = port.parse().expect("a port");
    let begun = Instant::now();
    let time = Duration::from_secs(seconds);
    let reading = std::thread::spawn(move || read_probes(begun, time + Duration::from_secs(2), port));
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("queue.buffering.max.messages", "1000000");
    let acknowledged = Acknowledged { begun, lags: Arc::default() };
    let lags_to_ack = Arc::clone(&acknowledged.lags);
    let producer: ThreadedProducer<Acknowledged> = config.create_with_context(acknowledged).expect("a producer");
    let (body, mut sent) = (vec![b'x'; 100], 0);
    while begun.elapsed() < time {
        let due = (begun.elapsed().as_secs_f64() * rate as f64) as u64;
        while sent < due {
            let is_probe = sent % (rate / PROBES).max(1) == 0;
            let sent_ns = if is_probe { begun.elapsed().as_nanos() as usize } else { 0 };
            let (key, value) = match is_probe {
                true => ("probe".to_owned(), sent_ns.to_string().into_bytes()),
                false => (format!("k{}", sent % 100_000), body.clone()),
            };
            let record = BaseRecord::with_opaque_to(topic, sent_ns).key(&key).payload(&value);
            producer.send(record).map_err(|(error, _)| error).expect("room");
            sent += 1;
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    producer.flush(Duration::from_secs(10)).expect("all is written");
    let (readable, acknowledged) =
        (reading.join().expect("the reader"), core::mem::take(&mut *lags_to_ack.lock().expect("one")));
    let when: HashMap<u64, f64> = acknowledged.iter().copied().collect();
    // Of those that were read while they were the latest; some are readable before their producer hears of it.
    let behind = readable.iter().filter_map(|(sent_ns, lag_ms)| Some((lag_ms - when.get(sent_ns)?).max(0.0))).collect();
    let lags = |of: Vec<(u64, f64)>| spread(of.into_iter().map(|(_, lag_ms)| lag_ms).collect());
    println!(
        "{{\"sent\": {sent}, \"acknowledged\": {}, \"readable\": {}, \"behind\": {}}}",
        lags(acknowledged),
        lags(readable),
        spread(behind)
    );
}

/// Samples, median and tails, as JSON.
fn spread(mut lags: Vec<f64>) -> String {
    lags.sort_by(f64::total_cmp);
    let at = |share: f64| lags[((lags.len() as f64 * share) as usize).min(lags.len() - 1)];
    format!("[{}, {:.2}, {:.2}, {:.2}]", lags.len(), at(0.5), at(0.99), at(0.999))
}

/// Probes by when they were sent, ns since the start, with how long something took then, ms.
type Lags = Vec<(u64, f64)>;

/// Notes how long probes took until they were acknowledged.
struct Acknowledged {
    begun: Instant,
    lags: Arc<Mutex<Lags>>,
}

impl ClientContext for Acknowledged {}

impl ProducerContext for Acknowledged {
    /// When a probe was sent, ns; 0 = no probe.
    type DeliveryOpaque = usize;

    fn delivery(&self, _: &DeliveryResult<'_>, sent_ns: usize) {
        if sent_ns > 0 {
            let lag_ms = (self.begun.elapsed().as_nanos() as usize - sent_ns) as f64 / 1e6;
            self.lags.lock().expect("one").push((sent_ns as u64, lag_ms));
        }
    }
}

/// Asks for the probe again and again: how old each new value was when it was seen first.
fn read_probes(begun: Instant, time: Duration, port: u16) -> Lags {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("a server");
    stream.set_nodelay(true).expect("a socket");
    let mut replies = BufReader::new(stream.try_clone().expect("a socket"));
    let (mut stream, mut last, mut lags) = (stream, 0, Vec::new());
    while begun.elapsed() < time {
        stream.write_all(b"*2\r\n$3\r\nGET\r\n$7\r\np:probe\r\n").expect("the server takes it");
        let mut line = String::new();
        replies.read_line(&mut line).expect("a reply");
        if line.starts_with('$') && line.trim() != "$-1" {
            line.clear();
            replies.read_line(&mut line).expect("a value");
            let sent: u64 = line.trim().parse().expect("a time");
            let now = begun.elapsed().as_nanos() as u64;
            // One of an earlier run may lie there at first.
            if sent > last && sent <= now && (last > 0 || now - sent < 1_000_000_000) {
                last = sent;
                lags.push((sent, (now - sent) as f64 / 1e6));
            }
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    lags
}

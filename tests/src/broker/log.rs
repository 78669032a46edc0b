//! The log of one partition: batches as producers and compaction leave them, transactions, and what a fetch gets of it.
//!
//! Batches are encoded by hand when they are fetched (format 2, uncompressed, CRC-32C), so that each byte of them can be damaged.
//! [`Log::fold`] says what the log means, by a walk that shares nothing with the encoding.

use std::collections::BTreeMap;

/// Where parts of a batch lie, for [`Log::damage`]; negative places count from its end.
pub mod place {
    /// Its length, highest byte.
    pub const LENGTH: isize = 8;
    /// The version of its format.
    pub const MAGIC: isize = 16;
    /// Its checksum.
    pub const CRC: isize = 17;
    /// The last byte of the last record's value.
    pub const VALUE: isize = -2;
}

/// A record; tombstones have no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Its time, ms since the epoch.
    pub time_ms: i64,
}

/// A record with a key and a value.
pub fn record(key: &str, value: &str) -> Record {
    Record { key: Some(key.into()), value: Some(value.into()), time_ms: 1_700_000_000_000 }
}

/// A record that deletes a key.
pub fn tombstone(key: &str) -> Record {
    Record { value: None, ..record(key, "") }
}

/// What a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    /// Part of a transaction of that producer.
    Within(i64),
    /// The marker that ends one.
    Marker {
        producer: i64,
        is_commit: bool,
    },
}

#[derive(Clone, Debug)]
struct Batch {
    first: i64,
    last: i64,
    kind: Kind,
    records: Vec<(i64, Record)>,
    /// How it says that it is compressed; it is not.
    codec: i16,
    /// Places and what is flipped there.
    damage: Vec<(isize, u8)>,
}

/// An aborted transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aborted {
    /// Its producer.
    pub producer: i64,
    /// Its first offset.
    pub first: i64,
    /// The offset of its marker.
    pub last: i64,
}

/// What a fetch gets.
#[derive(Debug, Default)]
pub struct Fetched {
    /// Kafka's error code; 0 = none.
    pub error: i16,
    /// The end of the log.
    pub end: i64,
    /// Where the first open transaction begins.
    pub stable_end: i64,
    /// Aborted transactions that concern what is given.
    pub aborted: Vec<Aborted>,
    /// Batches.
    pub bytes: Vec<u8>,
}

/// See the module's text.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// The first offset that is there.
    pub start: i64,
    /// The offset after the last one.
    pub end: i64,
    /// What fetches answer instead, as Kafka's error code.
    pub error: Option<i16>,
    /// What is answered instead to those who ask where the log begins and ends.
    pub claims: Option<(i64, i64)>,
    batches: Vec<Batch>,
    open: BTreeMap<i64, i64>,
    aborted: Vec<Aborted>,
}

impl Log {
    /// Appends a batch; its first offset.
    pub fn append(&mut self, records: &[Record]) -> i64 {
        self.push(Kind::Plain, records)
    }

    /// Appends a batch to the transaction of a producer, which begins with it if none is open.
    pub fn append_within(&mut self, producer: i64, records: &[Record]) -> i64 {
        self.open.entry(producer).or_insert(self.end);
        self.push(Kind::Within(producer), records)
    }

    /// Commits the transaction of a producer; where its marker is.
    pub fn commit(&mut self, producer: i64) -> i64 {
        self.open.remove(&producer);
        self.mark(producer, true)
    }

    /// Aborts it.
    pub fn abort(&mut self, producer: i64) -> i64 {
        let last = self.end;
        if let Some(first) = self.open.remove(&producer) {
            self.aborted.push(Aborted { producer, first, last });
        }
        self.mark(producer, false)
    }

    fn mark(&mut self, producer: i64, is_commit: bool) -> i64 {
        let key = [0, 0, 0, u8::from(is_commit)].to_vec();
        let marker = Record { key: Some(key), value: Some(vec![0; 6]), time_ms: 1_700_000_000_000 };
        self.push(Kind::Marker { producer, is_commit }, &[marker])
    }

    fn push(&mut self, kind: Kind, records: &[Record]) -> i64 {
        let first = self.end;
        self.end += records.len() as i64;
        let records = (first..).zip(records.iter().cloned()).collect();
        self.batches.push(Batch { first, last: self.end - 1, kind, records, codec: 0, damage: Vec::new() });
        first
    }

    /// Appends a batch that says that it is compressed, by Kafka's number of the codec, and is not; its first offset.
    pub fn append_coded(&mut self, codec: i16, records: &[Record]) -> i64 {
        let first = self.append(records);
        self.batches.last_mut().expect("just appended").codec = codec;
        first
    }

    /// Drops records as compaction does: batches keep the offsets they had, also when nothing is left of them.
    pub fn compact(&mut self, is_kept: impl Fn(i64, &Record) -> bool) {
        for batch in self.batches.iter_mut().filter(|batch| !matches!(batch.kind, Kind::Marker { .. })) {
            batch.records.retain(|(offset, record)| is_kept(*offset, record));
        }
    }

    /// Drops batches of which no record is left: their offsets are gone.
    pub fn drop_empty(&mut self) {
        self.batches.retain(|batch| !batch.records.is_empty());
    }

    /// Drops what lies before an offset, as retention does.
    pub fn delete_before(&mut self, offset: i64) {
        self.start = self.start.max(offset);
        self.batches.retain(|batch| batch.last >= offset);
    }

    /// Drops what lies at an offset and after it, as an election of a leader that lacks it does.
    pub fn truncate(&mut self, offset: i64) {
        self.end = self.end.min(offset);
        self.start = self.start.min(offset);
        self.batches.retain(|batch| batch.last < offset);
        // Transactions that lost their marker are open again.
        let unmarked = self.aborted.iter().filter(|aborted| aborted.last >= offset);
        self.open.extend(unmarked.map(|aborted| (aborted.producer, aborted.first)));
        self.open.retain(|_, first| *first < offset);
        self.aborted.retain(|aborted| aborted.last < offset);
    }

    /// Flips bits of the batch that holds an offset, at a [`place`]; the same again repairs it.
    pub fn damage(&mut self, offset: i64, at: isize, bits: u8) {
        let batch = self.batches.iter_mut().find(|batch| (batch.first..=batch.last).contains(&offset));
        batch.expect("that offset is in a batch").damage.push((at, bits));
    }

    /// Where the first open transaction begins, or the end.
    pub fn stable_end(&self) -> i64 {
        self.open.values().min().copied().unwrap_or(self.end)
    }

    /// The first offset at or after that one whose record is not older.
    pub fn offset_at(&self, time_ms: i64) -> Option<i64> {
        let mut records = self.batches.iter().flat_map(|batch| &batch.records);
        records.find(|(offset, record)| *offset >= self.start && record.time_ms >= time_ms).map(|(offset, _)| *offset)
    }

    /// What a fetch from that offset gets: whole batches, one at least, and no more than so many bytes.
    pub fn fetch(&self, from: i64, is_committed: bool, most: usize) -> Fetched {
        const OFFSET_OUT_OF_RANGE: i16 = 1;
        let stable_end = self.stable_end();
        let mut got = Fetched { end: self.end, stable_end, ..Fetched::default() };
        if let Some(error) = self.error {
            return Fetched { error, end: -1, stable_end: -1, ..got };
        }
        if !(self.start..=self.end).contains(&from) {
            return Fetched { error: OFFSET_OUT_OF_RANGE, end: -1, stable_end: -1, ..got };
        }
        let limit = if is_committed { stable_end } else { self.end };
        let mut last = from;
        for batch in self.batches.iter().filter(|batch| batch.last >= from && batch.first < limit) {
            let bytes = batch.encode();
            if !got.bytes.is_empty() && got.bytes.len() + bytes.len() > most {
                break;
            }
            got.bytes.extend(bytes);
            last = batch.last;
        }
        if is_committed {
            let concerns = |aborted: &&Aborted| aborted.last >= from && aborted.first <= last;
            got.aborted = self.aborted.iter().filter(concerns).copied().collect();
        }
        got
    }

    /// The last committed value of every key.
    pub fn fold(&self) -> BTreeMap<String, String> {
        let text = |bytes: &Option<Vec<u8>>| String::from_utf8(bytes.clone().unwrap_or_default()).expect("UTF-8");
        let mut values = BTreeMap::new();
        for batch in self.batches.iter().filter(|batch| batch.first < self.stable_end()) {
            match batch.kind {
                Kind::Marker { .. } => continue,
                Kind::Within(producer) => {
                    let holds = |aborted: &Aborted| {
                        aborted.producer == producer && (aborted.first..aborted.last).contains(&batch.first)
                    };
                    if self.aborted.iter().any(holds) {
                        continue;
                    }
                }
                Kind::Plain => {}
            }
            for (_, record) in batch.records.iter().filter(|(offset, _)| *offset >= self.start) {
                match &record.value {
                    Some(_) => values.insert(text(&record.key), text(&record.value)),
                    None => values.remove(&text(&record.key)),
                };
            }
        }
        values
    }
}

impl Batch {
    fn encode(&self) -> Vec<u8> {
        const TRANSACTIONAL: i16 = 0x10;
        const CONTROL: i16 = 0x20;
        let (attributes, producer): (i16, i64) = match self.kind {
            Kind::Plain => (0, -1),
            Kind::Within(producer) => (TRANSACTIONAL, producer),
            Kind::Marker { producer, .. } => (TRANSACTIONAL | CONTROL, producer),
        };
        let times = || self.records.iter().map(|(_, record)| record.time_ms);
        let (first_ms, last_ms) = (times().next().unwrap_or(-1), times().max().unwrap_or(-1));
        let mut sealed = Vec::new();
        sealed.extend((attributes | self.codec).to_be_bytes());
        sealed.extend(((self.last - self.first) as i32).to_be_bytes());
        sealed.extend(first_ms.to_be_bytes());
        sealed.extend(last_ms.to_be_bytes());
        sealed.extend(producer.to_be_bytes());
        sealed.extend((if producer < 0 { -1_i16 } else { 0 }).to_be_bytes());
        sealed.extend((-1_i32).to_be_bytes());
        sealed.extend((self.records.len() as i32).to_be_bytes());
        for (offset, record) in &self.records {
            let mut body = vec![0];
            varint(&mut body, record.time_ms - first_ms);
            varint(&mut body, offset - self.first);
            for part in [&record.key, &record.value] {
                varint(&mut body, part.as_ref().map_or(-1, |part| part.len() as i64));
                body.extend(part.iter().flatten());
            }
            varint(&mut body, 0); // Headers.
            varint(&mut sealed, body.len() as i64);
            sealed.extend(body);
        }
        let mut bytes = self.first.to_be_bytes().to_vec();
        bytes.extend((sealed.len() as i32 + 9).to_be_bytes());
        bytes.extend(0_i32.to_be_bytes()); // Epoch of the leader.
        bytes.push(2);
        bytes.extend(crc32c(&sealed).to_be_bytes());
        bytes.extend(sealed);
        let len = bytes.len();
        for (at, bits) in &self.damage {
            bytes[if *at < 0 { len - at.unsigned_abs() } else { *at as usize }] ^= bits;
        }
        bytes
    }
}

/// A number of any sign, small ones short.
fn varint(to: &mut Vec<u8>, number: i64) {
    let mut rest = ((number << 1) ^ (number >> 63)) as u64;
    while rest >= 0x80 {
        to.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    to.push(rest as u8);
}

/// Castagnoli's checksum.
pub fn crc32c(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut at = 0;
        while at < 256 {
            let (mut crc, mut bit) = (at as u32, 0);
            while bit < 8 {
                crc = if crc & 1 == 1 { crc >> 1 ^ 0x82F6_3B78 } else { crc >> 1 };
                bit += 1;
            }
            table[at] = crc;
            at += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |crc, byte| crc >> 8 ^ TABLE[usize::from(crc as u8 ^ byte)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_of_rfc_3720() {
        assert_eq!((crc32c(b"123456789"), crc32c(&[0; 32])), (0xE306_9283, 0x8A91_36AA));
    }

    #[test]
    fn numbers_are_short() {
        let encoded = |number| {
            let mut bytes = Vec::new();
            varint(&mut bytes, number);
            bytes
        };
        assert_eq!([0, -1, 1, 63, -64].map(encoded), [0, 1, 2, 126, 127].map(|byte| vec![byte]));
        assert_eq!((encoded(64), encoded(-65), encoded(i64::MIN).len()), (vec![128, 1], vec![129, 1], 10));
    }

    /// What was aborted or is open means nothing; what retention and compaction took is gone.
    #[test]
    fn a_log_means_what_is_committed() {
        let mut log = Log::default();
        log.append(&[record("a", "1"), record("b", "1")]);
        log.append_within(7, &[record("a", "aborted")]);
        log.append_within(8, &[record("b", "2")]);
        assert_eq!((log.stable_end(), log.fold()["b"].as_str()), (2, "1"));
        assert_eq!((log.abort(7), log.commit(8), log.stable_end()), (4, 5, 6));
        log.append(&[tombstone("c"), record("d", "4")]);
        let pairs = |log: &Log| log.fold().into_iter().map(|(key, value)| key + &value).collect::<Vec<_>>();
        assert_eq!(pairs(&log), ["a1", "b2", "d4"]);
        assert_eq!(log.fetch(0, true, 1 << 20).aborted, [Aborted { producer: 7, first: 2, last: 4 }]);
        log.compact(|offset, _| offset != 7);
        assert_eq!((pairs(&log), log.end), (vec!["a1".to_owned(), "b2".to_owned()], 8));
        log.delete_before(1);
        assert_eq!(pairs(&log), ["b2"]);
        log.truncate(3);
        assert_eq!((pairs(&log), log.end), (vec!["b1".to_owned()], 3));
    }
}

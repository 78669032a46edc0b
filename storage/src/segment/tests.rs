//! What the table's and the store's tests cannot reach: the stash, and blocks behind stubs.

use super::moving::HOLES_PART;
use super::*;
use crate::ext::NewExt;
use crate::hash::KeyHash;
use crate::value::Value;

/// A key's first four bytes are its tag; what follows tells keys of a tag apart.
fn tag_of(key: &[u8]) -> u64 {
    u64::from(u32::from_le_bytes(key[..4].try_into().expect("a tag"))) << 32
}

fn key(tag: u32, number: u32) -> [u8; 8] {
    let mut key = [0; 8];
    key[..4].copy_from_slice(&tag.to_le_bytes());
    key[4..].copy_from_slice(&number.to_le_bytes());
    key
}

fn place(key: &[u8]) -> Place {
    KeyHash(tag_of(key)).place(0)
}

fn value_of(segment: &Segment, key: &[u8]) -> Option<Vec<u8>> {
    let (position, _) = segment.find(place(key), key)?;
    Some(match segment.record(position).value() {
        Value::Raw(bytes) => bytes.to_vec(),
        Value::Shared(bytes) => bytes.to_vec(),
        Value::Int(n) => n.to_string().into_bytes(),
        Value::Hash(_) => unreachable!("only strings here"),
    })
}

/// Keys of one tag fill two buckets; those beyond go to the stash and are found there, by key and by tag, through growth,
/// splits, merges, removals and edits; values of all lengths keep their bytes.
#[test]
fn keys_of_one_tag_are_all_found() {
    let hasher = Hasher::Fixed(tag_of);
    let placing = Placing { hasher: &hasher, stripe_bits: 0 };
    let len_of = |number: u32| [5, 100, 600, 20_000][number as usize % 4];
    let mut segment = Segment::new(0, 0);
    let keys: Vec<[u8; 8]> = (0..60)
        .map(|n| key(7, n))
        .chain((0..60).map(|n| key(0x8000_0007, n)))
        .chain((0..40).map(|n| key(n << 9, n)))
        .collect();
    let check = |segment: &Segment, keys: &[[u8; 8]]| {
        segment.invariants();
        assert_eq!(segment.len(), keys.len());
        for (number, key) in keys.iter().enumerate() {
            assert_eq!(
                value_of(segment, key).expect("inserted"),
                vec![number as u8; len_of(number as u32)],
                "{number}"
            );
            let (position, _) = segment.find(place(key), key).expect("inserted");
            assert!(segment.find_tag(place(key), placing).contains(&position));
        }
        assert_eq!(segment.iter().count(), keys.len());
    };
    for (number, key) in keys.iter().enumerate() {
        let value = vec![number as u8; len_of(number as u32)];
        let new = NewRecord::new(key, NewValue::Bytes(&value), None, NewExt::default());
        if let Err(new) = segment.insert(place(key), new) {
            segment.insert_anyway(place(key), new);
        }
    }
    assert!(segment.stashed().len() > 20, "{} stashed", segment.stashed().len());
    check(&segment, &keys);
    let high = segment.split(placing);
    let mut low = segment;
    low.invariants();
    high.invariants();
    assert_eq!(high.len(), 60);
    low.merge(high);
    check(&low, &keys);
    for key in &keys {
        let (position, _) = low.find(place(key), key).expect("inserted");
        low.replace(position, NewRecord::new(key, NewValue::Int(42), None, NewExt::default()))
            .ok()
            .expect("there is room");
        low.invariants();
        assert_eq!(value_of(&low, key).expect("replaced"), b"42");
    }
    for (number, key) in keys.iter().enumerate() {
        let (position, _) = low.find(place(key), key).expect("not removed yet");
        low.remove(position);
        low.tidy();
        low.invariants();
        assert_eq!((value_of(&low, key), low.len()), (None, keys.len() - number - 1));
    }
    assert!(low.memory() < 1000, "{} bytes of an empty segment", low.memory());
}

/// Dropping a segment gives up blocks and shared values, in pages and in the stash.
#[test]
fn a_dropped_segment_lets_go_of_what_it_owned() {
    let shared = std::sync::Arc::new(vec![1; 100]);
    let mut segment = Segment::new(0, 0);
    for number in 0..40 {
        let key = key(9, number);
        let new = NewRecord::new(&key, NewValue::Shared(std::sync::Arc::clone(&shared)), None, NewExt::default());
        segment.insert(place(&key), new).ok().expect("there is room");
    }
    assert_eq!(std::sync::Arc::strong_count(&shared), 41);
    drop(segment);
    assert_eq!(std::sync::Arc::strong_count(&shared), 1);
}

/// Rewriting with other lengths leaves holes that never make up more than their part, and costs no growth.
#[test]
fn holes_are_closed() {
    let mut segment = Segment::new(0, 0);
    let mut random = 1u64;
    for turn in 0..20_000u32 {
        random = crate::time::draw(random, 1);
        let key = key(turn % 97 * 0x10_0301, 0);
        let value = vec![turn as u8; (random % 180) as usize];
        let new = NewRecord::new(&key, NewValue::Bytes(&value), None, NewExt::default());
        let done = match segment.find(place(&key), &key) {
            Some((position, _)) => segment.replace(position, new).is_ok(),
            None => segment.insert(place(&key), new).is_ok(),
        };
        assert!(done);
        assert!(segment.pages.dead() * HOLES_PART <= segment.pages.capacity() + 256 * HOLES_PART);
        assert!(segment.pages.capacity() < segment.pages.live() * 5 / 4 + 2048 || turn < 200, "turn {turn}");
    }
    segment.invariants();
}

/// Symptom: a panic when the last indexed entry of a segment left while others were stashed. Cause: the index shrank to no
/// bucket at all, where the overflow marks of the stashed entries belong. It now keeps one.
#[test]
fn stashed_entries_outlive_the_index() {
    let mut segment = Segment::new(0, 0);
    let keys: Vec<[u8; 8]> = (0..100).map(|n| key(7, n)).collect();
    for key in &keys {
        segment
            .insert(place(key), NewRecord::new(key, NewValue::Int(1), None, NewExt::default()))
            .ok()
            .expect("there is room");
    }
    let stashed = segment.stashed().len();
    assert!(stashed > 0 && segment.index.positions() > 4 * crate::index::SLOTS);
    for position in (0..segment.index.positions()).rev() {
        if segment.any_word(position).is_some() {
            segment.remove(position);
        }
    }
    segment.tidy();
    segment.invariants();
    assert_eq!(segment.len(), stashed);
    assert_eq!(keys.iter().filter(|key| segment.find(place(*key), *key).is_some()).count(), stashed);
}

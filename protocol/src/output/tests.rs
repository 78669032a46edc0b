//! Shapes an output takes, and random steps against a plain byte vector.

use super::*;
use proptest::prelude::*;

fn all(out: &Output) -> Vec<u8> {
    out.chunks().collect::<Vec<_>>().concat()
}

#[test]
fn empty_owns_nothing() {
    let mut out = Output::new();
    assert_eq!((out.len(), out.is_empty(), out.as_single(), out.buffer_bytes()), (0, true, Some(&b""[..]), 0));
    assert_eq!(out.chunks().count(), 0);
    out.share(Arc::default());
    out.append(Output::new());
    out.advance(0);
    assert_eq!((out.buffer_bytes(), out.chunks.capacity()), (0, 0));
}

#[test]
fn one_piece_and_many() {
    let mut out = Output::with_buffer(b"old".to_vec());
    out.extend(b"head");
    assert_eq!(out.as_single(), Some(&b"head"[..]));
    let value = Arc::new(b"value".to_vec());
    out.share(value.clone());
    assert_eq!(out.as_single(), None);
    out.extend(b"tail");
    assert_eq!(out.chunks().collect::<Vec<_>>(), [&b"head"[..], b"value", b"tail"]);
    assert_eq!((out.len(), out.shared_bytes()), (13, 5));
    out.advance(5);
    assert_eq!(out.chunks().collect::<Vec<_>>(), [&b"alue"[..], b"tail"]);
    assert_eq!((out.len(), out.shared_bytes(), Arc::strong_count(&value)), (8, 5, 2));
    out.advance(4);
    assert_eq!((out.as_single(), out.shared_bytes(), Arc::strong_count(&value)), (Some(&b"tail"[..]), 0, 1));
    out.advance(4);
    assert!(out.is_empty());
}

#[test]
fn buffers_are_recycled_only_when_empty() {
    let mut out = Output::with_buffer(Vec::with_capacity(1000));
    out.extend(b"x");
    assert_eq!(out.take_buffer().capacity(), 0);
    out.advance(1);
    assert_eq!(out.take_buffer().capacity(), 1000);
    assert_eq!(out.buffer_bytes(), 0);
    out.extend(b"again");
    assert_eq!(all(&out), b"again");
    out.clear();
    assert!(out.is_empty() && out.buffer_bytes() > 0);
}

#[test]
fn long_output_is_chunked_not_recopied() {
    let mut out = Output::new();
    for _ in 0..100 {
        out.extend(&[7; 10_000]);
    }
    assert_eq!(out.len(), 1_000_000);
    assert!(out.chunks().count() > 3 && out.chunks().all(|piece| piece.len() <= 2 * TAIL_BYTES));
    out.advance(999_999);
    assert_eq!(all(&out), [7]);
    assert!(out.buffer_bytes() <= 2 * TAIL_BYTES);
}

#[test]
fn rollback_of_a_partly_sent_reply_keeps_what_came_before() {
    let mut out = Output::new();
    out.extend(b"first");
    let mark = out.mark();
    out.share(Arc::new(vec![1; 100]));
    out.extend(b"second");
    out.advance(2);
    out.rollback(mark);
    assert_eq!(all(&out), b"rst");
    out.advance(3);
    let mark = out.mark();
    out.extend(b"x");
    out.rollback(mark);
    assert!(out.is_empty());
    out.extend(b"next");
    assert_eq!(out.as_single(), Some(&b"next"[..]));
}

#[test]
fn a_buffer_left_sent_by_a_rollback_is_reused() {
    let mut out = Output::new();
    out.extend(b"ab");
    let mark = out.mark();
    out.extend(b"cd");
    out.advance(2);
    out.rollback(mark);
    assert!(out.is_empty() && !out.take_buffer().spare_capacity_mut().is_empty());
    out.extend(b"x");
    assert_eq!((out.len(), out.as_single()), (1, Some(&b"x"[..])));
}

#[test]
fn appended_values_stay_shared() {
    let (mut out, mut other) = (Output::new(), Output::new());
    out.extend(b"x");
    other.share(Arc::new(b"small".to_vec()));
    out.append(other);
    assert_eq!((out.shared_bytes(), all(&out)), (5, b"xsmall".to_vec()));
}

#[test]
#[should_panic(expected = "bytes sent of")]
fn more_sent_than_pending() {
    Output::new().advance(1);
}

/// One step against an [`Output`]; sizes pass the limits at which it changes its shape.
#[derive(Clone, Debug)]
enum Step {
    Extend(usize),
    Share(usize),
    Advance(f64),
    Mark,
    Rollback,
    Append(Vec<Step>),
    Take,
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![0..20_usize, Just(TAIL_BYTES / 32), Just(TAIL_BYTES), Just(TAIL_BYTES + 1)];
    let leaf = prop_oneof![
        4 => size.clone().prop_map(Step::Extend),
        3 => size.prop_map(Step::Share),
        3 => (0.0..=1.0).prop_map(Step::Advance),
        2 => Just(Step::Mark),
        2 => Just(Step::Rollback),
        1 => Just(Step::Take),
        1 => Just(Step::Clear),
    ];
    leaf.prop_recursive(1, 8, 8, |inner| prop::collection::vec(inner, 0..8).prop_map(Step::Append))
}

/// Runs the steps on an output and on a plain byte vector.
fn run(steps: &[Step]) -> (Output, Vec<u8>) {
    let (mut out, mut model) = (Output::new(), Vec::new());
    let mut mark = None;
    for (i, step) in steps.iter().enumerate() {
        match step {
            Step::Extend(n) | Step::Share(n) => {
                let bytes = vec![i as u8; *n];
                model.extend_from_slice(&bytes);
                match step {
                    Step::Extend(_) => out.extend(&bytes),
                    _ => out.share(Arc::new(bytes)),
                }
            }
            Step::Advance(part) => {
                let n = (out.len() as f64 * part) as usize;
                out.advance(n);
                model.drain(..n);
                mark = mark.and_then(|(place, len): (Mark, usize)| Some((place, len.checked_sub(n)?)));
            }
            Step::Mark => mark = Some((out.mark(), model.len())),
            Step::Rollback => {
                if let Some((place, len)) = mark.take() {
                    out.rollback(place);
                    model.truncate(len);
                }
            }
            Step::Append(steps) => {
                let (other, bytes) = run(steps);
                out.append(other);
                model.extend(bytes);
            }
            Step::Take => drop(out.take_buffer()),
            Step::Clear => {
                out.clear();
                model.clear();
                mark = None;
            }
        }
        assert_eq!(out.len(), model.len());
        assert_eq!(out.is_empty(), model.is_empty());
        assert_eq!(out.as_single().is_some(), out.chunks().count() < 2);
        assert!(all(&out) == model, "bytes differ");
    }
    (out, model)
}

proptest! {
    #[test]
    fn behaves_as_a_byte_queue(steps in prop::collection::vec(step(), 0..20)) {
        run(&steps);
    }
}

//! HRANDFIELD.

use super::read;
use crate::call::Call;
use crate::error::Error;
use crate::families::string::reply_value;
use protocol::{Protocol, ReplyWriter};
use std::collections::HashSet;
use storage::{Cx, HashRef, Value, draw_below};

/// Different fields are drawn until there are enough, where they are at most this part of the hash; else all are gathered
/// and shuffled.
const DRAWN_PART: usize = 3;

/// Most draws that one request may ask for: bounds its time and its reply.
const MAX_DRAWS: u64 = 1 << 20;

pub(super) fn hrandfield(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let cx = call.cx;
    if call.args.len() == 2 {
        return read(call, |hash, reply| match hash.and_then(|hash| hash.random(&cx, 0)) {
            Some((field, _)) => reply.bulk(field),
            None => reply.null(),
        });
    }
    let count = call.integer(2)?;
    let with_values = call.args.len() > 3;
    if with_values && !call.is_word(3, "WITHVALUES") || call.args.len() > 4 {
        return Err(Error::SYNTAX);
    }
    let draws = count.unsigned_abs();
    if count < 0 && draws > MAX_DRAWS || with_values && draws > i64::MAX as u64 / 2 {
        return Err(Error::err("value is out of range"));
    }
    read(call, |hash, reply| {
        let Some(hash) = hash else { return reply.array(0) };
        let mut answer = Answer { reply, with_values };
        if count < 0 {
            answer.begin(draws as usize);
            (0..draws).filter_map(|nth| hash.random(&cx, nth)).for_each(|(field, value)| answer.add(field, value));
        } else {
            different(&hash, draws.min(hash.len() as u64) as usize, &cx, &mut answer);
        }
    })
}

/// The elements of the reply: pairs of their own in RESP3, one after another in RESP2.
struct Answer<'a, 'r> {
    reply: &'a mut ReplyWriter<'r>,
    with_values: bool,
}

impl Answer<'_, '_> {
    fn in_pairs(&self) -> bool {
        self.with_values && self.reply.protocol() == Protocol::Resp3
    }

    fn begin(&mut self, fields: usize) {
        let flat = if self.with_values && !self.in_pairs() { 2 } else { 1 };
        self.reply.array(fields * flat);
    }

    fn add(&mut self, field: &[u8], value: Value<'_>) {
        if self.in_pairs() {
            self.reply.array(2);
        }
        self.reply.bulk(field);
        if self.with_values {
            reply_value(self.reply, value);
        }
    }
}

/// So many different fields, at most all.
fn different(hash: &HashRef<'_>, count: usize, cx: &Cx, answer: &mut Answer<'_, '_>) {
    answer.begin(count);
    if count == hash.len() {
        hash.for_each(|field, value| answer.add(field, value));
        return;
    }
    if count <= hash.len() / DRAWN_PART {
        let mut drawn = HashSet::with_capacity(count);
        // A few draws for each at the worst; where chance will not have it, the rest are the first ones not drawn.
        for nth in 0..(count as u64) * 16 {
            if drawn.len() == count {
                return;
            }
            if let Some((field, value)) = hash.random(cx, nth)
                && drawn.insert(field)
            {
                answer.add(field, value);
            }
        }
        hash.for_each(|field, value| {
            if drawn.len() < count && drawn.insert(field) {
                answer.add(field, value);
            }
        });
        return;
    }
    let mut all = Vec::with_capacity(hash.len());
    hash.for_each(|field, value| all.push((field, value)));
    for at in 0..count {
        let other = at + draw_below(cx.seed, at as u64, (all.len() - at) as u64) as usize;
        all.swap(at, other);
        let (field, value) = &all[at];
        answer.add(field, value.clone());
    }
}

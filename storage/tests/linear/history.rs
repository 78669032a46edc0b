//! What one key was asked and answered by many threads, and the search for one order that explains it.
//!
//! A history is linearizable if its calls can be put into one order in which every answer is right and no call comes
//! before one that had returned when it was made. The search (Wing and Gong's, with a memory of the dead ends) tries
//! all orders, so histories are short.

use std::collections::HashSet;

/// The databases a key is looked at in; `Swap` exchanges them.
pub const DBS: usize = 2;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Val {
    Int(i64),
    Bytes(Vec<u8>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Entry {
    val: Val,
    /// Has a deadline that only the ticks of another thread see passed.
    mortal: bool,
}

/// A call about one key, or about a whole database it is in.
#[derive(Clone, Debug)]
pub enum Call {
    Get { db: usize },
    Set { db: usize, val: Val, mortal: bool },
    Increment { db: usize },
    Append { db: usize, bytes: Vec<u8> },
    Remove { db: usize },
    Flush { db: usize },
    Swap,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Done,
    Value(Option<Val>),
    /// The new number; `None`: there is something else than a number.
    Number(Option<i64>),
    Length(usize),
    WasThere(bool),
}

/// A call with its answer, and the tickets drawn before and after it.
#[derive(Clone, Debug)]
pub struct Event {
    pub called: u64,
    pub returned: u64,
    pub call: Call,
    pub answer: Answer,
}

/// One key in every database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct State([Option<Entry>; DBS]);

impl State {
    /// Carries a call out, as one thread alone would see it.
    fn apply(&mut self, call: &Call) -> Answer {
        match call {
            Call::Get { db } => Answer::Value(self.0[*db].as_ref().map(|entry| entry.val.clone())),
            Call::Set { db, val, mortal } => {
                self.0[*db] = Some(Entry { val: val.clone(), mortal: *mortal });
                Answer::Done
            }
            Call::Increment { db } => {
                let entry = self.0[*db].get_or_insert(Entry { val: Val::Int(0), mortal: false });
                let Val::Int(n) = &mut entry.val else { return Answer::Number(None) };
                *n += 1;
                Answer::Number(Some(*n))
            }
            Call::Append { db, bytes } => {
                let entry = self.0[*db].get_or_insert(Entry { val: Val::Bytes(Vec::new()), mortal: false });
                let mut all = match &entry.val {
                    Val::Int(n) => n.to_string().into_bytes(),
                    Val::Bytes(bytes) => bytes.clone(),
                };
                all.extend(bytes);
                let len = all.len();
                entry.val = Val::Bytes(all);
                Answer::Length(len)
            }
            Call::Remove { db } => Answer::WasThere(self.0[*db].take().is_some()),
            Call::Flush { db } => {
                self.0[*db] = None;
                Answer::Done
            }
            Call::Swap => {
                self.0.swap(0, 1);
                Answer::Done
            }
        }
    }

    /// The state, and those that it may have become by itself: any entry may go when `evicting`, mortal ones always.
    fn decayed(&self, evicting: bool) -> impl Iterator<Item = Self> {
        let may_go = |entry: &Option<Entry>| entry.as_ref().is_some_and(|entry| evicting || entry.mortal);
        let may_go: [bool; DBS] = std::array::from_fn(|db| may_go(&self.0[db]));
        (0..1usize << DBS).filter(move |gone| (0..DBS).all(|db| gone >> db & 1 == 0 || may_go[db])).map(|gone| {
            let mut state = self.clone();
            (0..DBS).filter(|db| gone >> db & 1 == 1).for_each(|db| state.0[db] = None);
            state
        })
    }
}

/// Whether one order explains these events of a key that was absent before.
pub fn is_linearizable(events: &[Event], evicting: bool) -> bool {
    assert!(events.len() <= 64, "a history too long to search: {}", events.len());
    let mut search = Search { events, evicting, dead_ends: HashSet::new() };
    search.explains(0, State::default())
}

struct Search<'e> {
    events: &'e [Event],
    evicting: bool,
    /// Sets of ordered events, with the state they left, from which no order of the rest is right.
    dead_ends: HashSet<(u64, State)>,
}

impl Search<'_> {
    /// Whether the events not in the set `ordered` can follow `state`.
    fn explains(&mut self, ordered: u64, state: State) -> bool {
        let events = self.events;
        let left = || events.iter().enumerate().filter(|(nth, _)| ordered >> nth & 1 == 0);
        // The next one was called before any of the others returned.
        let Some(horizon) = left().map(|(_, event)| event.returned).min() else { return true };
        if self.dead_ends.contains(&(ordered, state.clone())) {
            return false;
        }
        for (nth, event) in left().filter(|(_, event)| event.called < horizon) {
            for mut next in state.decayed(self.evicting) {
                if next.apply(&event.call) == event.answer && self.explains(ordered | 1 << nth, next) {
                    return true;
                }
            }
        }
        self.dead_ends.insert((ordered, state));
        false
    }
}

fn event(called: u64, returned: u64, call: Call, answer: Answer) -> Event {
    Event { called, returned, call, answer }
}

fn set(called: u64, returned: u64, n: i64, mortal: bool) -> Event {
    event(called, returned, Call::Set { db: 0, val: Val::Int(n), mortal }, Answer::Done)
}

fn get(called: u64, returned: u64, n: Option<i64>) -> Event {
    event(called, returned, Call::Get { db: 0 }, Answer::Value(n.map(Val::Int)))
}

/// Histories whose verdict is plain to see.
#[test]
fn the_search_judges_right() {
    let increment = |called, returned, n| event(called, returned, Call::Increment { db: 0 }, Answer::Number(Some(n)));
    let swap = |called, returned| event(called, returned, Call::Swap, Answer::Done);
    let remove = |called, returned, was| event(called, returned, Call::Remove { db: 0 }, Answer::WasThere(was));
    let right = [
        vec![],
        vec![set(0, 1, 5, false), get(2, 3, Some(5))],
        vec![set(0, 3, 5, false), get(1, 2, None)],
        vec![set(0, 3, 5, false), get(1, 2, Some(5))],
        vec![set(0, 5, 1, false), set(1, 4, 2, false), get(2, 3, Some(2)), get(6, 7, Some(1))],
        vec![increment(0, 3, 2), increment(1, 2, 1)],
        vec![set(0, 1, 5, false), swap(2, 5), get(3, 4, None), get(6, 7, None), swap(8, 9), get(10, 11, Some(5))],
        vec![set(0, 1, 5, true), get(2, 3, Some(5)), get(4, 5, None)],
        vec![set(0, 1, 5, false), remove(2, 5, true), remove(3, 4, false)],
    ];
    let wrong = [
        // A read of what was not written, of what was not yet, and of what was no more.
        vec![get(0, 1, Some(5))],
        vec![get(0, 1, Some(5)), set(2, 3, 5, false)],
        vec![set(0, 1, 5, false), set(2, 3, 6, false), get(4, 5, Some(5))],
        // Lost: an entry, an update, a removal.
        vec![set(0, 1, 5, false), get(2, 3, None)],
        vec![increment(0, 3, 1), increment(1, 2, 1)],
        vec![set(0, 1, 5, false), remove(2, 5, true), remove(3, 4, true)],
        // New, then old again.
        vec![set(0, 9, 5, false), get(1, 2, Some(5)), get(3, 4, None)],
        // Come back after it expired, and after a swap.
        vec![set(0, 1, 5, true), get(2, 3, None), get(4, 5, Some(5))],
        vec![set(0, 1, 5, false), swap(2, 3), get(4, 5, Some(5))],
    ];
    right.iter().for_each(|events| assert!(is_linearizable(events, false), "{events:#?}"));
    wrong.iter().for_each(|events| assert!(!is_linearizable(events, false), "{events:#?}"));
    assert!(is_linearizable(&[set(0, 1, 5, false), get(2, 3, None)], true), "evicted");
    assert!(!is_linearizable(&[set(0, 1, 5, false), get(2, 3, None), get(4, 5, Some(5))], true), "back from nowhere");
}

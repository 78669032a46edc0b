//! What is known of a key beyond what ordinary commands see: how fresh it is, the copy kept past its deadline, and known
//! absence.

use crate::ext::Windows;
use crate::record::Record;
use crate::side::Loaded;
use crate::slot::{LiveRef, Slot, VacantRef, windows_of};
use crate::table::{Death, is_past};
use crate::time::{Cx, Millis};
use crate::value::Value;

/// How an entry may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// As it is.
    Fresh,
    /// While somebody loads it anew.
    Stale,
    /// Only where loading failed, or to be confirmed unchanged.
    Retained,
    /// It says that there is no value.
    Absent,
}

/// An entry for those who load.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// How it may be used.
    pub phase: Phase,
    record: Record<'a>,
}

impl Slot<'_> {
    /// What is known of the key.
    pub fn view(&self) -> Option<View<'_>> {
        match self {
            Slot::Live(LiveRef { target, at }) => {
                let record = target.table.record(*at);
                let is_stale = is_past(windows_of(record).fresh_until, target.cx);
                Some(View { phase: if is_stale { Phase::Stale } else { Phase::Fresh }, record })
            }
            Slot::Vacant(VacantRef { target, dead: Some((at, Death::Expired)) })
                if target.table.is_kept(*at, target.cx, target.env) =>
            {
                let record = target.table.record(*at);
                let phase = if record.ext().is_absent() { Phase::Absent } else { Phase::Retained };
                Some(View { phase, record })
            }
            Slot::Vacant(_) => None,
        }
    }
}

impl<'a> View<'a> {
    /// The value; empty for a known absence.
    pub fn value(&self) -> Value<'a> {
        self.record.value()
    }

    /// Its windows; those of an entry stored without any are its deadline.
    pub fn windows(&self) -> Windows {
        windows_of(self.record)
    }

    /// Until when it is served; `None` = for ever.
    pub fn deadline(&self) -> Option<Millis> {
        self.record.deadline()
    }

    /// Its tags by hash.
    pub fn tags(&self) -> impl Iterator<Item = u64> + Clone + use<'a> {
        self.record.ext().tags()
    }

    /// Its validator, empty without one.
    pub fn validator(&self) -> &'a [u8] {
        self.record.ext().validator()
    }

    /// The epoch of its stamp, if it has one of its own.
    pub fn stamp(&self) -> Option<u32> {
        self.record.ext().stamp()
    }

    /// Whether a reader is asked to load it anew although it is fresh.
    pub fn wants_refresh(&self, cx: &Cx) -> bool {
        self.windows().refresh_at().is_some_and(|at| at <= cx.now)
    }

    /// Of a record just written.
    pub(crate) fn written(record: Record<'a>) -> Self {
        Self { phase: Phase::Fresh, record }
    }

    pub(crate) fn loaded(&self) -> Loaded {
        Loaded {
            value: self.value().into_owned(),
            deadline: self.deadline(),
            windows: self.windows(),
            tags: self.tags().count(),
            validator: self.validator().into(),
            is_stored: true,
        }
    }
}

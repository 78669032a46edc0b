//! SWR.GET, SWR.MGET, SWR.PEEK, SWR.META: what there is of a key, and who is to load it.

use super::answer::{About, Answer, Asked, Form, State, left_ms};
use super::options::{ReadOptions, Reading};
use super::wait::Waiting;
use crate::call::Call;
use crate::effect::Effect;
use crate::error::Error;
use crate::families::cache::service_named;
use crate::loader::{self, LoadJob, Reason};
use crate::node::Node;
use crate::payload;
use crate::services::Service;
use crate::services::fields::Loader;
use crate::session::{HeldLease, Session};
use crate::stats::WorkerStats;
use core::sync::atomic::Ordering;
use protocol::ReplyWriter;
use smallvec::SmallVec;
use std::sync::Arc;
use storage::{Access, Cx, Denied, Granted, KeyHash, Loading, Phase, Slot, Terms, Wake};

const NOT_POSITIVE: Error = Error::err("numkeys should be greater than 0");
const TOO_MANY_KEYS: Error = Error::err("Number of keys can't be greater than number of args");

pub(super) fn get(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let options = ReadOptions::parse(call, 2, Reading::Waits)?;
    let key = call.args.at(1);
    let kh = call.first_hash.unwrap_or_else(|| call.store.hash(key));
    let turn = Turn::first(call);
    let parked = Reader::of(call).read((key, kh), &Wanted::array(options), turn);
    call.effects.extend(parked.map(|waiting| Effect::Park(Box::new(waiting))));
    Ok(())
}

pub(super) fn peek(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let options = ReadOptions::parse(call, 2, Reading::Peeks)?;
    let key = call.args.at(1);
    let kh = call.store.hash(key);
    Reader::of(call).read((key, kh), &Wanted::array(options), Turn::ONLY);
    Ok(())
}

pub(super) fn mget(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let count = usize::try_from(call.integer(1)?).ok().filter(|count| *count > 0).ok_or(NOT_POSITIVE)?;
    if count > call.args.len() - 2 {
        return Err(TOO_MANY_KEYS);
    }
    let wanted = Wanted::array(ReadOptions::parse(call, 2 + count, Reading::AtOnce)?);
    let keys: SmallVec<[(&[u8], KeyHash); 32]> =
        call.command.keys_of(call.args).map(|key| (key, call.store.hash(key))).collect();
    call.reply.array(keys.len());
    let Call { session, store, reply, cx, node, stats, .. } = call;
    let (node, stats, cx) = (*node, *stats, *cx);
    let mut jobs = Vec::new();
    store.atomically(keys.iter().map(|(_, kh)| *kh), |store| {
        for (nth, named) in keys.iter().enumerate() {
            // Tokens and draws of their own.
            let cx = Cx { seed: cx.seed.wrapping_add((nth as u64) << 40), ..cx };
            let mut reader = Reader { session, store, reply, cx, node, stats };
            jobs.extend(reader.read_only(*named, &wanted));
        }
    });
    jobs.into_iter().for_each(|job| loader::hand_over(job, node, store, &cx));
    Ok(())
}

/// A plain GET of a key whose values are loaded by others than its readers.
#[cold]
pub(crate) fn read_through(call: &mut Call<'_, '_>, service: &Service) {
    let key = call.args.at(1);
    let kh = call.store.hash(key);
    // In a transaction it is a GET like any other, but for the load that it begins.
    let turn = Turn { may_park: !call.session.in_exec && service.policy.cold_ms.is_some(), ..Turn::ONLY };
    let options = ReadOptions { wait_ms: service.policy.cold_ms, soft_ms: Some(0), ..ReadOptions::default() };
    let wanted = Wanted { options, form: Form::Plain, payload: None, service: None };
    let parked = Reader::of(call).read((key, kh), &wanted, turn);
    call.effects.extend(parked.map(|waiting| Effect::Park(Box::new(waiting))));
}

/// SWR.MEMO: the read of what a payload's call results in.
pub(super) fn memo(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let service = service_named(call, call.args.at(1))?;
    if service.db != call.db() && !service.prefix.is_empty() {
        return Err(Error::OTHER_DATABASE);
    }
    let payload = call.args.at(2);
    if payload.len() > call.node.settings.live.memo_bytes.load(Ordering::Relaxed) {
        return Err(Error::err("payload is longer than memo-max-payload"));
    }
    let mut options = ReadOptions::parse(call, 3, Reading::Waits)?;
    options.wait_ms.get_or_insert(service.policy.wait_max_ms);
    let canonical = payload::canonical(payload, service.policy.payload)
        .map_err(|error| Error::because(format!("payload is not canonical JSON: {error}")))?;
    let id = payload::id(&canonical.bytes);
    let key = [&service.prefix, &id[..]].concat();
    let kh = call.store.hash(&key);
    let payload = Some((Arc::from(&*canonical.bytes), canonical.is_json));
    let wanted = Wanted { options, form: Form::Memo(id), payload, service: Some(service) };
    let turn = Turn::first(call);
    let parked = Reader::of(call).read((&key, kh), &wanted, turn);
    call.effects.extend(parked.map(|waiting| Effect::Park(Box::new(waiting))));
    Ok(())
}

/// Whether a read is made for the first time, or goes on after waiting.
pub(super) struct Turn {
    /// What it was woken with.
    pub wake: Option<Wake>,
    pub may_park: bool,
    /// Until when it waits, steady ms, if that was said before.
    pub until_ms: Option<u64>,
    /// The load that it waited for is one it began itself.
    pub began: bool,
}

impl Turn {
    /// The only one: it does not wait.
    pub const ONLY: Self = Self { wake: None, may_park: false, until_ms: None, began: false };

    fn first(call: &Call<'_, '_>) -> Self {
        Self { may_park: !call.session.in_exec, ..Self::ONLY }
    }
}

/// What a read is to give, and in which form.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub options: ReadOptions,
    pub form: Form,
    /// What is to be sent along to load it.
    pub payload: Option<(Arc<[u8]>, bool)>,
    /// The service, where that is not the one of the key.
    pub service: Option<Arc<Service>>,
}

impl Wanted {
    fn array(options: ReadOptions) -> Self {
        Self { options, form: Form::Array, payload: None, service: None }
    }
}

/// What a read works with: a [`Call`] whose store may be held.
pub(super) struct Reader<'r, 'c, 's> {
    pub session: &'r mut Session,
    pub store: &'r mut Access<'s>,
    pub reply: &'r mut ReplyWriter<'c>,
    pub cx: Cx,
    pub node: &'r Node,
    pub stats: &'r WorkerStats,
}

impl<'r, 'c, 's> Reader<'r, 'c, 's> {
    pub fn of(call: &'r mut Call<'c, 's>) -> Self {
        let Call { session, store, reply, cx, node, stats, .. } = call;
        Self { session, store, reply, cx: *cx, node, stats }
    }

    /// Answers for one key, or says how it waits. A load that is due and not the reader's is begun.
    pub fn read(&mut self, named: (&[u8], KeyHash), wanted: &Wanted, turn: Turn) -> Option<Waiting> {
        let (waiting, job) = self.answer(named, wanted, turn);
        if let Some(job) = job {
            loader::hand_over(job, self.node, self.store, &self.cx);
        }
        waiting
    }

    /// The same without waiting, where the store is held: a load that is due is to be begun by the caller.
    fn read_only(&mut self, named: (&[u8], KeyHash), wanted: &Wanted) -> Option<LoadJob> {
        self.answer(named, wanted, Turn::ONLY).1
    }

    fn answer(
        &mut self,
        (key, kh): (&[u8], KeyHash),
        wanted: &Wanted,
        turn: Turn,
    ) -> (Option<Waiting>, Option<LoadJob>) {
        let db = self.session.db;
        let service = match &wanted.service {
            Some(service) => Arc::clone(service),
            None => Arc::clone(self.node.services.now().resolve(db, key)),
        };
        let core = self.session.client.core;
        let options = &wanted.options;
        let touch = !self.session.no_touch && !options.peek;
        let ticket = if turn.may_park { self.node.tickets.fetch_add(1, Ordering::Relaxed) } else { 0 };
        let Self { session, store, reply, cx, node, stats } = self;
        let cx = *cx;
        let asked = Asked { key, service: &service, meta: options.meta, form: &wanted.form, cx: &cx, node };
        let counts = service.stats.of(core);
        let policy = &service.policy;
        let is_reader_s = policy.loader == Loader::Lease;
        let terms = if is_reader_s {
            Terms {
                lease_ms: options.lease_ms.unwrap_or(policy.lease_ms).min(policy.lease_max_ms),
                lease_max_ms: policy.lease_max_ms,
                may_load: !options.no_lease,
                core,
                bulkhead: Arc::clone(&service.bulkhead),
            }
        } else {
            Terms { core, ..loader::terms(&service) }
        };
        let mut reading = Read {
            options,
            service: &service,
            terms: &terms,
            cx: &cx,
            ticket,
            // Keys of projections follow their topics alone.
            can_load: self.node.projections.owner(db, key).is_none()
                && (is_reader_s || loader::can_load(&service, key, wanted.payload.is_some())),
            token: None,
            began: None,
            was_loading: false,
        };
        let (until_ms, turn_began) = (turn.until_ms, turn.began);
        let decided = store.loading(db, kh, key, &cx, |slot, loading| {
            reading.decide(slot, loading, turn, touch, |answer| {
                let told = (answer.state, answer.token);
                answer.write(reply, &asked);
                told
            })
        });
        let (was_loading, handed) = (reading.was_loading, reading.token);
        let began = turn_began || reading.began.is_some();
        let job = reading.began.map(|(granted, reason)| {
            counts.tokens.add(1);
            counts.refreshes.add((reason == Reason::Eager).into());
            let (service, token) = (Arc::clone(&service), granted.token);
            LoadJob { db, key: key.into(), token, reason, service, payload: wanted.payload.clone() }
        });
        let waiting = match decided {
            Decided::Answer((state, token)) => {
                if let (Some(handed), None) = (handed, token) {
                    // Handed over in vain: what this read found needs no load.
                    store.release(db, kh, key, handed.token, &cx);
                }
                if !options.peek {
                    state.count(counts);
                    let found = if state.is_hit() { &stats.hits } else { &stats.misses };
                    found.add(1);
                    if was_loading || state == State::Filled && !turn_began {
                        counts.coalesced.add(1);
                    }
                }
                if let Some(granted) = token {
                    counts.tokens.add(1);
                    counts.refreshes.add((state == State::Hit).into());
                    if policy.lease_bound {
                        let ends_ms = cx.steady_ms.saturating_add(terms.lease_max_ms);
                        let lease = HeldLease { key: store.load_key(db, key), token: granted.token, ends_ms };
                        session.hold_lease(lease, &cx);
                    }
                }
                None
            }
            Decided::Park(look_ms, for_ms) => {
                counts.parked.add(1);
                let until_ms = until_ms.unwrap_or(cx.steady_ms.saturating_add(for_ms));
                let (wanted, key) = (wanted.clone(), Box::from(key));
                Some(Waiting { db, kh, key, wanted, service, ticket, until_ms, look_ms, began, wake: None })
            }
        };
        (waiting, job)
    }
}

/// One decision about one key.
struct Read<'r> {
    options: &'r ReadOptions,
    service: &'r Service,
    terms: &'r Terms,
    cx: &'r Cx,
    ticket: u64,
    /// Whether anybody can load it.
    can_load: bool,
    /// A lease that was handed over while this read waited.
    token: Option<Granted>,
    /// A load that is not the reader's, granted by this read.
    began: Option<(Granted, Reason)>,
    /// Somebody else was found loading.
    was_loading: bool,
}

enum Decided<T> {
    Answer(T),
    /// When to look for oneself, steady ms, and for how long to wait, ms.
    Park(u64, u64),
}

impl Read<'_> {
    /// In the order of the states: pass, absence, fresh, stale, failure, load, wait.
    fn decide<T>(
        &mut self,
        mut slot: Slot<'_>,
        loading: &mut Loading<'_>,
        turn: Turn,
        touch: bool,
        tell: impl FnOnce(Answer<'_>) -> T,
    ) -> Decided<T> {
        let (options, policy, cx) = (self.options, &self.service.policy, self.cx);
        let bare = |state, ms| Answer { state, value: None, token: None, ms, about: None };
        let mut may_park = turn.may_park;
        match turn.wake {
            Some(Wake::Loaded(loaded)) => {
                let fresh_ms = if loaded.is_stored { left_ms(loaded.windows.fresh_until, cx) } else { 0 };
                let (value, about) = (Some(loaded.value()), Some(About::from(&*loaded)));
                return Decided::Answer(tell(Answer { value, about, ..bare(State::Filled, fresh_ms) }));
            }
            Some(Wake::Absent(until)) => return Decided::Answer(tell(bare(State::Neg, left_ms(until, cx)))),
            Some(Wake::Pass(ms)) => return Decided::Answer(tell(bare(State::Pass, ms as i64))),
            Some(Wake::Failed) => may_park = false,
            // Nobody loads: from the beginning.
            Some(Wake::Look | Wake::Code(_)) => {}
            Some(Wake::Token { token, lease_ms, .. }) => self.token = Some(Granted { token, lease_ms }),
            None => {}
        }
        if !policy.enabled {
            return Decided::Answer(tell(bare(State::Pass, -1)));
        }
        if let Some(left) = loading.pass_left_ms() {
            return Decided::Answer(tell(bare(State::Pass, left as i64)));
        }
        if touch && let Slot::Live(live) = &mut slot {
            live.touch();
        }
        let view = slot.view();
        let answer = |state, ms, token| {
            let (value, about) = (view.map(|view| view.value()), view.map(About::from));
            let value = value.filter(|_| state != State::Neg);
            Answer { state, value, token, ms, about }
        };
        let fresh_ms = view.map_or(0, |view| left_ms(view.windows().fresh_until, cx));
        let reload = options.force || options.min_fresh_ms.is_some_and(|least| (0..least as i64).contains(&fresh_ms));
        match view {
            Some(found) if found.phase == Phase::Absent && !reload => {
                return Decided::Answer(tell(answer(State::Neg, fresh_ms, None)));
            }
            Some(found) if found.phase == Phase::Fresh && !reload => {
                let token =
                    if found.wants_refresh(cx) { self.grant(loading, found.tags(), Reason::Eager) } else { None };
                return Decided::Answer(tell(answer(State::Hit, fresh_ms, token)));
            }
            Some(found) if matches!(found.phase, Phase::Fresh | Phase::Stale) && self.is_young(fresh_ms, &found) => {
                let token = self.grant(loading, found.tags(), Reason::Stale);
                let soft_ms = options.soft_ms.unwrap_or(policy.soft_timeout_ms).min(policy.wait_max_ms);
                if token.is_none()
                    && may_park
                    && soft_ms > 0
                    && loading.denied() == Some(Denied::Loading)
                    && let Some(look_ms) = loading.join(self.ticket, self.terms, policy.max_waiters)
                {
                    return Decided::Park(look_ms, soft_ms);
                }
                return Decided::Answer(tell(answer(State::Stale, left_ms(found.deadline(), cx), token)));
            }
            _ => {}
        }
        // From here on there is nothing to serve.
        let tags: SmallVec<[u64; 4]> = view.map(|view| view.tags().collect()).unwrap_or_default();
        if let Some(token) = self.grant(loading, tags.into_iter(), Reason::Miss) {
            return Decided::Answer(tell(Answer { token: Some(token), ..bare(State::Miss, token.lease_ms as i64) }));
        }
        match loading.denied() {
            Some(Denied::Backoff(left)) => {
                // One that is staler than this read takes is as good as one that is not served any more.
                let is_copy = view.is_some_and(|view| matches!(view.phase, Phase::Retained | Phase::Stale));
                return Decided::Answer(tell(if is_copy && !options.no_stale_if_error {
                    answer(State::Err, left as i64, None)
                } else {
                    bare(State::Err, left as i64)
                }));
            }
            None if options.no_lease || options.peek || !self.can_load => {
                return Decided::Answer(tell(bare(State::Miss, policy.lease_ms as i64)));
            }
            _ => {}
        }
        let wait_ms = options.wait_ms.unwrap_or(0).min(policy.wait_max_ms);
        if may_park && wait_ms > 0 {
            if let Some(look_ms) = loading.join(self.ticket, self.terms, policy.max_waiters) {
                return Decided::Park(look_ms, wait_ms);
            }
            self.service.stats.of(self.terms.core).refused_waits.add(1);
        }
        Decided::Answer(tell(bare(State::Wait, policy.retry_ms as i64)))
    }

    /// Whether an entry is not staler than this read takes.
    fn is_young(&self, fresh_ms: i64, view: &storage::View<'_>) -> bool {
        let Some(most) = self.options.max_stale_ms else { return true };
        let stale_for = view.windows().fresh_until.map_or(0, |until| self.cx.now.0.saturating_sub(until.0));
        fresh_ms != 0 || stale_for <= most
    }

    /// The right to load, if it is the reader's to have. Where others load, it is granted to them.
    fn grant(&mut self, loading: &mut Loading<'_>, tags: impl Iterator<Item = u64>, reason: Reason) -> Option<Granted> {
        if self.token.is_some() {
            return self.token;
        }
        let denied = if self.options.no_lease || self.options.peek || !self.can_load {
            loading.denied()
        } else {
            match loading.grant(self.terms, tags) {
                Ok(granted) if self.service.policy.loader == Loader::Lease => return Some(granted),
                Ok(granted) => {
                    self.began = Some((granted, reason));
                    None
                }
                Err(denied) => Some(denied),
            }
        };
        self.was_loading |= denied == Some(Denied::Loading);
        None
    }
}

pub(super) fn meta(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let (key, db, cx) = (call.args.at(1), call.db(), call.cx);
    let kh = call.store.hash(key);
    let service = Arc::clone(call.node.services.now().resolve(db, key));
    let reply = &mut call.reply;
    call.store.loading(db, kh, key, &cx, |slot, loading| {
        let (leases, waiters) = loading.counts();
        let Some(view) = slot.view() else {
            if leases + waiters == 0 {
                reply.null();
                return;
            }
            let rows = [("lease", leases as i64), ("waiters", waiters as i64)];
            reply.map(1 + rows.len());
            reply.bulk_str("service");
            reply.bulk_str(&service.name);
            for (name, number) in rows {
                reply.bulk_str(name);
                reply.integer(number);
            }
            return;
        };
        let windows = view.windows();
        let end = |end: Option<storage::Millis>| end.map_or(-1, |end| end.0 as i64);
        let rows = [
            ("stored-at", end(windows.stored_at)),
            ("fresh-until", end(windows.fresh_until)),
            ("refresh-at", end(windows.refresh_at())),
            ("stale-until", if view.phase == Phase::Absent { 0 } else { end(view.deadline()) }),
            ("retain-until", end(windows.retain_until)),
            ("load-ms", windows.load_ms.into()),
            ("version", windows.version.into()),
            ("stamp", view.stamp().map_or(-1, i64::from)),
            ("tags", view.tags().count() as i64),
            ("lease", leases as i64),
            ("waiters", waiters as i64),
        ];
        reply.map(3 + rows.len());
        reply.bulk_str("verdict");
        reply.bulk_str(match view.phase {
            Phase::Fresh => "fresh",
            Phase::Stale => "stale",
            Phase::Retained => "retained",
            Phase::Absent => "absent",
        });
        reply.bulk_str("service");
        reply.bulk_str(&service.name);
        reply.bulk_str("etag");
        if view.validator().is_empty() {
            reply.null()
        } else {
            reply.bulk(view.validator())
        }
        for (name, number) in rows {
            reply.bulk_str(name);
            reply.integer(number);
        }
    });
    Ok(())
}

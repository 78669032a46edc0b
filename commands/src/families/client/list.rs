//! CLIENT LIST, INFO and KILL: the line of a client, and which clients are meant.

use crate::call::Call;
use crate::clients::Client;
use crate::command::Command;
use crate::effect::Effect;
use crate::error::Error;
use crate::families::connection::USER;
use crate::table;
use core::sync::atomic::{AtomicU64, Ordering};
use protocol::number::parse_i64;
use std::sync::Arc;

/// A client's line, in the fields and order of Redis 7.2.
fn line(client: &Client, now_ms: u64) -> String {
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (pending, output) = (read(&client.query_bytes), read(&client.output_bytes));
    let (room, queued_bytes) = (client.query_free_bytes(), read(&client.queued_bytes));
    let queued = client.queued.load(Ordering::Relaxed);
    let flags: String = [
        (queued >= 0, 'x'),
        (client.blocked.is(), 'b'),
        (client.killed.load(Ordering::Relaxed), 'A'),
        (client.is_unix, 'U'),
        (client.no_evict.load(Ordering::Relaxed), 'e'),
        (client.no_touch.load(Ordering::Relaxed), 'T'),
    ]
    .iter()
    .filter(|(set, _)| *set)
    .map(|(_, letter)| *letter)
    .collect();
    let names = client.names.lock();
    format!(
        "id={id} addr={address} laddr={local_address} fd={fd} name={name} age={age} idle={idle} flags={flags} db={db} \
         sub=0 psub=0 ssub=0 multi={queued} qbuf={pending} qbuf-free={room} argv-mem=0 multi-mem={queued_bytes} rbs=0 \
         rbp=0 obl=0 oll={replies} omem={output} tot-mem={memory} events={events} cmd={command} user={USER} redir=-1 \
         resp={protocol} lib-name={library} lib-ver={version}\n",
        id = client.id,
        address = client.address,
        local_address = client.local_address,
        fd = client.fd,
        name = names.name,
        age = now_ms.saturating_sub(client.connected_ms) / 1000,
        idle = now_ms.saturating_sub(read(&client.active_ms)) / 1000,
        flags = if flags.is_empty() { "N" } else { &flags },
        db = client.db.load(Ordering::Relaxed),
        replies = u8::from(output > 0),
        memory = client.memory_bytes(),
        events = if output > 0 { "rw" } else { "r" },
        command = table::by_wire_id(client.last_command.load(Ordering::Relaxed))
            .map_or("NULL", |command: &Command| command.name),
        protocol = client.protocol.load(Ordering::Relaxed),
        library = names.library,
        version = names.library_version,
    )
}

/// What others see of this connection is as old as its last turn: bring it up to now.
fn refresh(call: &Call<'_, '_>) {
    call.session.publish(Some(call.command), call.cx.now.0);
}

pub(super) fn info(call: &mut Call<'_, '_>) -> Result<(), Error> {
    refresh(call);
    let line = line(&call.session.client, call.cx.now.0);
    call.reply.verbatim(line.as_bytes());
    Ok(())
}

/// All clients but those about to be closed.
fn living(call: &Call<'_, '_>) -> Vec<Arc<Client>> {
    let mut all = call.node.clients.all();
    all.retain(|client| !client.killed.load(Ordering::Relaxed));
    all
}

pub(super) fn list(call: &mut Call<'_, '_>) -> Result<(), Error> {
    refresh(call);
    let clients = if call.args.len() == 2 {
        living(call)
    } else if call.args.len() == 4 && call.is_word(2, "TYPE") {
        match Kind::named(call.args.at(3))? {
            Kind::Normal => living(call),
            Kind::Other => Vec::new(),
        }
    } else if call.args.len() > 3 && call.is_word(2, "ID") {
        let ids = call.args.iter().skip(3).map(|id| parse_i64(id).ok_or(Error::err("Invalid client ID")));
        let ids = ids.collect::<Result<Vec<_>, _>>()?;
        let found = ids.into_iter().filter_map(|id| call.node.clients.find(u64::try_from(id).ok()?));
        found.filter(|client| !client.killed.load(Ordering::Relaxed)).collect()
    } else {
        return Err(Error::SYNTAX);
    };
    let text: String = clients.iter().map(|client| line(client, call.cx.now.0)).collect();
    call.reply.verbatim(text.as_bytes());
    Ok(())
}

/// Type of a client. All of ours are of one type; the others exist as words only.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Normal,
    Other,
}

impl Kind {
    fn named(name: &[u8]) -> Result<Self, Error> {
        match name.to_ascii_lowercase().as_slice() {
            b"normal" => Ok(Self::Normal),
            b"master" | b"slave" | b"replica" | b"pubsub" => Ok(Self::Other),
            _ => Err(Error::quoting("Unknown client type '", name, "'")),
        }
    }
}

/// Which clients a KILL means: those that pass every filter given.
struct Filter<'a> {
    id: Option<u64>,
    kind: Option<Kind>,
    address: Option<&'a [u8]>,
    local_address: Option<&'a [u8]>,
    skip_me: bool,
}

impl<'a> Filter<'a> {
    const BAD_ID: Error = Error::err("client-id should be greater than 0");

    fn by_address(address: &'a [u8]) -> Self {
        let address = Some(address);
        Self { id: None, kind: None, address, local_address: None, skip_me: false }
    }

    fn parse(call: &Call<'a, '_>) -> Result<Self, Error> {
        let mut filter = Self { id: None, kind: None, address: None, local_address: None, skip_me: true };
        let positive = |value: &[u8]| parse_i64(value).and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0);
        for index in (2..call.args.len()).step_by(2) {
            let Some(value) = call.args.get(index + 1) else { return Err(Error::SYNTAX) };
            match call.args.at(index).to_ascii_lowercase().as_slice() {
                b"id" => filter.id = Some(positive(value).ok_or(Self::BAD_ID)?),
                b"type" => filter.kind = Some(Kind::named(value)?),
                b"addr" => filter.address = Some(value),
                b"laddr" => filter.local_address = Some(value),
                b"user" if value == USER.as_bytes() => {}
                b"user" => return Err(Error::quoting("No such user '", value, "'")),
                b"skipme" if value.eq_ignore_ascii_case(b"yes") => filter.skip_me = true,
                b"skipme" if value.eq_ignore_ascii_case(b"no") => filter.skip_me = false,
                _ => return Err(Error::SYNTAX),
            }
        }
        Ok(filter)
    }

    fn fits(&self, client: &Client) -> bool {
        self.id.is_none_or(|id| id == client.id)
            && self.kind.is_none_or(|kind| kind == Kind::Normal)
            && self.address.is_none_or(|address| address == client.address.as_bytes())
            && self.local_address.is_none_or(|address| address == client.local_address.as_bytes())
    }
}

pub(super) fn kill(call: &mut Call<'_, '_>) -> Result<(), Error> {
    if call.args.len() == 3 {
        return match kill_all(call, &Filter::by_address(call.args.at(2))) {
            0 => Err(Error::err("No such client")),
            _ => {
                call.reply.ok();
                Ok(())
            }
        };
    }
    let filter = Filter::parse(call)?;
    let killed = kill_all(call, &filter);
    call.reply.integer(killed);
    Ok(())
}

/// Closes all that fit; how many there were. The caller's own connection still gets its reply.
fn kill_all(call: &mut Call<'_, '_>, filter: &Filter<'_>) -> i64 {
    let mut killed = 0;
    for client in living(call).iter().filter(|client| filter.fits(client)) {
        if client.id == call.session.client.id {
            if !filter.skip_me {
                call.effects.push(Effect::Close);
                killed += 1;
            }
        } else if client.kill() {
            call.node.host.wake(client.core);
            killed += 1;
        }
    }
    killed
}

//! CACHE.STATS: counters of a service, or of all together.

use super::service_named;
use crate::call::Call;
use crate::error::Error;
use crate::services::Service;
use std::sync::Arc;

pub(super) fn stats(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let (name, reset) = match call.args.len() {
        1 => (None, false),
        2 if call.is_word(1, "RESET") => (None, true),
        2 => (Some(call.args.at(1)), false),
        3 if call.is_word(2, "RESET") => (Some(call.args.at(1)), true),
        _ => return Err(Error::SYNTAX),
    };
    let services: Vec<Arc<Service>> = match name {
        Some(name) => vec![service_named(call, name)?],
        None => call.node.services.now().with_global().map(Arc::clone).collect(),
    };
    let sums = sums(&services);
    let running: usize = services.iter().map(|service| service.bulkhead.running()).sum();
    let reply = &mut call.reply;
    reply.map(sums.len() + 2);
    for (name, sum) in sums {
        reply.bulk_str(&name.replace('_', "-"));
        reply.integer(sum as i64);
    }
    reply.bulk_str("loads-running");
    reply.integer(running as i64);
    reply.bulk_str("average-load-ms");
    let known: Vec<u64> = services.iter().map(|service| service.stats.average_load_ms()).filter(|ms| *ms > 0).collect();
    reply.integer((known.iter().sum::<u64>() / known.len().max(1) as u64) as i64);
    if reset {
        services.iter().for_each(|service| service.stats.reset());
    }
    Ok(())
}

/// The counters of some services together.
pub(crate) fn sums(services: &[Arc<Service>]) -> Vec<(&'static str, u64)> {
    let mut sums: Vec<(&'static str, u64)> = Vec::new();
    for service in services {
        let own = service.stats.sums();
        if sums.is_empty() {
            sums = own;
        } else {
            sums.iter_mut().zip(own).for_each(|(sum, (_, count))| sum.1 += count);
        }
    }
    sums
}

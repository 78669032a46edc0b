//! Tables of memory: per key, after churn, above a limit, and held by the dead.

use super::Report;
use super::table::Table;
use crate::scenarios::{memory, overshoot};

impl Report<'_> {
    pub(super) fn memory(&self, out: &mut String) {
        let rows = &self.results.memory;
        if rows.is_empty() {
            return;
        }
        let mut table = self.server_table("", &[]);
        for (mixed, ttl) in kinds(rows) {
            let text = |server: usize| {
                let row = rows.iter().find(|row| row.server == server && row.ttl == ttl && row.mixed == mixed);
                row.map_or("-".to_owned(), |row| {
                    format!("{:.1}{}", row.overhead, if row.settled { "" } else { " (still moving)" })
                })
            };
            table.push(std::iter::once(label(mixed, ttl)).chain((0..self.names.len()).map(text)).collect());
        }
        table.write(out, &format!("Resident bytes per key beyond key and value, {} keys", rows[0].keys));
    }

    pub(super) fn memory_sweep(&self, out: &mut String) {
        let rows = &self.results.memory_sweep;
        let (Some(first), Some(last)) = (rows.first(), rows.iter().map(|row| row.keys).max()) else { return };
        let mut table = self.server_table("", &[]);
        for (mixed, ttl) in kinds(rows) {
            let text = |server: usize| {
                let wanted = |row: &&memory::Row| row.server == server && row.ttl == ttl && row.mixed == mixed;
                let of_server = || rows.iter().filter(wanted).map(|row| row.overhead);
                let mean = of_server().sum::<f64>() / of_server().count() as f64;
                let max = of_server().fold(f64::MIN, f64::max);
                let moving = rows.iter().filter(wanted).any(|row| !row.settled);
                format!("{mean:.1} / {max:.1} / {:.2}{}", max / mean, if moving { " (still moving)" } else { "" })
            };
            table.push(std::iter::once(label(mixed, ttl)).chain((0..self.names.len()).map(text)).collect());
        }
        table.write(
            out,
            &format!("The same, mean / maximum / maximum over mean of 8 sizes from {} to {last} keys", first.keys),
        );
    }

    pub(super) fn churn(&self, out: &mut String) {
        let rows = &self.results.churn;
        if rows.is_empty() {
            return;
        }
        let mut table = Table::new(["server", "stored once", "rewritten 4 times", "CPU us per write"]);
        for row in rows {
            table.push(vec![
                self.names[row.server].to_owned(),
                format!("{:.1}", row.fresh),
                format!("{:.1}{}", row.churned, if row.settled { "" } else { " (still moving)" }),
                format!("{:.3}", row.cpu_us_per_write),
            ]);
        }
        table.write(
            out,
            &format!(
                "Churn: resident bytes per key beyond the mean of key and value, {} keys, values of 8 to 192 B",
                rows[0].keys
            ),
        );
    }

    pub(super) fn overshoot(&self, out: &mut String) {
        let rows = &self.results.overshoot;
        let Some(first) = rows.first() else { return };
        let mut table = Table::new([
            "server",
            "value",
            "k writes/s",
            "samples",
            "used_memory above, %",
            "bytes",
            "within 1 % + 1 MB",
            "RSS above, %",
            "MB",
            "RSS at start, MB",
        ]);
        for row in rows {
            let percent = |over: i64| format!("{:+.2}", over as f64 * 100.0 / row.limit as f64);
            let over = |bytes: u64| bytes as i64 - row.limit as i64;
            let used = row.used_max.map(over);
            let within = |over: i64| if over <= overshoot::allowance(row.limit) as i64 { "yes" } else { "**no**" };
            let tell = |text: Option<String>| match (row.reached, text) {
                (false, _) => "limit not reached".to_owned(),
                (true, text) => text.unwrap_or("-".to_owned()),
            };
            table.push(vec![
                self.names[row.server].to_owned(),
                format!("{} B", row.value_size),
                format!("{:.1}", row.writes_per_s / 1e3),
                row.samples.to_string(),
                tell(used.map(percent)),
                tell(used.map(|over| format!("{over:+}"))),
                tell(used.map(|over| within(over).to_owned())),
                tell(Some(percent(over(row.rss_max)))),
                tell(Some(format!("{:+.1}", over(row.rss_max) as f64 / 1e6))),
                format!("{:.1}", row.rss_start as f64 / 1e6),
            ]);
        }
        let title =
            format!("Memory above a limit of {} MiB at full write rate, highest of 100 samples/s", first.limit >> 20);
        table.write(out, &title);
    }

    pub(super) fn stale(&self, out: &mut String) {
        let rows = &self.results.stale;
        if rows.is_empty() {
            return;
        }
        let mut table = Table::new([
            "server",
            "beside",
            "k writes/s",
            "samples",
            "live keys, max",
            "dead, % of live: mean",
            "max",
            "dead, s of writes: max",
            "max over the goal",
            "uncertain, +- keys",
            "SCAN calls",
        ]);
        for row in rows {
            table.push(vec![
                self.names[row.server].to_owned(),
                if row.scanning { "SCAN loop" } else { "nothing" }.to_owned(),
                format!("{:.1}", row.writes_per_s / 1e3),
                row.samples.to_string(),
                row.live_max.to_string(),
                format!("{:.2}", row.percent_mean),
                format!("{:.2}", row.percent_max),
                format!("{:.2}", row.seconds_max),
                format!("{:.2}", row.of_goal_max),
                format!("{:.0}", row.uncertain_max),
                row.scan_calls.to_string(),
            ]);
        }
        table.write(out, "Expired keys not reclaimed (goal: the larger of 1 % of the living and 2 s of writes)");
    }
}

/// Mixes of values and TTLs that were measured.
fn kinds(rows: &[memory::Row]) -> Vec<(bool, bool)> {
    let mut kinds: Vec<_> = rows.iter().map(|row| (row.mixed, row.ttl)).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

fn label(mixed: bool, ttl: bool) -> String {
    let ttl = if ttl { "with TTL" } else { "no TTL" };
    if mixed { format!("{ttl}, mixed values") } else { ttl.to_owned() }
}

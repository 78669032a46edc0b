//! Tables of stampedes, and of what a stream of revokes costs those who read.

use super::Report;
use super::table::{Spread, Table, line, us};
use crate::scenarios::median;
use crate::scenarios::stampede::SATURATED;
use crate::scenarios::tag_revokes::{Cell, Traffic};

impl Report<'_> {
    pub(super) fn stampede(&self, out: &mut String) {
        let rows = &self.results.stampede;
        if rows.is_empty() {
            return;
        }
        let mut table = Table::new([
            "server",
            "phase",
            "by",
            "clients",
            "loads, max",
            "requests",
            "p50 ms",
            "p99 ms",
            "max ms",
            "server CPU ms",
            "generator core, %",
        ]);
        let ms = |us: f64| format!("{:.1}", us / 1e3);
        for (at, row) in rows.iter().enumerate() {
            table.push(vec![
                self.names[row.server].to_owned(),
                row.phase.to_owned(),
                row.way.to_owned(),
                row.clients.to_string(),
                row.loads.to_string(),
                format!("{:.0}", row.requests),
                ms(row.latency.p50_us),
                ms(row.latency.p99_us),
                ms(row.latency.max_us),
                format!("{:.1}", row.server_cpu_ms),
                format!("{:.0}", row.generator_busy * 100.0),
            ]);
            let is_last = rows.get(at + 1).is_none_or(|next| next.server != row.server);
            if is_last && !rows.iter().any(|other| other.server == row.server && other.phase == "stale") {
                let absent = ["stale", "-", "-", "-", "-", "-", "-", "-", "-", "-"].map(str::to_owned);
                table.push(std::iter::once(self.names[row.server].to_owned()).chain(absent).collect());
            }
        }
        let title = "One key, asked for by all at the same moment: time from then to each client's value";
        table.write(out, &format!("{title}, a load takes {} ms", self.load_ms));
        let saturated: usize = rows.iter().map(|row| row.saturated_rounds).sum();
        if saturated > 0 {
            let all: usize = rows.iter().map(|row| row.rounds).sum();
            line(
                out,
                format_args!("\n**In {saturated} of {all} rounds the generator was the limit while values arrived.**"),
            );
        }
    }

    pub(super) fn tag_revokes(&self, out: &mut String) {
        let cells = &self.results.tag_revokes;
        if cells.is_empty() {
            return;
        }
        let mut table = Table::new([
            "server",
            "keys",
            "beside",
            "CPU us per GET",
            "over untagged alone",
            "corrected us",
            "corrected, over untagged alone",
            "over the same keys alone",
            "batch p50 us",
            "p99 us",
            "k GET/s",
            "revokes/s",
            "records",
            "core in use, server / generator, %",
        ]);
        for server in 0..self.names.len() {
            for tagged in [false, true] {
                for traffic in [Traffic::Gets, Traffic::GetsAndRevokes, Traffic::Revokes] {
                    let wanted =
                        |cell: &&Cell| cell.server == server && cell.tagged == tagged && cell.traffic == traffic;
                    let rounds: Vec<&Cell> = cells.iter().filter(wanted).collect();
                    if !rounds.is_empty() {
                        table.push(self.tag_revokes_row(&rounds));
                    }
                }
            }
        }
        let rate = self.tag_revoke_rate;
        table.write(
            out,
            &format!(
                "GET P16 over {} keys beside {rate} tag revokes a second (corrected: without what these take alone)",
                self.keys
            ),
        );
        self.starved_tag_revokes(out);
    }

    /// Cells of GETs in which the server's core was not in use throughout, though the traffic saturates it.
    fn starved_tag_revokes(&self, out: &mut String) {
        let cells = || self.results.tag_revokes.iter().filter(|cell| cell.traffic != Traffic::Revokes);
        let idle = || cells().filter(|cell| cell.server_busy() < SATURATED);
        let starved = idle().filter(|cell| cell.generator_busy >= SATURATED).count();
        for (count, what) in
            [(starved, "the generator was the limit"), (idle().count() - starved, "other programs took part of a core")]
        {
            if count > 0 {
                line(out, format_args!("\n**In {count} of {} cells of GETs {what}.**", cells().count()));
            }
        }
    }

    /// One kind of cell, in all rounds.
    fn tag_revokes_row(&self, rounds: &[&Cell]) -> Vec<String> {
        let first = rounds[0];
        let beside = |cell: &Cell, tagged: bool, traffic: Traffic| {
            let wanted = |other: &&Cell| {
                (other.server, other.round) == (cell.server, cell.round)
                    && (other.tagged, other.traffic) == (tagged, traffic)
            };
            self.results.tag_revokes.iter().find(wanted).expect("a round has every cell")
        };
        let corrected = |cell: &Cell| match cell.traffic {
            Traffic::GetsAndRevokes => cell.corrected_us_per_get(beside(cell, cell.tagged, Traffic::Revokes)),
            Traffic::Gets | Traffic::Revokes => cell.cpu_us_per_get(),
        };
        let middle = |value: &dyn Fn(&Cell) -> f64| median(rounds.iter().map(|cell| value(cell)));
        let ratio = |value: &dyn Fn(&Cell) -> f64, tagged: bool| {
            let of_round = |cell: &&Cell| value(cell) / beside(cell, tagged, Traffic::Gets).cpu_us_per_get();
            Spread::of(rounds.iter().map(of_round).collect()).text()
        };
        let of_gets = |text: String| if first.traffic == Traffic::Revokes { "-".to_owned() } else { text };
        let of_revokes = |text: String| if first.traffic == Traffic::Gets { "-".to_owned() } else { text };
        vec![
            self.names[first.server].to_owned(),
            if first.tagged { "two tags each" } else { "untagged" }.to_owned(),
            match first.traffic {
                Traffic::Gets => "nothing",
                Traffic::GetsAndRevokes => "revokes",
                Traffic::Revokes => "revokes, no GET",
            }
            .to_owned(),
            of_gets(format!("{:.3}", middle(&Cell::cpu_us_per_get))),
            of_gets(ratio(&Cell::cpu_us_per_get, false)),
            of_gets(format!("{:.3}", middle(&corrected))),
            of_gets(ratio(&corrected, false)),
            of_gets(ratio(&corrected, first.tagged)),
            of_gets(us(middle(&|cell| cell.latency.p50_us))),
            of_gets(us(middle(&|cell| cell.latency.p99_us))),
            of_gets(format!("{:.1}", middle(&|cell| cell.gets as f64 / cell.wall_s / 1e3))),
            of_revokes(format!("{:.0}", middle(&Cell::revokes_per_s))),
            of_revokes(format!("{:.0}", middle(&|cell| cell.records as f64))),
            format!(
                "{:.0} / {:.0}",
                middle(&|cell| cell.server_busy() * 100.0),
                middle(&|cell| cell.generator_busy * 100.0)
            ),
        ]
    }
}

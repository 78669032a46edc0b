//! Tables of what requests cost and how long they wait.

use super::Report;
use super::table::{Spread, Table, line, us};
use crate::hist::Summary;
use crate::load::Pace;
use crate::scenarios::median;
use crate::scenarios::throughput::{COUNT_TOLERANCE, Cell, Workload};

/// A core in use above this share counts as saturated.
const BUSY: f64 = 0.95;

impl Report<'_> {
    pub(super) fn throughput(&self, out: &mut String) {
        let cells = &self.results.throughput;
        if cells.is_empty() {
            return;
        }
        let workloads = workloads(cells);
        let mut cpu = self.server_table("workload", &["ratio to best peer"]);
        let mut user = self.server_table("workload", &["ratio to best peer"]);
        let mut to_peers = Table::new(std::iter::once("workload").chain(self.names.iter().copied().skip(1)));
        let mut rate = self.server_table("workload", &[]);
        let mut busy = self.server_table("workload", &[]);
        let mut latency = self.server_table("workload", &[]);
        for workload in &workloads {
            let per_server = |value: &dyn Fn(&Cell) -> f64, server: usize| {
                median(cells.iter().filter(|cell| cell.workload == *workload && cell.server == server).map(value))
            };
            let row = |text: &dyn Fn(usize) -> String| -> Vec<String> {
                std::iter::once(workload.name()).chain((0..self.names.len()).map(text)).collect()
            };
            let ratio =
                |value: &dyn Fn(&Cell) -> f64| -> String { Spread::of(ratios(cells, workload, value, None)).text() };
            let mut cpu_row = row(&|server| format!("{:.3}", per_server(&|cell| cell.cpu_us_per_op, server)));
            cpu_row.push(ratio(&|cell| cell.cpu_us_per_op));
            cpu.push(cpu_row);
            let mut user_row = row(&|server| format!("{:.3}", per_server(&|cell| cell.user_us_per_op, server)));
            user_row.push(ratio(&|cell| cell.user_us_per_op));
            user.push(user_row);
            let to_peer =
                |peer: usize| Spread::of(ratios(cells, workload, &|cell| cell.cpu_us_per_op, Some(peer))).text();
            to_peers.push(std::iter::once(workload.name()).chain((1..self.names.len()).map(to_peer)).collect());
            rate.push(row(&|server| format!("{:.1}", per_server(&|cell| cell.ops_per_s / 1e3, server))));
            busy.push(row(&|server| {
                let server_busy = per_server(&|cell| cell.server_busy * 100.0, server);
                format!("{server_busy:.0} / {:.0}", per_server(&|cell| cell.generator_busy * 100.0, server))
            }));
            latency.push(row(&|server| {
                let at = |pick: fn(&Summary) -> f64| us(per_server(&|cell| pick(&cell.latency), server));
                format!("{} / {} / {}", at(|all| all.p50_us), at(|all| all.p99_us), at(|all| all.p999_us))
            }));
        }
        cpu.write(out, "Server CPU, us per request (median; ratio: median [min..max] over the rounds)");
        if self.names.len() > 2 {
            to_peers.write(out, &format!("Server CPU of {} over each peer's", self.names[0]));
        }
        user.write(out, "User part of it, us per request (from sampled ticks)");
        rate.write(out, "Rate, thousand requests per second");
        busy.write(out, "Core in use, server / generator, %");
        latency.write(out, "Latency of a batch, p50 / p99 / p99.9, us");
        let saturated = || cells.iter().filter(|cell| cell.workload.pace == Pace::Saturated && cell.server_busy < BUSY);
        let starved = saturated().filter(|cell| cell.generator_busy >= BUSY).count();
        let disturbed = saturated().filter(|cell| cell.generator_busy < BUSY).count();
        if starved > 0 {
            line(out, format_args!("\n**In {starved} of {} cells the generator was the limit.**", cells.len()));
        }
        if disturbed > 0 {
            line(
                out,
                format_args!("\n**In {disturbed} of {} cells other programs took part of a core.**", cells.len()),
            );
        }
        let wrong = cells.iter().filter(|cell| cell.count_mismatch() > COUNT_TOLERANCE).count();
        line(out, "");
        match wrong {
            0 => line(out, "The servers' own counts of requests agree with the generator's in every cell."),
            _ => line(
                out,
                format_args!(
                    "**The servers' counts of requests differ from the generator's by over 0.1 % in {wrong} cells.**"
                ),
            ),
        }
    }

    pub(super) fn idle(&self, out: &mut String) {
        let rows = &self.results.idle;
        if rows.is_empty() {
            return;
        }
        let mut table = Table::new([
            "server",
            "workload",
            "bytes per idle connection",
            "CPU us/op alone",
            "beside idle",
            "ratio",
            "k/s alone",
            "beside idle",
        ]);
        for row in rows {
            table.push(vec![
                self.names[row.server].to_owned(),
                format!("{} P16", row.op.name()),
                format!("{:.0}", row.bytes_per_connection),
                format!("{:.3}", row.cpu_us_alone),
                format!("{:.3}", row.cpu_us_beside),
                format!("{:.3}", row.cpu_ratio),
                format!("{:.1}", row.ops_per_s_alone / 1e3),
                format!("{:.1}", row.ops_per_s_beside / 1e3),
            ]);
        }
        table.write(out, "Idle connections");
    }

    pub(super) fn stall(&self, out: &mut String) {
        let rows = &self.results.stall;
        if rows.is_empty() {
            return;
        }
        let mut table =
            Table::new(["server", "phase", "command ms", "p50 us", "p99 us", "p99.9 us", "max us", "max over base"]);
        for row in rows {
            let base = rows.iter().find(|base| base.server == row.server && base.command_ms.is_none());
            table.push(vec![
                self.names[row.server].to_owned(),
                row.phase.to_owned(),
                row.command_ms.map_or("-".to_owned(), |ms| format!("{ms:.1}")),
                us(row.latency.p50_us),
                us(row.latency.p99_us),
                us(row.latency.p999_us),
                us(row.latency.max_us),
                base.map_or("-".to_owned(), |base| format!("{:.1}x", row.latency.max_us / base.latency.max_us)),
            ]);
        }
        table.write(out, "Latency of a steady client while a heavy command runs");
    }

    pub(super) fn revoke(&self, out: &mut String) {
        let rows = &self.results.revoke;
        if rows.is_empty() {
            return;
        }
        let mut table = Table::new([
            "server",
            "revoke by",
            "revokes",
            "p50 us each",
            "p99 us",
            "max us",
            "steady client p50 us",
            "p99 us",
            "p99.9 us",
            "max us",
        ]);
        for row in rows {
            let of_revoke = |value: f64| if row.revokes == 0 { "-".to_owned() } else { us(value) };
            table.push(vec![
                self.names[row.server].to_owned(),
                row.way.to_owned(),
                row.revokes.to_string(),
                of_revoke(row.revoke.p50_us),
                of_revoke(row.revoke.p99_us),
                of_revoke(row.revoke.max_us),
                us(row.latency.p50_us),
                us(row.latency.p99_us),
                us(row.latency.p999_us),
                us(row.latency.max_us),
            ]);
        }
        table.write(out, &format!("Groups of one key in 4096 revoked one after another, {} keys", self.big_keys));
    }

    pub(super) fn scan(&self, out: &mut String) {
        let rows = &self.results.scan;
        if rows.is_empty() {
            return;
        }
        let mut table =
            Table::new(["server", "pass", "keys are", "calls", "ms", "writes meanwhile", "repeated", "missing"]);
        for row in rows {
            table.push(vec![
                self.names[row.server].to_owned(),
                (row.pass + 1).to_string(),
                if row.growing { "added" } else { "deleted" }.to_owned(),
                row.calls.to_string(),
                format!("{:.0}", row.took_ms),
                row.writes.to_string(),
                row.repeated.to_string(),
                row.missing.to_string(),
            ]);
        }
        table.write(out, "SCAN under writes: keys present throughout");
    }

    pub(super) fn big_keyspace(&self, out: &mut String) {
        let cells = &self.results.big_keyspace;
        if cells.is_empty() {
            return;
        }
        let mut table = self.server_table("workload", &["ratio to best peer"]);
        let mut rate = self.server_table("workload", &[]);
        for workload in workloads(cells) {
            let per_server = |value: &dyn Fn(&Cell) -> f64, server: usize| {
                median(cells.iter().filter(|cell| cell.workload == workload && cell.server == server).map(value))
            };
            let row = |text: &dyn Fn(usize) -> String| -> Vec<String> {
                std::iter::once(workload.name()).chain((0..self.names.len()).map(text)).collect()
            };
            let mut cpu = row(&|server| {
                let user = per_server(&|cell| cell.user_us_per_op, server);
                format!("{:.3} ({user:.3})", per_server(&|cell| cell.cpu_us_per_op, server))
            });
            cpu.push(Spread::of(ratios(cells, &workload, &|cell| cell.cpu_us_per_op, None)).text());
            table.push(cpu);
            rate.push(row(&|server| format!("{:.1}", per_server(&|cell| cell.ops_per_s / 1e3, server))));
        }
        table.write(
            out,
            &format!("Server CPU, us per GET uniform over {} keys (in brackets its user part)", self.big_keys),
        );
        rate.write(out, "Rate over them, thousand requests per second");
    }

    pub(super) fn pauses(&self, out: &mut String) {
        for row in &self.results.pauses {
            let mut table = Table::new(["figure", "value"]);
            table.push(vec!["thousand SETs per second".to_owned(), format!("{:.1}", row.sets_per_s / 1e3)]);
            for (name, value) in &row.figures {
                table.push(vec![name.clone(), value.clone()]);
            }
            let name = self.names[row.server];
            table.write(out, &format!("Time of single commands inside {name} while it grew to {} keys", row.keys));
        }
    }
}

/// Workloads in the order they ran.
fn workloads(cells: &[Cell]) -> Vec<Workload> {
    let mut workloads: Vec<Workload> = Vec::new();
    for cell in cells {
        if !workloads.contains(&cell.workload) {
            workloads.push(cell.workload);
        }
    }
    workloads
}

/// Ours over a peer's, or over the best peer's, in each round.
fn ratios(cells: &[Cell], workload: &Workload, value: &dyn Fn(&Cell) -> f64, peer: Option<usize>) -> Vec<f64> {
    let cells = || cells.iter().filter(|cell| cell.workload == *workload);
    let of_round = |ours: &Cell| -> Option<f64> {
        let peers = cells().filter(|cell| cell.round == ours.round && cell.server != 0);
        let wanted = peers.filter(|cell| peer.is_none_or(|peer| cell.server == peer));
        wanted.map(value).min_by(f64::total_cmp).map(|best| value(ours) / best)
    };
    cells().filter(|cell| cell.server == 0).filter_map(of_round).collect()
}

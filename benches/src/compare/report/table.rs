//! Tables, ratios and numbers as Markdown.

use std::fmt::Write;

use crate::scenarios::median;

/// Median, minimum and maximum of ratios.
pub struct Spread(Option<(f64, f64, f64)>);

impl Spread {
    pub fn of(ratios: Vec<f64>) -> Self {
        let least = ratios.iter().copied().min_by(f64::total_cmp);
        let most = ratios.iter().copied().max_by(f64::total_cmp);
        Self(least.zip(most).map(|(least, most)| (median(ratios), least, most)))
    }

    pub fn text(&self) -> String {
        self.0.map_or("-".to_owned(), |(median, least, most)| format!("{median:.2} [{least:.2}..{most:.2}]"))
    }
}

/// A Markdown table; rows are cut or padded to the head.
pub struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new<'a>(head: impl IntoIterator<Item = &'a str>) -> Self {
        Self { head: head.into_iter().map(str::to_owned).collect(), rows: Vec::new() }
    }

    pub fn push(&mut self, mut row: Vec<String>) {
        row.resize(self.head.len(), String::new());
        self.rows.push(row);
    }

    pub fn write(&self, out: &mut String, title: &str) {
        line(out, format_args!("\n### {title}\n"));
        line(out, format_args!("| {} |", self.head.join(" | ")));
        line(out, format_args!("|{}", "---|".repeat(self.head.len())));
        for row in &self.rows {
            line(out, format_args!("| {} |", row.join(" | ")));
        }
    }
}

pub fn line(out: &mut String, text: impl std::fmt::Display) {
    writeln!(out, "{text}").expect("writing to a string cannot fail");
}

/// Microseconds.
pub fn us(value: f64) -> String {
    if value < 100.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}

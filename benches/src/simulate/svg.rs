//! A plot per trace: hit ratio by cache size, one line a policy.
//!
//! Lines and text are in colours that read on white and on dark grounds; nothing paints the ground.

use crate::report::{Cell, Player};
use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 430.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 78.0;
const BOTTOM: f64 = 62.0;

/// Of text and axes: about equally far from white and from black.
const INK: &str = "#7a828e";

/// Colour, dashes and width of a policy's line. Dashes tell apart what colours do not.
fn stroke(player: Player) -> (&'static str, &'static str, f64) {
    match player {
        Player::Millpond => ("#1f83e0", "", 3.0),
        Player::S3Fifo => ("#e0701f", "7 4", 2.0),
        Player::Lru => ("#2fa35a", "", 1.8),
        Player::SampledLru => ("#a05fd6", "3 3", 1.8),
        Player::Random => ("#8a8f98", "1 4", 2.2),
    }
}

/// Steps of about five in a range of this length.
fn step(range: f64) -> f64 {
    [0.01, 0.02, 0.05, 0.1, 0.2].into_iter().find(|step| range / step <= 7.0).unwrap_or(0.25)
}

/// The plot of one trace, its cells in ascending order of size.
pub fn plot(cells: &[Cell]) -> String {
    let (Some(first), Some(last)) = (cells.first(), cells.last()) else {
        return String::new();
    };
    let hit = |cell: &Cell, player: Player| 1.0 - cell.misses_of(player);
    let all: Vec<f64> = cells.iter().flat_map(|cell| Player::ALL.map(|player| hit(cell, player))).collect();
    let (least, most) = all.iter().fold((1.0f64, 0.0f64), |(least, most), hit| (least.min(*hit), most.max(*hit)));
    let step = step(most - least);
    let (least, most) = ((least / step).floor() * step, (most / step).ceil().max((least / step).floor() + 1.0) * step);
    let (from, to) = (first.percent.ln(), last.percent.ln().max(first.percent.ln() + 0.1));
    let x = |percent: f64| LEFT + (percent.ln() - from) / (to - from) * (WIDTH - LEFT - RIGHT);
    let y = |hit: f64| HEIGHT - BOTTOM - (hit - least) / (most - least) * (HEIGHT - TOP - BOTTOM);

    let mut text = String::new();
    let _ = writeln!(
        text,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" font-family="system-ui, 'DejaVu Sans', Helvetica, Arial, sans-serif" font-size="13" fill="{INK}">"#
    );
    let _ = writeln!(text, "<title>Hit ratio by cache size, trace {}</title>", first.trace);
    let _ = writeln!(
        text,
        r#"<text x="{LEFT}" y="24" font-size="16" font-weight="600">Hit ratio by cache size: {}</text>"#,
        first.trace
    );
    legend(&mut text);
    let right = WIDTH - RIGHT;
    let bottom = HEIGHT - BOTTOM;
    for tick in 0..=((most - least) / step).round() as u32 {
        let value = least + f64::from(tick) * step;
        let at = y(value);
        let _ = writeln!(
            text,
            r#"<path d="M{LEFT} {at:.1}H{right}" stroke="{INK}" stroke-opacity="0.25"/><text x="{:.1}" y="{:.1}" text-anchor="end">{:.0} %</text>"#,
            LEFT - 8.0,
            at + 4.5,
            100.0 * value
        );
    }
    for cell in cells {
        let at = x(cell.percent);
        let _ = writeln!(
            text,
            r#"<path d="M{at:.1} {bottom}v5" stroke="{INK}"/><text x="{at:.1}" y="{:.1}" text-anchor="middle">{} %</text>"#,
            bottom + 21.0,
            cell.percent
        );
    }
    let _ = writeln!(text, r#"<path d="M{LEFT} {TOP}V{bottom}H{right}" stroke="{INK}" fill="none"/>"#);
    let _ = writeln!(
        text,
        r#"<text x="{:.1}" y="{:.1}" text-anchor="middle">cache size, % of all {} (log scale)</text>"#,
        (LEFT + right) / 2.0,
        HEIGHT - 16.0,
        if first.by_bytes { "keys' bytes" } else { "keys" }
    );
    let _ = writeln!(
        text,
        r#"<text transform="translate(18 {:.1}) rotate(-90)" text-anchor="middle">reads that hit</text>"#,
        (TOP + bottom) / 2.0
    );
    // Ours last, on top.
    for player in Player::ALL.into_iter().rev() {
        let points: Vec<String> =
            cells.iter().map(|cell| format!("{:.1},{:.1}", x(cell.percent), y(hit(cell, player)))).collect();
        let _ = writeln!(text, r#"<polyline points="{}" fill="none" {}/>"#, points.join(" "), line(player));
    }
    text.push_str("</svg>\n");
    text
}

fn line(player: Player) -> String {
    let (colour, dashes, width) = stroke(player);
    let dashes = if dashes.is_empty() { String::new() } else { format!(r#" stroke-dasharray="{dashes}""#) };
    format!(r#"stroke="{colour}" stroke-width="{width}" stroke-linejoin="round" stroke-linecap="round"{dashes}"#)
}

/// A row of samples above the plot.
fn legend(text: &mut String) {
    /// Widths: of a sample with its gap, and of a letter on average.
    const SAMPLE: f64 = 38.0;
    const LETTER: f64 = 7.4;
    const BETWEEN: f64 = 20.0;
    let mut x = LEFT;
    for player in Player::ALL {
        let _ = writeln!(
            text,
            r#"<path d="M{x:.1} 50h28" fill="none" {}/><text x="{:.1}" y="54.5">{}</text>"#,
            line(player),
            x + SAMPLE - 4.0,
            player.name()
        );
        x += SAMPLE + LETTER * player.name().len() as f64 + BETWEEN;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_has_a_line_and_a_legend_for_each_policy_inside_its_frame() {
        let cell = |percent: f64, misses| Cell {
            trace: "zipf".to_owned(),
            percent,
            resident: 10.0,
            by_bytes: false,
            was_full: true,
            misses,
        };
        let text = plot(&[cell(0.1, [0.9, 0.91, 0.95, 0.96, 0.99]), cell(1.0, [0.7; 5]), cell(30.0, [0.1; 5])]);
        assert_eq!(text.matches("<polyline").count(), Player::ALL.len());
        assert!(Player::ALL.iter().all(|player| text.contains(player.name())));
        assert!(text.starts_with("<svg") && text.ends_with("</svg>\n") && !text.contains("NaN"));
        for points in text.split("points=\"").skip(1) {
            for number in points.split('"').next().unwrap().split([' ', ',']) {
                assert!((0.0..=WIDTH).contains(&number.parse::<f64>().unwrap()));
            }
        }
        assert_eq!(plot(&[]), "");
    }
}

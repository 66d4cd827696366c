//! Line charts as SVG. Pure.

use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 320.0;
/// Space around the lines: for the title, and for the names on the right.
const LEFT: f64 = 48.0;
const TOP: f64 = 40.0;
const RIGHT: f64 = 150.0;
const BOTTOM: f64 = 36.0;
/// Legible on light and on dark ground.
const COLORS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9"];
const GREY: &str = "#777777";

/// A line of values, one for each window.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Its name.
    pub name: String,
    /// Values from 0 on.
    pub values: Vec<f64>,
}

/// Draws lines over windows that are numbered from 0, with a word at some of these.
pub fn chart(title: &str, lines: &[Line], words: &[(usize, String)]) -> String {
    let windows = lines.iter().map(|line| line.values.len()).max().unwrap_or_default();
    let top = lines.iter().flat_map(|line| &line.values).fold(1.0, |top: f64, value| top.max(*value));
    let x = |window: usize| LEFT + (WIDTH - LEFT - RIGHT) * window as f64 / windows.saturating_sub(1).max(1) as f64;
    let y = |value: f64| HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top;

    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n"
    );
    text(&mut svg, (LEFT, 22.0), GREY, title);
    for value in [0.0, top / 2.0, top] {
        text(&mut svg, (4.0, y(value) + 4.0), GREY, &format!("{value:.0}"));
        line(&mut svg, &[(LEFT, y(value)), (WIDTH - RIGHT, y(value))], GREY, 0.3);
    }
    for window in (0..windows).step_by((windows / 10).max(1)) {
        text(&mut svg, (x(window) - 4.0, HEIGHT - 14.0), GREY, &window.to_string());
    }
    for (number, drawn) in lines.iter().enumerate() {
        let color = COLORS[number % COLORS.len()];
        let points: Vec<_> = drawn.values.iter().enumerate().map(|(window, value)| (x(window), y(*value))).collect();
        line(&mut svg, &points, color, 2.0);
        text(&mut svg, (WIDTH - RIGHT + 12.0, TOP + 18.0 * number as f64 + 4.0), color, &drawn.name);
    }
    for (window, word) in words {
        line(&mut svg, &[(x(*window), TOP), (x(*window), HEIGHT - BOTTOM)], COLORS[1], 1.0);
        text(&mut svg, (x(*window) + 4.0, TOP - 4.0), COLORS[1], word);
    }
    svg.push_str("</svg>\n");
    svg
}

// What is written to a String is not refused.
fn line(svg: &mut String, points: &[(f64, f64)], color: &str, width: f64) {
    let _ = write!(svg, "<polyline fill=\"none\" stroke=\"{color}\" stroke-width=\"{width}\" points=\"");
    for (x, y) in points {
        let _ = write!(svg, "{x:.1},{y:.1} ");
    }
    svg.push_str("\"/>\n");
}

fn text(svg: &mut String, (x, y): (f64, f64), color: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" fill=\"{color}\">{text}</text>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_has_its_lines_and_words() {
        let lines = [Line { name: "a<b".to_owned(), values: vec![0.0, 10.0, 5.0] }];

        let svg = chart("Orders & more", &lines, &[(1, "alert".to_owned())]);

        assert!(svg.contains("points=\"48.0,284.0 309.0,40.0 570.0,162.0 \""), "{svg}");
        assert!(
            svg.contains(">a&lt;b</text>")
                && svg.contains(">Orders &amp; more</text>")
                && svg.contains(">alert</text>")
        );
    }
}

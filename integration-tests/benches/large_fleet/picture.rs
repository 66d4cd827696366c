//! A chart with two logarithmic axes as SVG. Pure.

use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 340.0;
/// Space around the lines; on the right for their names.
const LEFT: f64 = 64.0;
const TOP: f64 = 40.0;
const RIGHT: f64 = 180.0;
const BOTTOM: f64 = 40.0;
/// Legible on light and on dark ground.
const COLORS: [&str; 4] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7"];
const GREY: &str = "#777777";
/// Minimum value that is drawn; what is below is drawn there.
const MIN: f64 = 0.1;

/// A line of values, one for each number of leases.
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) values: Vec<f64>,
}

/// Draws lines over numbers of leases.
pub(crate) fn chart(title: &str, leases: &[u32], lines: &[Line]) -> String {
    let last = leases.last().map_or(1.0, |leases| decade((*leases).into())).max(1.0);
    let values = lines.iter().flat_map(|line| &line.values);
    let (bottom, top) = (decade(MIN), values.map(|value| decade(*value)).fold(1.0_f64, f64::max).ceil());
    let x = |leases: u32| LEFT + (WIDTH - LEFT - RIGHT) * decade(leases.into()) / last;
    let y = |decade: f64| HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (decade - bottom) / (top - bottom);

    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n"
    );
    text(&mut svg, (LEFT, 22.0), GREY, title);
    let mut at = bottom;
    while at <= top {
        text(&mut svg, (4.0, y(at) + 4.0), GREY, &10_f64.powf(at).to_string());
        polyline(&mut svg, &[(LEFT, y(at)), (WIDTH - RIGHT, y(at))], GREY, 0.3);
        at += 1.0;
    }
    for number in leases {
        text(&mut svg, (x(*number) - 4.0, HEIGHT - 16.0), GREY, &number.to_string());
    }
    for (number, (line, color)) in lines.iter().zip(COLORS).enumerate() {
        let values = leases.iter().zip(&line.values);
        let points: Vec<_> = values.map(|(leases, value)| (x(*leases), y(decade(*value)))).collect();
        polyline(&mut svg, &points, color, 2.0);
        text(&mut svg, (WIDTH - RIGHT + 12.0, TOP + 18.0 * number as f64 + 4.0), color, line.name);
    }
    svg.push_str("</svg>\n");
    svg
}

/// Place on a logarithmic axis.
fn decade(value: f64) -> f64 {
    value.max(MIN).log10()
}

// What is written to a String is not refused.
fn polyline(svg: &mut String, points: &[(f64, f64)], color: &str, width: f64) {
    let _ = write!(svg, "<polyline fill=\"none\" stroke=\"{color}\" stroke-width=\"{width}\" points=\"");
    for (x, y) in points {
        let _ = write!(svg, "{x:.1},{y:.1} ");
    }
    svg.push_str("\"/>\n");
}

fn text(svg: &mut String, (x, y): (f64, f64), color: &str, text: &str) {
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" fill=\"{color}\">{text}</text>");
}

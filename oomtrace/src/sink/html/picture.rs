//! An incident drawn: memory against its limit over time, with marks for what happened.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::{class, escape, offset};
use crate::{
    event::{Incident, MemoryPoint},
    quantity,
};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 180.0;
/// Left of the drawing: room for amounts.
const LEFT: f64 = 76.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 24.0;

/// Where things are.
struct Scale {
    first: f64,
    last: f64,
    most: f64,
}

impl Scale {
    fn x(&self, ms: f64) -> f64 {
        LEFT + (ms - self.first) / (self.last - self.first).max(1.0) * (WIDTH - LEFT - 14.0)
    }

    #[expect(clippy::cast_precision_loss, reason = "a pixel is coarser than a double")]
    fn y(&self, bytes: u64) -> f64 {
        let share = (bytes as f64 / self.most).min(1.0);
        HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
    }
}

pub(super) fn picture(page: &mut String, incident: &Incident) -> std::fmt::Result {
    let began = incident.steps.first().and_then(|step| Some((milliseconds(&step.ts)?, step.since_ms)));
    let Some((first_ts, first_since)) = began else { return Ok(()) };
    // A point's distance from the kill, by the first step's.
    let since = |point: &MemoryPoint| milliseconds(&point.ts).map(|at| at - first_ts + first_since);
    let points: Vec<(f64, &MemoryPoint)> =
        incident.history.iter().filter_map(|point| Some((since(point)?, point))).collect();
    let times = || incident.steps.iter().map(|step| step.since_ms).chain(points.iter().map(|(ms, _)| *ms));
    let (first, last) = (times().fold(f64::INFINITY, f64::min), times().fold(f64::NEG_INFINITY, f64::max));
    let most = points.iter().map(|(_, point)| point.usage_bytes.max(point.limit_bytes.unwrap_or(0))).max();
    #[expect(clippy::cast_precision_loss, reason = "a pixel is coarser than a double")]
    let scale = Scale { first, last, most: most.map_or(1.0, |most| most as f64 * 1.15).max(1.0) };

    let base = HEIGHT - BOTTOM;
    writeln!(page, "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"memory and events over time\">")?;
    writeln!(page, "<line class=\"axis\" x1=\"{LEFT}\" y1=\"{base}\" x2=\"{WIDTH}\" y2=\"{base}\"/>")?;
    for step in &incident.steps {
        let x = scale.x(step.since_ms);
        writeln!(
            page,
            "<line class=\"mark {}\" x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{base}\"><title>{} {}</title></line>",
            class(step.mark),
            escape(&offset(step.since_ms)),
            escape(&step.what),
        )?;
    }
    write_memory(page, &scale, &points)?;
    for (ms, anchor) in [(first, "start"), (last, "end")] {
        let x = scale.x(ms);
        writeln!(
            page,
            "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>",
            HEIGHT - 6.0,
            escape(&offset(ms))
        )?;
    }
    writeln!(page, "</svg>")
}

fn write_memory(page: &mut String, scale: &Scale, points: &[(f64, &MemoryPoint)]) -> std::fmt::Result {
    let line = |of: &dyn Fn(&MemoryPoint) -> Option<u64>| {
        let mut text = String::new();
        for (ms, point) in points {
            if let Some(bytes) = of(point) {
                let _ = write!(text, "{:.1},{:.1} ", scale.x(*ms), scale.y(bytes));
            }
        }
        text
    };
    if points.is_empty() {
        return Ok(());
    }
    writeln!(page, "<polyline class=\"usage\" points=\"{}\"/>", line(&|point| Some(point.usage_bytes)).trim_end())?;
    for (ms, point) in points {
        writeln!(
            page,
            "<circle class=\"point\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"><title>{} used at {}</title></circle>",
            scale.x(*ms),
            scale.y(point.usage_bytes),
            quantity::size(point.usage_bytes),
            escape(&offset(*ms)),
        )?;
    }
    // The limit goes all the way: it was there before the first reading, too.
    if let Some(limit) = points.iter().rev().find_map(|(_, point)| point.limit_bytes) {
        let y = scale.y(limit);
        writeln!(page, "<line class=\"limit\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{WIDTH}\" y2=\"{y:.1}\"/>")?;
        writeln!(
            page,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 4.0,
            y + 4.0,
            quantity::size(limit)
        )?;
    }
    writeln!(page, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">0</text>", LEFT - 4.0, HEIGHT - BOTTOM + 4.0)
}

/// To the millisecond: no picture shows less.
fn milliseconds(ts: &str) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit 53 bits")]
    ts.parse::<Timestamp>().ok().map(|at| at.as_millisecond() as f64)
}

//! An incident drawn: memory against its limit and its request over time, with marks for what happened.

use std::{cmp::Reverse, fmt::Write as _};

use jiff::Timestamp;
use maud::{Markup, html};

use super::{Outside, class, count};
use crate::{
    event::{Incident, Level, Mark, MemoryPoint, Step, thin_curve},
    quantity,
};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 210.0;
/// Left of the drawing: room for amounts.
const LEFT: f64 = 84.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 30.0;
/// Points of a curve: as many as can be seen.
const POINTS: usize = 240;
/// Of so many points each has a dot.
const DOTS: usize = 60;
/// At most so many lines across.
const ROWS: u64 = 4;
/// At most so many amounts of time.
const COLUMNS: f64 = 7.0;
/// Amounts of time that people count in, seconds.
const STEPS: [f64; 21] = [
    0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 10_800.0, 21_600.0,
    43_200.0, 86_400.0, 172_800.0, 604_800.0,
];

/// A reading, and when it was, in milliseconds from the kill.
type Point<'a> = (f64, &'a MemoryPoint);

/// Where things are.
struct Scale {
    first: f64,
    last: f64,
    most: u64,
}

impl Scale {
    fn x(&self, ms: f64) -> f64 {
        LEFT + (ms - self.first) / (self.last - self.first).max(1.0) * (WIDTH - LEFT - RIGHT)
    }

    #[expect(clippy::cast_precision_loss, reason = "a pixel is coarser than a double")]
    fn y(&self, bytes: u64) -> f64 {
        let share = (bytes as f64 / self.most as f64).min(1.0);
        HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
    }
}

/// The drawing with its legend; nothing where an incident has no step with a time.
pub(super) fn chart(incident: &Incident) -> Markup {
    let began = incident.steps.first().and_then(|step| Some((milliseconds(&step.ts)?, step.since_ms)));
    let Some((first_ts, first_since)) = began else { return html! {} };
    let mut history = incident.history.clone();
    thin_curve(&mut history, POINTS);
    // A point's distance from the kill, by the first step's.
    let since = |point: &MemoryPoint| milliseconds(&point.ts).map(|at| at - first_ts + first_since);
    let points: Vec<Point<'_>> = history.iter().filter_map(|point| Some((since(point)?, point))).collect();
    let request = request_bytes(incident).filter(|_| !points.is_empty());
    let times = || incident.steps.iter().map(|step| step.since_ms).chain(points.iter().map(|(ms, _)| *ms));
    let (first, last) = (times().fold(f64::INFINITY, f64::min), times().fold(f64::NEG_INFINITY, f64::max));
    let amounts = points.iter().map(|(_, point)| point.usage_bytes.max(point.limit_bytes.unwrap_or(0)));
    let most = amounts.chain(request).max().unwrap_or(0);
    let scale = Scale { first, last, most: most.saturating_add(most / 8).max(1) };
    let limits = limits(&points, &scale);
    let base = HEIGHT - BOTTOM;
    html! {
        figure {
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(description(incident, &points)) {
                @for bytes in rows(most) {
                    @let y = pixel(scale.y(bytes));
                    line .grid x1=(LEFT) y1=(y) x2=(WIDTH - RIGHT) y2=(y) {}
                    text x=(LEFT - 6.0) y=(pixel(scale.y(bytes) + 4.0)) text-anchor="end" { (quantity::size(bytes)) }
                }
                line .axis x1=(LEFT) y1=(base) x2=(WIDTH - RIGHT) y2=(base) {}
                @for ms in columns(first, last) {
                    @let x = pixel(scale.x(ms));
                    line .axis x1=(x) y1=(base) x2=(x) y2=(base + 4.0) {}
                    text x=(x) y=(HEIGHT - 10.0) text-anchor="middle" { (distance(ms)) }
                }
                @for step in drawn(&incident.steps) {
                    @let x = pixel(scale.x(step.since_ms));
                    line class={ "mark " (class(step.mark)) } x1=(x) y1=(TOP) x2=(x) y2=(base) {
                        title { (super::offset(step.since_ms)) " " (Outside(&step.what)) }
                    }
                }
                @for run in runs(incident, &points) {
                    polyline .usage points=(line(run.iter().map(|(ms, point)| (*ms, point.usage_bytes)), &scale)) {}
                }
                @if points.len() <= DOTS {
                    @for (ms, point) in &points {
                        circle .point cx=(pixel(scale.x(*ms))) cy=(pixel(scale.y(point.usage_bytes))) r="2.5" {
                            title { (quantity::size(point.usage_bytes)) " used at " (super::offset(*ms)) }
                        }
                    }
                }
                @if let Some(bytes) = request {
                    @let y = pixel(scale.y(bytes));
                    line .request x1=(LEFT) y1=(y) x2=(WIDTH - RIGHT) y2=(y) {}
                }
                @if let Some(limits) = &limits { polyline .limit points=(limits) {} }
            }
            figcaption {
                @if !points.is_empty() { (legend("usage", "memory used")) }
                @if let Some(bytes) = points.iter().rev().find_map(|(_, point)| point.limit_bytes) {
                    (legend("limit", &format!("limit, {}", quantity::size(bytes))))
                }
                @if let Some(bytes) = request { (legend("request", &format!("request, {}", quantity::size(bytes)))) }
                @for (mark, name) in marks(&incident.steps) { (legend(class(mark), name)) }
                span .dim { "time from the first " @if incident.kills > 0 { "kill" } @else { "event" } }
            }
        }
    }
}

fn legend(class: &str, name: &str) -> Markup {
    html! { span .key { i class={ "swatch " (class) } {} (name) } }
}

/// The kinds of steps that a legend has, the weightiest first.
const MARKS: [(Mark, &str); 5] = [
    (Mark::Kill, "OOM kill"),
    (Mark::Eviction, "eviction"),
    (Mark::Failure, "limit hit"),
    (Mark::Signal, "signal"),
    (Mark::Exit, "end"),
];

/// Those of them that there are.
fn marks(steps: &[Step]) -> impl Iterator<Item = (Mark, &'static str)> {
    MARKS.into_iter().filter(|(mark, _)| steps.iter().any(|step| step.mark == *mark))
}

/// Steps in the order in which they are drawn: the weightiest above the others.
fn drawn(steps: &[Step]) -> Vec<&Step> {
    let place = |step: &&Step| MARKS.iter().position(|(mark, _)| *mark == step.mark).unwrap_or(MARKS.len());
    let mut drawn: Vec<&Step> = steps.iter().collect();
    drawn.sort_by_key(|step| Reverse(place(step)));
    drawn
}

/// The drawing in words, for who does not see it.
fn description(incident: &Incident, points: &[Point<'_>]) -> String {
    let mut text = String::new();
    let used = || points.iter().map(|(_, point)| point.usage_bytes);
    if let (Some(least), Some(most)) = (used().min(), used().max()) {
        let _ = write!(text, "Memory used: {} to {}", quantity::size(least), quantity::size(most));
        if let Some(limit) = points.iter().rev().find_map(|(_, point)| point.limit_bytes) {
            let _ = write!(text, " of {}", quantity::size(limit));
        }
        text += "; ";
    }
    let _ = write!(text, "{}, {}", count(incident.kills, "kill"), count(incident.steps.len() as u64, "step"));
    text
}

/// The request of whom the curve is of, where it is known.
fn request_bytes(incident: &Incident) -> Option<u64> {
    let limit = incident.limit.as_ref()?;
    let own = |level: Level| limit.level == Some(level);
    if own(Level::Container) {
        let name = incident.container.as_ref()?.name.as_ref();
        incident.containers.iter().find(|of| name.is_some() && of.container.name.as_ref() == name)?.request_bytes
    } else if own(Level::Pod) && incident.containers_omitted == 0 && !incident.containers.is_empty() {
        incident.containers.iter().map(|of| of.request_bytes).sum()
    } else {
        None
    }
}

/// Readings that follow each other without an end of their container between them: what is between is not known.
fn runs<'a, 'p>(incident: &Incident, points: &'a [Point<'p>]) -> Vec<&'a [Point<'p>]> {
    let of_container = incident.limit.as_ref().is_some_and(|limit| limit.level == Some(Level::Container));
    let ends: Vec<f64> =
        incident.steps.iter().filter(|step| step.mark == Mark::Exit).map(|step| step.since_ms).collect();
    let is_down = |a: &Point<'_>, b: &Point<'_>| ends.iter().any(|end| (a.0..b.0).contains(end));
    points.chunk_by(|a, b| !(of_container && is_down(a, b))).collect()
}

/// The limit as a line: all the way, as it was there before the first reading, too; in steps where it was changed.
fn limits(points: &[Point<'_>], scale: &Scale) -> Option<String> {
    let known: Vec<(f64, u64)> = points.iter().filter_map(|(ms, point)| Some((*ms, point.limit_bytes?))).collect();
    let mut corners = vec![(scale.first, known.first()?.1)];
    for pair in known.windows(2) {
        let [(_, before), (at, after)] = [pair[0], pair[1]];
        if before != after {
            corners.extend([(at, before), (at, after)]);
        }
    }
    corners.push((scale.last.max(scale.first + 1.0), known.last()?.1));
    Some(line(corners, scale))
}

fn line(points: impl IntoIterator<Item = (f64, u64)>, scale: &Scale) -> String {
    let points = points.into_iter().map(|(ms, bytes)| format!("{:.1},{:.1}", scale.x(ms), scale.y(bytes)));
    points.collect::<Vec<_>>().join(" ")
}

/// Round amounts from 0 to the most, for lines across.
fn rows(most: u64) -> Vec<u64> {
    let unit = (0..=60).step_by(10).map(|bits| 1 << bits).take_while(|unit| *unit <= most / 2).last().unwrap_or(1);
    let factors = (0..).flat_map(|power| [1, 2, 5].map(|factor| factor * 10_u64.pow(power)));
    let step = factors.map(|factor| factor * unit).find(|step| most / step <= ROWS).unwrap_or(most.max(1));
    (0..=most / step).map(|row| row * step).collect()
}

/// Round times between two, in milliseconds.
fn columns(first: f64, last: f64) -> Vec<f64> {
    let span = (last - first) / 1000.0;
    let step = STEPS.into_iter().find(|step| span / step <= COLUMNS).unwrap_or(span / COLUMNS) * 1000.0;
    let from = (first / step).ceil();
    let all = (0..=10).map(|column| (from + f64::from(column)) * step);
    all.take_while(|ms| *ms <= last).collect()
}

/// `-5 min`: a round time.
fn distance(ms: f64) -> String {
    let seconds = ms.abs() / 1000.0;
    if seconds < 0.05 {
        return "0".to_owned();
    }
    let sign = if ms < 0.0 { '−' } else { '+' };
    let (unit, amount) = match seconds {
        ..60.0 => ("s", seconds),
        60.0..3600.0 => ("min", seconds / 60.0),
        3600.0..86_400.0 => ("h", seconds / 3600.0),
        _ => ("d", seconds / 86_400.0),
    };
    let rounded = (amount * 10.0).round() / 10.0;
    format!("{sign}{rounded} {unit}")
}

fn pixel(at: f64) -> String {
    format!("{at:.1}")
}

/// To the millisecond: no picture shows less.
fn milliseconds(ts: &str) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit 53 bits")]
    ts.parse::<Timestamp>().ok().map(|at| at.as_millisecond() as f64)
}

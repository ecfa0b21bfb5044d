//! Steps of the wall clock: what was before and after one keeps its distance.

use super::windows::SECOND;

/// For so long after a step, lines may come that were written before it.
const LATE: i64 = 10 * SECOND;

/// How far the wall clock was set since the first line, nanoseconds. Inside, the timeline's times are those of a clock that
/// nobody sets.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ClockSteps {
    all: i64,
    /// Without the last one.
    all_but_last: i64,
    /// When that was.
    last: Option<i64>,
}

impl ClockSteps {
    /// It was set by so much; `now` is a time inside.
    pub(super) fn add(&mut self, by: i64, now: Option<i64>) {
        (self.all_but_last, self.last) = (self.all, now);
        self.all = self.all.saturating_add(by);
    }

    /// A time of now.
    pub(super) fn inside(&self, wall: i64) -> i64 {
        wall.saturating_sub(self.all)
    }

    /// A time inside, as the wall clock would show it now.
    pub(super) fn outside(&self, at: i64) -> i64 {
        at.saturating_add(self.all)
    }

    /// The time of a line that comes now. Soon after a step it may have been written before that: what is nearer to `now` is right.
    pub(super) fn of_line(&self, wall: i64, now: Option<i64>) -> i64 {
        let at = self.inside(wall);
        match (self.last, now) {
            (Some(last), Some(now)) if now.saturating_sub(last) < LATE => {
                let before = wall.saturating_sub(self.all_but_last);
                if before.abs_diff(now) < at.abs_diff(now) { before } else { at }
            }
            _ => at,
        }
    }
}

//! A page of incidents.

use crate::event::Line;

/// The page.
#[must_use]
pub fn html(_lines: &[Line]) -> String {
    String::new()
}

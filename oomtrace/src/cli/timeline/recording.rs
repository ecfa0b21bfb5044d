//! Recordings: events as `oomtrace run` printed them.

use std::path::PathBuf;

use tracing::{info, warn};

use super::{input, what::What};
use crate::event::{Event, Line};

/// So many bytes show what a file is.
const SAMPLE_BYTES: u64 = 1 << 16;

/// All events of all recordings. A line that is none is said and passed over; a file without any is an error.
pub(super) fn read_all(paths: &[PathBuf]) -> anyhow::Result<Vec<Line>> {
    let mut recorded = Vec::new();
    for path in paths {
        let name = path.display();
        let mut input = input::open(path)?;
        let start = input.peek(path, SAMPLE_BYTES)?;
        let (mut events, mut bad, mut first_bad) = (0_u64, 0_u64, None);
        let lines = input::lines(path, &mut input, |number, text| {
            if text.iter().all(u8::is_ascii_whitespace) {
                return;
            }
            match serde_json::from_slice::<Line>(text) {
                Ok(line) => {
                    events += 1;
                    // What a timeline told before is not evidence.
                    if !matches!(line.event, Event::Incident(_) | Event::Status(_)) {
                        recorded.push(line);
                    }
                }
                Err(_) => {
                    bad += 1;
                    first_bad.get_or_insert(number);
                }
            }
        })?;
        if let Some(first) = first_bad {
            if events == 0 {
                anyhow::bail!("{name}: {}", What::of(&start).instead_of_recording());
            }
            warn!("{name}: {bad} lines are no events and are passed over, the first of them line {first}");
        }
        info!("{name}: recording{}, {events} events in {lines} lines", input.packing);
    }
    Ok(recorded)
}

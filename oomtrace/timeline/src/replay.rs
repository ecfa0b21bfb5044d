//! Recordings, replayed: through the same stages as live, so that what was reported live is found again.

use std::collections::BTreeMap;

use oomtrace_model::{Event, Incident, Line, Phase, Status};

use super::{Background, Keep, Timeline};

/// Takes recorded lines in, and gives the incidents that were reported when they were recorded: each as its last line has it.
///
/// Every node has a timeline of its own, and every run on it.
#[derive(Default)]
pub struct Replay {
    nodes: BTreeMap<String, Run>,
    ended: Vec<(String, Incident)>,
    dropped: u64,
}

struct Run {
    timeline: Timeline,
    /// The last lines of incidents.
    incidents: BTreeMap<String, Incident>,
}

impl Run {
    fn new() -> Self {
        Self { timeline: Timeline::new(Keep::LIVE, Background::default()), incidents: BTreeMap::new() }
    }

    fn take(&mut self, news: Vec<Incident>) {
        for incident in news {
            self.incidents.insert(incident.id.clone(), incident);
        }
    }
}

impl Replay {
    /// Takes a line, in the order in which lines were recorded.
    pub fn push(&mut self, line: &Line) {
        // What was open when a run was killed may go on in the next.
        let begins = |status: &Status| status.phase == Phase::Started && status.incidents_resumed == 0;
        if matches!(&line.event, Event::Status(status) if begins(status))
            && let Some(run) = self.nodes.remove(&line.node)
        {
            self.end(&line.node, run);
        }
        let run = self.nodes.entry(line.node.clone()).or_insert_with(Run::new);
        run.timeline.push(line);
        let sealed = run.timeline.take_sealed();
        run.take(sealed);
    }

    /// The incidents, those first that began first, each with its node; and how many lines were let go of that might have made one.
    #[must_use]
    pub fn finish(mut self) -> (Vec<(String, Incident)>, u64) {
        for (node, run) in std::mem::take(&mut self.nodes) {
            self.end(&node, run);
        }
        self.ended.sort_by(|a, b| (&a.1.started, &a.0, &a.1.id).cmp(&(&b.1.started, &b.0, &b.1.id)));
        (self.ended, self.dropped)
    }

    fn end(&mut self, node: &str, mut run: Run) {
        let last = run.timeline.finish();
        run.take(last);
        self.dropped += run.timeline.dropped();
        let of_node = run.incidents.into_values().filter(|incident| !incident.withdrawn).map(|incident| {
            let (kills, processes, deaths) = (incident.kills, incident.processes_killed, incident.deaths);
            let incident = Incident {
                revision: 1,
                kills_new: kills,
                processes_killed_new: processes,
                deaths_new: deaths,
                ..incident
            };
            (node.to_owned(), incident)
        });
        self.ended.extend(of_node);
    }
}

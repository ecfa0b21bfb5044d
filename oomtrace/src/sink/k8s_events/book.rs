//! Which Events there are, and what of them the API server does not know yet.
//!
//! What is the same again - the object, the reason, the action - within six minutes of the last time is counted in the Event
//! that is there, as client-go does it (`finishTime`, `tools/events/event_broadcaster.go`): a container that is killed after
//! each restart is one Event with a count. Nothing of an Event but this count can be changed, so that another verdict of the
//! same incident is an Event of its own.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde_json::Value;

use super::{
    event::{self, Event, News, OF_NODES, OF_NODES_BEFORE, Object, Report, WITHDRAWN, What},
    limit::{Bucket, PER_OBJECT},
};

/// When nothing was added for so long, what comes is a new Event.
const ENDS_AFTER: Duration = Duration::from_mins(6);
/// What could not be sent for so long is let go of: by then people have looked.
pub(super) const KEPT_FOR: Duration = Duration::from_mins(15);
/// So many Events are kept to be counted on, so many incidents and objects are remembered.
const MOST: usize = 512;

/// What is one series.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    object: Object,
    what: What,
}

#[derive(Debug)]
struct Series {
    name: String,
    /// How often it had to be made anew.
    generation: u64,
    /// The incident that it began with.
    id: String,
    note: String,
    first: Timestamp,
    last: Timestamp,
    count: u64,
    /// How many of these the API server knows of; 0 where it knows nothing of it.
    sent: u64,
    /// When something was last added.
    changed: Instant,
    /// Since when something waits to be sent.
    waits: Option<Instant>,
}

/// What was said of an incident.
#[derive(Debug)]
struct Said {
    what: What,
    objects: Vec<Object>,
    /// How much of their counts is this incident's.
    count: u64,
}

/// A request to the API server.
pub(super) enum Request {
    /// A new Event.
    Create { key: Key, namespace: String, event: Value },
    /// It happened again.
    Count { key: Key, namespace: String, name: String, series: Value },
}

impl Request {
    pub(super) fn key(&self) -> &Key {
        match self {
            Self::Create { key, .. } | Self::Count { key, .. } => key,
        }
    }
}

pub(super) struct Book {
    /// The node that oomtrace runs on.
    node: String,
    /// Where Events of nodes go.
    of_nodes: &'static str,
    series: BTreeMap<Key, Series>,
    /// What waits, the longest first.
    waiting: VecDeque<Key>,
    incidents: BTreeMap<String, Said>,
    /// The keys of `incidents`, the oldest first.
    order: VecDeque<String>,
    buckets: BTreeMap<Object, Bucket>,
    /// What could not be said, since this was last asked.
    lost: u64,
    /// How much of that because a pod has no name.
    nameless: u64,
}

impl Book {
    pub(super) fn new(node: String) -> Self {
        Self {
            node,
            of_nodes: OF_NODES,
            series: BTreeMap::new(),
            waiting: VecDeque::new(),
            incidents: BTreeMap::new(),
            order: VecDeque::new(),
            buckets: BTreeMap::new(),
            lost: 0,
            nameless: 0,
        }
    }

    /// Takes what a line of an incident says.
    pub(super) fn take(&mut self, news: News, now: Instant) {
        self.tidy(now);
        match news {
            News::Happened(report) => self.happened(report, now),
            News::Withdrawn { id, replaced_by, why } => self.withdrawn(&id, replaced_by.as_deref(), &why, now),
        }
    }

    fn happened(&mut self, report: Report, now: Instant) {
        let Report { id, what, mut note, objects, nameless, first, last, new } = report;
        let before = self.incidents.get(&id);
        let known = before.filter(|said| said.what == what).map_or(Vec::new(), |said| said.objects.clone());
        let count = before.map_or(0, |said| said.count) + new;
        if let Some((before, objects)) =
            before.filter(|said| said.what != what).map(|said| (said.what, said.objects.len()))
            && self.take_back_unsent(&id).len() < objects
        {
            note = format!("In place of {} as first reported: {note}", before.reason);
        }
        if nameless {
            self.lost += 1;
            self.nameless += 1;
        }
        self.remember(id.clone(), Said { what, objects: objects.clone(), count: count.max(1) });
        for object in objects {
            // A pod may have got its name meanwhile.
            let is_new = !known.iter().any(|known| known.is(&object));
            let new = if is_new { count.max(1) } else { new };
            if new > 0 {
                self.add(Key { object, what }, &id, &note, (first, last), new, now);
            }
        }
    }

    /// Adds to a series, or begins one.
    fn add(&mut self, key: Key, id: &str, note: &str, (first, last): (Timestamp, Timestamp), new: u64, now: Instant) {
        if let Some(series) = self.series.get_mut(&key) {
            series.count += new;
            series.last = series.last.max(last);
            series.changed = now;
            if series.waits.is_none() {
                series.waits = Some(now);
                self.waiting.push_back(key);
            }
            return;
        }
        if !self.bucket(&key.object, now).take(now) {
            self.lost += 1;
            return;
        }
        self.make_room();
        let series = Series {
            name: event::name(&key.object, key.what, id, 0),
            generation: 0,
            id: id.to_owned(),
            note: note.to_owned(),
            first,
            last,
            count: new,
            sent: 0,
            changed: now,
            waits: Some(now),
        };
        self.series.insert(key.clone(), series);
        self.waiting.push_back(key);
    }

    /// An incident is none. What is not sent yet never is; what is, is taken back by an Event of its own, unless another
    /// incident says the same of the same.
    fn withdrawn(&mut self, id: &str, replaced_by: Option<&str>, why: &str, now: Instant) {
        let unsent = self.take_back_unsent(id);
        let Some(said) = self.incidents.remove(id) else { return };
        self.order.retain(|known| known != id);
        let other = replaced_by.and_then(|other| self.incidents.get(other)).filter(|other| other.what == said.what);
        let said_by_other = other.map(|other| other.objects.clone()).unwrap_or_default();
        for object in said.objects {
            if unsent.contains(&object) || said_by_other.contains(&object) {
                continue;
            }
            let note = format!("{} as reported before is withdrawn: {why}", said.what.reason);
            let what = What { reason: WITHDRAWN, action: said.what.action };
            let at = Timestamp::now();
            self.add(Key { object, what }, id, &note, (at, at), 1, now);
        }
    }

    /// Takes an incident out of what is not sent yet; gives the objects of which nothing more is to be said.
    fn take_back_unsent(&mut self, id: &str) -> Vec<Object> {
        let Some(said) = self.incidents.get(id) else { return Vec::new() };
        let (what, count) = (said.what, said.count);
        let mut unsent = Vec::new();
        for object in &said.objects {
            let key = Key { object: object.clone(), what };
            let Some(series) = self.series.get_mut(&key).filter(|series| series.sent == 0) else { continue };
            series.count = series.count.saturating_sub(count);
            if series.count == 0 {
                self.series.remove(&key);
                self.waiting.retain(|waiting| *waiting != key);
            }
            unsent.push(object.clone());
        }
        unsent
    }

    fn remember(&mut self, id: String, said: Said) {
        if self.incidents.insert(id.clone(), said).is_none() {
            self.order.push_back(id);
        }
        while self.order.len() > MOST {
            if let Some(oldest) = self.order.pop_front() {
                self.incidents.remove(&oldest);
            }
        }
    }

    fn bucket(&mut self, object: &Object, now: Instant) -> &mut Bucket {
        if self.buckets.len() >= MOST {
            self.buckets.retain(|_, bucket| !bucket.is_full(now));
        }
        // Objects beyond that begin anew: what limits all of them is the rate for the server.
        if self.buckets.len() >= MOST && !self.buckets.contains_key(object) {
            self.buckets.pop_first();
        }
        self.buckets.entry(object.clone()).or_insert_with(|| Bucket::full(PER_OBJECT, now))
    }

    /// Lets go of series that have ended.
    fn tidy(&mut self, now: Instant) {
        self.series.retain(|_, series| series.waits.is_some() || now - series.changed < ENDS_AFTER);
    }

    /// One series goes where there are too many: of those that the API server knows, the one that was still for longest; else
    /// the one that waits for longest, which is lost.
    fn make_room(&mut self) {
        if self.series.len() < MOST {
            return;
        }
        let known = self.series.iter().filter(|(_, series)| series.waits.is_none());
        if let Some(key) = known.min_by_key(|(_, series)| series.changed).map(|(key, _)| key.clone()) {
            self.series.remove(&key);
        } else if let Some(key) = self.waiting.pop_front() {
            self.series.remove(&key);
            self.lost += 1;
        }
    }

    /// What is to be sent now, if anything is. It waits until it is [`done`](Self::done), or let go of.
    pub(super) fn next(&mut self, now: Instant) -> Option<Request> {
        let key = self.waiting.iter().find(|key| self.is_ready(key, now))?.clone();
        let series = self.series.get(&key)?;
        let namespace = key.object.events_namespace(self.of_nodes).to_owned();
        let Series { name, note, first, last, count, .. } = series;
        Some(if series.sent == 0 {
            let (object, what, node) = (&key.object, key.what, self.node.as_str());
            let event = Event {
                namespace: &namespace,
                name,
                object,
                what,
                note,
                first: *first,
                last: *last,
                count: *count,
                node,
            }
            .json();
            Request::Create { key, namespace, event }
        } else {
            Request::Count { namespace, name: name.clone(), series: event::series(*count, *last), key }
        })
    }

    /// A new Event has its token; a count takes one when there is one, and loses nothing by waiting.
    fn is_ready(&self, key: &Key, now: Instant) -> bool {
        let is_new = self.series.get(key).is_some_and(|series| series.sent == 0);
        is_new || self.buckets.get(&key.object).is_none_or(|bucket| bucket.ready_at(now) <= now)
    }

    /// When something may be sent that may not now; `None` where nothing waits.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let at = |key: &Key| match self.buckets.get(&key.object) {
            Some(bucket) if !self.is_ready(key, now) => bucket.ready_at(now),
            _ => now,
        };
        self.waiting.iter().map(at).min()
    }

    /// A request was taken by the API server.
    pub(super) fn done(&mut self, request: &Request, now: Instant) {
        if let Request::Count { key, .. } = request {
            self.bucket(&key.object, now).take(now);
        }
        let key = request.key();
        self.waiting.retain(|waiting| waiting != key);
        if let Some(series) = self.series.get_mut(key) {
            (series.sent, series.waits) = (series.count, None);
        }
    }

    /// Where Events of nodes go.
    pub(super) fn namespace_of_nodes(&self) -> &'static str {
        self.of_nodes
    }

    /// The API server does not take Events of nodes there: whether they may go elsewhere.
    pub(super) fn move_events_of_nodes(&mut self) -> bool {
        std::mem::replace(&mut self.of_nodes, OF_NODES_BEFORE) == OF_NODES
    }

    /// The API server did not take a request now: the others come first when it is asked again.
    pub(super) fn postpone(&mut self, key: &Key) {
        if let Some(position) = self.waiting.iter().position(|waiting| waiting == key)
            && let Some(key) = self.waiting.remove(position)
        {
            self.waiting.push_back(key);
        }
    }

    /// The API server has forgotten the Event, as it does after an hour: it is made anew.
    pub(super) fn gone(&mut self, key: &Key) {
        if let Some(series) = self.series.get_mut(key) {
            series.generation += 1;
            (series.sent, series.first) = (0, series.last);
            series.name = event::name(&key.object, key.what, &series.id, series.generation);
        }
    }

    /// An Event is of no use any more: `lost`, where it would have been to anybody.
    pub(super) fn drop(&mut self, key: &Key, lost: bool) {
        self.waiting.retain(|waiting| waiting != key);
        self.series.remove(key);
        self.lost += u64::from(lost);
    }

    /// Lets go of what has waited for too long.
    pub(super) fn expire(&mut self, now: Instant) {
        let is_old = |key: &Key| {
            let waits = self.series.get(key).and_then(|series| series.waits);
            waits.is_none_or(|since| now - since >= KEPT_FOR)
        };
        let old: Vec<Key> = self.waiting.iter().filter(|key| is_old(key)).cloned().collect();
        for key in &old {
            self.drop(key, true);
        }
    }

    /// Nothing waits.
    pub(super) fn is_done(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What could not be said since this was last asked, and how much of it because a pod has no name.
    pub(super) fn take_lost(&mut self) -> (u64, u64) {
        (std::mem::take(&mut self.lost), std::mem::take(&mut self.nameless))
    }

    /// Gives up what waits still.
    pub(super) fn abandon(&mut self) {
        self.lost += self.waiting.len() as u64;
        self.waiting.clear();
    }
}

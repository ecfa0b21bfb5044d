//! The thread between the tracer and the API server.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{
    Account, PATIENCE,
    api::{Access, Answer, Server},
    book::{Book, Request},
    event::{Event, News, Object, What},
    limit::{Bucket, PER_SERVER},
};
use crate::{
    degradation::Degradation,
    sink::retry::{Retry, Seldom},
};

/// How often it is looked whether something has waited too long.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// What the API server says where an Event of a node is in a namespace that it must not be in.
const OTHER_NAMESPACE: &str = "does not match event.namespace";

pub(super) struct Worker {
    node: String,
    server: Server,
    book: Book,
    account: Arc<Account>,
    degradation: Degradation,
    /// What limits all requests.
    bucket: Bucket,
    retry: Retry,
    /// Whether the server has taken anything yet, be it only to try.
    tried_out: bool,
    complaints: Seldom,
    complained_of_names: bool,
}

impl Worker {
    pub(super) fn new(access: Access, node: String, account: Arc<Account>, degradation: Degradation) -> Self {
        Self {
            book: Book::new(node.clone()),
            node,
            server: Server::new(access),
            account,
            degradation,
            bucket: Bucket::full(PER_SERVER, Instant::now()),
            retry: Retry::default(),
            tried_out: false,
            complaints: Seldom::default(),
            complained_of_names: false,
        }
    }

    /// Sends what comes until nothing more does.
    pub(super) fn run(mut self, news: &Receiver<News>) {
        loop {
            let now = Instant::now();
            let wait = self.due(now).map_or(LOOK_EVERY, |due| (due - now).min(LOOK_EVERY));
            match news.recv_timeout(wait) {
                Ok(first) => [first].into_iter().chain(news.try_iter()).for_each(|news| self.book.take(news, now)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.finish(),
            }
            self.book.expire(Instant::now());
            self.step();
            self.report();
        }
    }

    /// When there is something to do.
    fn due(&self, now: Instant) -> Option<Instant> {
        let something = if self.tried_out { self.book.due(now)? } else { now };
        let allowed = self.retry.at().unwrap_or(now).max(self.bucket.ready_at(now));
        Some(something.max(allowed))
    }

    /// Sends one, if it is time for it.
    fn step(&mut self) {
        let now = Instant::now();
        if self.due(now).is_none_or(|due| due > now) {
            return;
        }
        let request = self.book.next(now);
        if request.is_none() && self.tried_out {
            return;
        }
        self.bucket.take(now);
        let answer = match &request {
            Some(request) => self.server.request(request),
            None => self.try_out(),
        };
        self.answered(request.as_ref(), answer);
    }

    /// What the API server says to an Event that it does not keep: at the start, so that what is wrong is known before the first
    /// kill.
    fn try_out(&mut self) -> Answer {
        let Some(object) = Object::node(&self.node) else { return Answer::Done };
        let namespace = self.book.namespace_of_nodes();
        let (what, at) = (What { reason: "Tracing", action: "Start" }, Timestamp::now());
        let event = Event {
            namespace,
            name: "oomtrace.dry-run",
            object: &object,
            what,
            note: "",
            first: at,
            last: at,
            count: 1,
            node: &self.node,
        };
        self.server.try_out(namespace, &event.json())
    }

    /// The same once, without anything to write.
    ///
    /// # Errors
    ///
    /// Fails where the API server would not take Events.
    pub(super) fn try_out_alone(mut self) -> Result<(), String> {
        loop {
            match self.try_out() {
                Answer::Never(why) if why.contains(OTHER_NAMESPACE) && self.book.move_events_of_nodes() => {}
                Answer::Later(why, _) | Answer::Never(why) => return Err(why),
                Answer::Done | Answer::Gone | Answer::Useless => return Ok(()),
            }
        }
    }

    fn answered(&mut self, request: Option<&Request>, answer: Answer) {
        let now = Instant::now();
        if let Answer::Later(why, wait) = answer {
            self.degradation.say(format!("Kubernetes Events are late: {why}; it is tried again"));
            self.retry.failed(now, wait);
            if let Some(request) = request {
                self.book.postpone(request.key());
            }
            return;
        }
        self.retry.answered();
        if let Answer::Never(why) = &answer
            && why.contains(OTHER_NAMESPACE)
            && self.book.move_events_of_nodes()
        {
            return;
        }
        self.tried_out = true;
        self.degradation.recover();
        let Some(request) = request else {
            if let Answer::Never(why) = answer {
                self.complain(format!("the API server would not take a Kubernetes Event: {why}"));
            }
            return;
        };
        match answer {
            Answer::Done | Answer::Later(..) => self.book.done(request, now),
            Answer::Gone => self.book.gone(request.key()),
            Answer::Useless => self.book.drop(request.key(), false),
            Answer::Never(why) => {
                self.book.drop(request.key(), true);
                self.complain(format!("the API server does not take a Kubernetes Event, which is lost: {why}"));
            }
        }
    }

    /// Sends what it can while the end of the program waits.
    fn finish(mut self) {
        let until = Instant::now() + PATIENCE;
        while !self.book.is_done() && Instant::now() < until && self.retry.at().is_none() {
            self.step();
            let now = Instant::now();
            match self.due(now) {
                Some(due) if due <= until => std::thread::sleep(due - now),
                _ => break,
            }
        }
        self.book.abandon();
        self.report();
    }

    fn report(&mut self) {
        let (lost, nameless) = self.book.take_lost();
        self.account.lose(lost);
        if nameless > 0 && !std::mem::replace(&mut self.complained_of_names, true) {
            let trouble =
                "there is no Kubernetes Event of a pod whose name is not known, here nor later: it is counted as lost";
            self.account.complain(trouble.to_owned());
        }
    }

    fn complain(&mut self, trouble: String) {
        if self.complaints.is_due() {
            self.account.complain(trouble);
        }
    }
}

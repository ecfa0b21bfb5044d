//! The report, live: the page of `oomtrace timeline --format html`, served to browsers.
//!
//! ```text
//! tracer ─▶ the queue that every output has ─▶ thread: articles ─▶ Shown ◀─ thread: HTTP ◀─ browsers
//! ```
//!
//! It is an output like the others: the oldest lines go, counted, where it is too slow. `GET /` gives all that is shown, readable
//! without a script; `GET /events` goes on with what has changed since a version of it, as server-sent events. An article is made
//! once for all who read it, and they share its bytes.

mod shown;
#[cfg(test)]
mod tests;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    },
};
use tokio::sync::mpsc;

use self::shown::Shown;
use super::{
    Kinds,
    html::live,
    queue::{Queue, Room, Taken},
    writer::Writer,
};
use crate::{
    confinement::Confinement,
    event::{Event, Kind, Line},
    http::{self, Answer, Listener, endless, plain, whole},
};

/// So many browsers at a time; a further one takes the place of the oldest, which comes again by itself.
const CONNECTIONS: usize = 64;
/// What is taken from the queue at once.
const MOST: Room = Room { lines: 64, bytes: 1 << 20 };
/// Where nothing changes, this is sent so often, so that a connection that is gone is noticed, and none is thought to be.
const STILL_THERE: (Duration, &[u8]) = (Duration::from_secs(15), b":\n\n");
/// Changes within this time go together.
const TOGETHER: Duration = Duration::from_millis(100);
/// A browser that was cut off comes again after this time.
const RETRY: &[u8] = b"retry: 2000\n\n";

/// What is served where.
#[derive(Clone, Debug)]
pub struct Web {
    /// Where.
    pub address: http::Address,
    /// How many incidents are kept.
    pub keep: usize,
}

impl Web {
    /// Where nothing else is said.
    pub(crate) const PORT: u16 = 9478;

    /// What is shown.
    pub(super) fn kinds() -> Kinds {
        Kinds::only(Kind::Incident)
    }

    /// Starts its threads. Gives where it is.
    pub(super) fn start(&self, confinement: &Confinement) -> anyhow::Result<(Writer, String)> {
        let listener = Listener::bind(&self.address, "--web")?.with_connections(CONNECTIONS);
        let address = listener.address();
        let shown = Arc::new(Shown::new(self.keep));
        let writer = Writer::server("web", confinement, {
            let shown = Arc::clone(&shown);
            move |queue| take_all(queue, &shown)
        })?;
        let policy = HeaderValue::try_from(live::content_security_policy())?;
        listener.serve("web-http", confinement.clone(), move |request| {
            with_headers(answer(request, address, &shown), &policy)
        })?;
        Ok((writer, format!("http://{address}/")))
    }
}

fn take_all(queue: &Queue, shown: &Shown) -> io::Result<()> {
    loop {
        match queue.take(MOST, None) {
            Taken::Lines(lines) => {
                for line in lines {
                    match serde_json::from_str::<Line>(&line) {
                        Ok(Line { node, event: Event::Incident(incident), .. }) => shown.take(node, *incident),
                        _ => queue.lose(1),
                    }
                }
            }
            Taken::Nothing => {}
            Taken::End => return Ok(()),
        }
    }
}

fn answer(request: &Request<Incoming>, address: SocketAddr, shown: &Arc<Shown>) -> Response<Answer> {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if address.ip().is_loopback() && !is_this_machine(host) {
        // A page from elsewhere whose name now leads here (DNS rebinding) would read all of it.
        return plain(StatusCode::MISDIRECTED_REQUEST, "this is for localhost: ask by that name, or by 127.0.0.1");
    }
    match request.uri().path() {
        "/" => whole(StatusCode::OK, "text/html; charset=utf-8", shown.page(), None),
        "/events" => {
            let last = request.headers().get("last-event-id").and_then(|id| id.to_str().ok());
            let asked = || request.uri().query()?.strip_prefix("since=");
            let since = last.or_else(asked).and_then(|version| shown.number(version));
            let (parts, body) = mpsc::channel(1);
            tokio::spawn(feed(Arc::clone(shown), since, parts));
            endless("text/event-stream", body)
        }
        _ => plain(StatusCode::NOT_FOUND, "there are / and /events"),
    }
}

/// Whether a `Host` names this machine to itself, with a port or without.
fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name,
        _ => host,
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn with_headers(mut response: Response<Answer>, policy: &HeaderValue) -> Response<Answer> {
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, policy.clone());
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Sends what has changed, from a version on, until its reader has gone; all, where it has none.
async fn feed(shown: Arc<Shown>, mut since: Option<u64>, parts: mpsc::Sender<Bytes>) {
    let mut versions = shown.versions();
    let mut batch = vec![Bytes::from_static(RETRY)];
    loop {
        versions.borrow_and_update();
        let (news, version) = shown.since(since);
        batch.extend(news);
        since = Some(version);
        for part in batch.drain(..) {
            if parts.send(part).await.is_err() {
                return;
            }
        }
        let (every, still_there) = STILL_THERE;
        tokio::select! {
            new = versions.changed() => match new {
                Ok(()) => tokio::time::sleep(TOGETHER).await,
                Err(_) => return,
            },
            () = tokio::time::sleep(every) => batch.push(Bytes::from_static(still_there)),
            () = parts.closed() => return,
        }
    }
}

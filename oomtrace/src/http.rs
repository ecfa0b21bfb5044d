//! HTTP for those who look: figures, and the report.
//!
//! Every listener that the tracer has is this one. It is bound before oomtrace confines itself, and answers on a thread of its own,
//! whose failures end nothing else. Whatever a client does is bounded: how many connections there are, how long the head of a
//! request may take, that it has no body, and how long an answer may take to be read.

mod address;
mod stream;

use std::{
    collections::VecDeque,
    convert::Infallible,
    io,
    net::{SocketAddr, TcpListener},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{self, Poll},
    thread,
    time::Duration,
};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body, Bytes, Frame, Incoming, SizeHint},
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpStream,
    runtime,
    sync::{OwnedSemaphorePermit, mpsc},
    task::AbortHandle,
    time,
};

pub use self::address::Address;
use self::stream::Impatient;
use crate::confinement::Confinement;

/// So many connections are open at a time; a further one closes the oldest. A client that only holds connections keeps nobody out:
/// health is asked for here, too.
pub(crate) const CONNECTIONS: usize = 128;
/// The head of a request has to come within this time.
const HEAD_WITHIN: Duration = Duration::from_secs(2);
/// A client that takes longer for all of an answer is cut off; of one without an end, for what is buffered of it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Listens already, and answers nothing yet.
pub(crate) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    connections: usize,
}

impl Listener {
    /// Binds the first of the addresses that can be; `option` names it in the error. The kernel chooses the port where it is to be 0.
    pub(crate) fn bind(address: &Address, option: &str) -> anyhow::Result<Self> {
        let bound = TcpListener::bind(address.all()).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok((listener.local_addr()?, listener))
        });
        let (address, listener) = bound.map_err(|error| {
            let remedy = match error.kind() {
                io::ErrorKind::AddrInUse => "; `ss -ltnp` says who listens there: stop that, or choose another port",
                io::ErrorKind::AddrNotAvailable => "; `ip address` shows the addresses that this machine has",
                io::ErrorKind::PermissionDenied => "; choose a port from 1024 on",
                _ => "",
            };
            anyhow::anyhow!("{option} {address}: it cannot be listened on: {error}{remedy}")
        })?;
        Ok(Self { socket: listener, address, connections: CONNECTIONS })
    }

    /// No more than so many connections at a time.
    pub(crate) fn with_connections(self, connections: usize) -> Self {
        Self { connections, ..self }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers on a thread of this name until the program ends.
    pub(crate) fn serve(
        self,
        name: &'static str,
        confinement: Confinement,
        answer: impl Fn(&Request<Incoming>) -> Response<Answer> + Send + Sync + 'static,
    ) -> io::Result<()> {
        let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            confinement.confine_thread(None);
            if let Err(error) = runtime.block_on(self.answer_all(name, Arc::new(answer))) {
                tracing::error!("{name}: nothing is served any more: {error}");
            }
        })?;
        Ok(())
    }

    async fn answer_all<F>(self, name: &str, answer: Arc<F>) -> io::Result<()>
    where
        F: Fn(&Request<Incoming>) -> Response<Answer> + Send + Sync + 'static,
    {
        let listener = tokio::net::TcpListener::from_std(self.socket)?;
        let mut open: VecDeque<AbortHandle> = VecDeque::new();
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Such as too many open files: it would come back at once.
                    tracing::debug!("{name}: a client is not answered: {error}");
                    time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            open.retain(|connection| !connection.is_finished());
            if open.len() >= self.connections
                && let Some(oldest) = open.pop_front()
            {
                oldest.abort();
            }
            let connection = tokio::spawn(serve_one(stream, Arc::clone(&answer)));
            open.push_back(connection.abort_handle());
        }
    }
}

async fn serve_one<F>(stream: TcpStream, answer: Arc<F>)
where
    F: Fn(&Request<Incoming>) -> Response<Answer>,
{
    let endless = AtomicBool::new(false);
    let service = service_fn(|request| {
        let response = refused(&request).unwrap_or_else(|| answer(&request));
        endless.store(matches!(response.body().body, Content::Endless(_)), Ordering::Relaxed);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .keep_alive(false)
        .max_headers(64)
        .serve_connection(TokioIo::new(Impatient::new(stream, PATIENCE)), service);
    let patience = async {
        time::sleep(PATIENCE).await;
        if endless.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        // A client that goes away, or never asks, is its own affair.
        _ = connection => {}
        () = patience => {}
    }
}

/// What nobody answers: everything is only looked at here.
fn refused(request: &Request<Incoming>) -> Option<Response<Answer>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Some(response);
    }
    let has_body = !request.body().is_end_stream();
    has_body.then(|| plain(StatusCode::PAYLOAD_TOO_LARGE, "a request has no body here"))
}

/// What is sent.
pub(crate) struct Answer {
    body: Content,
    /// A place among those who are sent something large, until it is sent.
    _place: Option<OwnedSemaphorePermit>,
}

enum Content {
    Whole(Full<Bytes>),
    Endless(mpsc::Receiver<Bytes>),
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.body {
            Content::Whole(body) => Pin::new(body).poll_frame(context),
            Content::Endless(parts) => parts.poll_recv(context).map(|part| part.map(|part| Ok(Frame::data(part)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            Content::Whole(body) => body.is_end_stream(),
            Content::Endless(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Content::Whole(body) => body.size_hint(),
            Content::Endless(_) => SizeHint::default(),
        }
    }
}

/// A line of text.
pub(crate) fn plain(status: StatusCode, text: &str) -> Response<Answer> {
    whole(status, "text/plain; charset=utf-8", format!("{text}\n"), None)
}

/// An answer that is there already. It keeps its place until it is sent.
pub(crate) fn whole(
    status: StatusCode,
    content_type: &'static str,
    content: impl Into<Bytes>,
    place: Option<OwnedSemaphorePermit>,
) -> Response<Answer> {
    with_type(status, content_type, Answer { body: Content::Whole(Full::new(content.into())), _place: place })
}

/// An answer that goes on for as long as its parts come, and its reader takes them.
pub(crate) fn endless(content_type: &'static str, parts: mpsc::Receiver<Bytes>) -> Response<Answer> {
    with_type(StatusCode::OK, content_type, Answer { body: Content::Endless(parts), _place: None })
}

fn with_type(status: StatusCode, content_type: &'static str, answer: Answer) -> Response<Answer> {
    let mut response = Response::new(answer);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_taken_is_refused_with_what_helps() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = taken.local_addr().expect("an address").to_string();
        let error = Listener::bind(&address.parse().expect("an address"), "--web").err().map(|error| error.to_string());
        let error = error.expect("it is taken");
        assert!(error.starts_with(&format!("--web {address}: it cannot be listened on: Address")), "{error}");
        assert!(error.ends_with("stop that, or choose another port"), "{error}");
    }
}

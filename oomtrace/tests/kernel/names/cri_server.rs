//! A container runtime that only says that it has containers: CRI over real gRPC, on a socket of the test's own.

use std::{
    collections::HashMap,
    convert::Infallible,
    fs,
    future::{Ready, ready},
    os::unix::net::UnixListener as StdListener,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use oomtrace::node::names::cri::messages::{
    Container, ContainerEvent, ContainerEventType, ContainerMetadata, ContainerState, ContainerStatus, Id, ImageSpec,
    ListContainersResponse, ListPodSandboxResponse, ListRequest, Nothing, VersionResponse,
};
use tokio::{net::UnixListener, sync::mpsc};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{
    Request, Response, Status,
    body::Body,
    server::{Grpc, ServerStreamingService, UnaryService},
};
use tonic_prost::ProstCodec;

use super::lives::{Life, Source};

/// A runtime, as its clients see it.
pub(super) struct CriServer {
    runtime: Arc<Mutex<Runtime>>,
    keeps_the_dead: bool,
}

struct Runtime {
    containers: Vec<Container>,
    /// Whether events are served.
    tells: bool,
    /// Those who follow them.
    followers: Vec<mpsc::UnboundedSender<Result<ContainerEvent, Status>>>,
}

impl CriServer {
    /// Serves from a thread of its own until the process ends.
    pub(super) fn start(socket: &str, tells: bool) -> Result<Self> {
        fs::remove_file(socket).ok();
        let listener = StdListener::bind(socket)?;
        listener.set_nonblocking(true)?;
        let runtime = Arc::new(Mutex::new(Runtime { containers: Vec::new(), tells, followers: Vec::new() }));
        let served = Arc::clone(&runtime);
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::spawn(move || {
            if let Err(error) = tokio.block_on(serve(listener, served)) {
                eprintln!("the CRI server failed: {error}");
            }
        });
        Ok(Self { runtime, keeps_the_dead: false })
    }

    /// One that has containers listed after their end.
    pub(super) fn keeping_the_dead(self) -> Self {
        Self { keeps_the_dead: true, ..self }
    }
}

impl Source for CriServer {
    /// Events of containers that were gone before anybody followed them are reported to nobody.
    fn is_heard(&self) -> Result<()> {
        let started = Instant::now();
        let waits = || {
            let runtime = lock(&self.runtime);
            runtime.tells && runtime.followers.is_empty()
        };
        while waits() {
            ensure!(started.elapsed() < Duration::from_mins(2), "nobody follows the events");
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn made(&self, life: Life) -> Result<()> {
        let container = container(life);
        let mut runtime = lock(&self.runtime);
        runtime.tell(&container, ContainerEventType::Created);
        runtime.containers.push(container);
        Ok(())
    }

    fn gone(&self, life: Life) -> Result<()> {
        if self.keeps_the_dead {
            return Ok(());
        }
        let mut runtime = lock(&self.runtime);
        runtime.containers.retain(|container| container.id != life.id());
        runtime.tell(&container(life), ContainerEventType::Deleted);
        Ok(())
    }
}

fn lock(runtime: &Mutex<Runtime>) -> MutexGuard<'_, Runtime> {
    runtime.lock().unwrap_or_else(PoisonError::into_inner)
}

fn container(life: Life) -> Container {
    let (name, pod, uid) = (life.name(), life.pod_name(), life.uid());
    let labels = [
        ("io.kubernetes.container.name", name.as_str()),
        ("io.kubernetes.pod.name", &pod),
        ("io.kubernetes.pod.namespace", "shop"),
        ("io.kubernetes.pod.uid", &uid),
    ];
    Container {
        id: life.id(),
        metadata: Some(ContainerMetadata { name: name.clone(), attempt: life.restarts() }),
        image: Some(ImageSpec { image: "localhost/app:1".to_owned(), ..ImageSpec::default() }),
        state: ContainerState::Running as i32,
        labels: HashMap::from(labels.map(|(key, value)| (key.to_owned(), value.to_owned()))),
        ..Container::default()
    }
}

impl Runtime {
    fn tell(&mut self, container: &Container, what: ContainerEventType) {
        let Container { id, metadata, image, state, labels, .. } = container.clone();
        let status = ContainerStatus { id: id.clone(), metadata, image, state, labels, ..ContainerStatus::default() };
        let deleted = what == ContainerEventType::Deleted;
        let event = ContainerEvent {
            container_id: id,
            container_event_type: what as i32,
            containers_statuses: if deleted { Vec::new() } else { vec![status] },
            ..ContainerEvent::default()
        };
        self.followers.retain(|follower| follower.send(Ok(event.clone())).is_ok());
    }

    fn list(&self, ListRequest { filter }: ListRequest) -> ListContainersResponse {
        let wanted = |container: &&Container| filter.as_ref().is_none_or(|Id { id }| container.id.starts_with(id));
        ListContainersResponse { containers: self.containers.iter().filter(wanted).cloned().collect() }
    }
}

async fn serve(listener: StdListener, runtime: Arc<Mutex<Runtime>>) -> Result<()> {
    let listener = UnixListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let runtime = Arc::clone(&runtime);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let runtime = Arc::clone(&runtime);
                async move { Ok::<_, Infallible>(answer(&runtime, request).await) }
            });
            // A client that goes away is no failure.
            let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(runtime: &Arc<Mutex<Runtime>>, request: hyper::Request<Incoming>) -> hyper::Response<Body> {
    let path = request.uri().path().to_owned();
    match path.strip_prefix("/runtime.v1.RuntimeService/").unwrap_or_default() {
        "Version" => {
            let version = VersionResponse { runtime_name: "a-test".to_owned(), runtime_version: "1.0.0".to_owned() };
            unary(request, move |Nothing {}| Ok(version.clone())).await
        }
        "ListContainers" => {
            let runtime = Arc::clone(runtime);
            unary(request, move |wanted| Ok(lock(&runtime).list(wanted))).await
        }
        "ListPodSandbox" => unary(request, |_: ListRequest| Ok(ListPodSandboxResponse::default())).await,
        "GetContainerEvents" if lock(runtime).tells => {
            let codec = ProstCodec::<ContainerEvent, Nothing>::default();
            Grpc::new(codec).server_streaming(Events(Arc::clone(runtime)), request).await
        }
        _ => unary(request, |Nothing {}| Err::<Nothing, _>(Status::unimplemented("not served here"))).await,
    }
}

async fn unary<Q, A>(
    request: hyper::Request<Incoming>,
    answer: impl Fn(Q) -> Result<A, Status>,
) -> hyper::Response<Body>
where
    Q: prost::Message + Default + 'static,
    A: prost::Message + 'static,
{
    Grpc::new(ProstCodec::<A, Q>::default()).unary(Answer(answer), request).await
}

struct Answer<F>(F);

impl<Q, A, F: Fn(Q) -> Result<A, Status>> UnaryService<Q> for Answer<F> {
    type Response = A;
    type Future = Ready<Result<Response<A>, Status>>;

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        ready(self.0(request.into_inner()).map(Response::new))
    }
}

struct Events(Arc<Mutex<Runtime>>);

impl ServerStreamingService<Nothing> for Events {
    type Response = ContainerEvent;
    type ResponseStream = UnboundedReceiverStream<Result<ContainerEvent, Status>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, _: Request<Nothing>) -> Self::Future {
        let (follower, events) = mpsc::unbounded_channel();
        lock(&self.0).followers.push(follower);
        ready(Ok(Response::new(UnboundedReceiverStream::new(events))))
    }
}

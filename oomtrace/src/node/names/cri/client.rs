//! Calls to the runtime.

use std::{path::Path, time::Duration};

use http::uri::PathAndQuery;
use tokio::time::timeout;
use tonic::{
    Code, Request, Status, Streaming,
    client::Grpc,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use super::{
    messages::{
        ContainerEvent, ContainerStatus, ContainerStatusResponse, Id, ListContainersResponse, ListPodSandboxResponse,
        ListRequest, Nothing, VersionResponse,
    },
    read,
};
use crate::node::{cgroup_path::ContainerId, fact::Fact};

/// How long the runtime may take to answer. The kubelet gives it two minutes; names are not worth so much.
const PATIENCE: Duration = Duration::from_secs(5);
/// What one answer may be long: the kubelet's own bound (`pkg/kubelet/cri/remote`, `maxMsgSize`).
const MOST_BYTES: usize = 16 << 20;

/// The services' names: today's, and that of runtimes before 2022 (containerd before 1.6, CRI-O before 1.23).
const V1: &str = "runtime.v1.RuntimeService";
const V1ALPHA2: &str = "runtime.v1alpha2.RuntimeService";

/// Why the runtime reported nothing.
#[derive(Debug, thiserror::Error)]
pub enum CriError {
    /// There is no socket to be found.
    #[error("no container runtime's socket is there; name one with --cri-endpoint")]
    NoSocket,
    /// The socket cannot be connected to.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// It took too long.
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Slow,
    /// It hung up.
    #[error("it hung up")]
    Closed,
    /// It does not know this call.
    #[error("it does not serve this call")]
    Unimplemented,
    /// It answered with an error.
    #[error("it answers {code:?}: {message}")]
    Refused {
        /// gRPC's code.
        code: Code,
        /// Its words.
        message: String,
    },
}

impl From<Status> for CriError {
    fn from(status: Status) -> Self {
        match status.code() {
            Code::Unimplemented => Self::Unimplemented,
            code => Self::Refused { code, message: status.message().to_owned() },
        }
    }
}

/// A connection to a container runtime.
pub struct Client {
    grpc: Grpc<Channel>,
    patience: Duration,
    service: &'static str,
    tells_everybody: bool,
}

impl Client {
    /// Connects, and finds out which version of CRI it speaks.
    ///
    /// # Errors
    ///
    /// Fails where nothing answers at the socket.
    pub async fn connect(socket: &Path) -> Result<Self, CriError> {
        let connect = |error: &dyn std::error::Error| {
            let cause = std::iter::successors(error.source(), |error| error.source()).last();
            CriError::Connect(cause.map_or_else(|| error.to_string(), ToString::to_string))
        };
        let endpoint =
            Endpoint::from_shared(format!("unix://{}", socket.display())).map_err(|error| connect(&error))?;
        let channel = timeout(PATIENCE, endpoint.connect())
            .await
            .map_err(|_| CriError::Slow)?
            .map_err(|error| connect(&error))?;
        let grpc = Grpc::new(channel).max_decoding_message_size(MOST_BYTES);
        let mut client = Self { grpc, patience: PATIENCE, service: V1, tells_everybody: false };
        let version: VersionResponse = match client.call("Version", Nothing {}).await {
            Err(CriError::Unimplemented) => {
                client.service = V1ALPHA2;
                client.call("Version", Nothing {}).await?
            }
            result => result?,
        };
        Ok(Self { tells_everybody: version.tells_everybody(), ..client })
    }

    /// The same, that waits so long for an answer.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Calls a method of the runtime's service.
    ///
    /// # Errors
    ///
    /// Fails where the runtime does not answer in time, or refuses.
    pub async fn call<Q, A>(&mut self, method: &str, request: Q) -> Result<A, CriError>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        let path = self.method(method)?;
        let patience = self.patience;
        let answer = async {
            self.grpc.ready().await.map_err(|error| CriError::Connect(error.to_string()))?;
            let answer = self.grpc.unary(Request::new(request), path, ProstCodec::<Q, A>::default()).await?;
            Ok(answer.into_inner())
        };
        timeout(patience, answer).await.map_err(|_| CriError::Slow)?
    }

    /// Everything that is there.
    pub(super) async fn list(&mut self) -> Result<Vec<Fact>, CriError> {
        self.listed(None).await
    }

    /// What is known of one container or sandbox; nothing, where the runtime has none of this id.
    pub(super) async fn look_up(&mut self, id: &ContainerId) -> Result<Vec<Fact>, CriError> {
        self.listed(Some(id)).await
    }

    async fn listed(&mut self, id: Option<&ContainerId>) -> Result<Vec<Fact>, CriError> {
        let request = ListRequest { filter: id.map(|id| Id { id: id.to_string() }) };
        let ListContainersResponse { containers } = self.call("ListContainers", request.clone()).await?;
        let mut facts = Vec::new();
        if id.is_none() || containers.is_empty() {
            let ListPodSandboxResponse { items } = self.call("ListPodSandbox", request).await?;
            facts.extend(items.into_iter().flat_map(read::sandbox));
        }
        facts.extend(containers.into_iter().flat_map(read::container));
        Ok(facts)
    }

    /// Whether to follow the runtime's events takes them from nobody.
    pub(super) fn tells_everybody(&self) -> bool {
        self.tells_everybody
    }

    /// A container's status; nothing, where it has gone meanwhile.
    pub(super) async fn status(&mut self, id: &ContainerId) -> Result<Option<ContainerStatus>, CriError> {
        match self.call("ContainerStatus", Id { id: id.to_string() }).await {
            Ok(ContainerStatusResponse { status }) => Ok(status),
            Err(CriError::Refused { code: Code::NotFound, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The stream of what becomes of containers.
    pub(super) async fn events(&mut self) -> Result<Streaming<ContainerEvent>, CriError> {
        let path = self.method("GetContainerEvents")?;
        let codec = ProstCodec::<Nothing, ContainerEvent>::default();
        let answer = async {
            self.grpc.ready().await.map_err(|error| CriError::Connect(error.to_string()))?;
            Ok(self.grpc.server_streaming(Request::new(Nothing {}), path, codec).await?.into_inner())
        };
        timeout(PATIENCE, answer).await.map_err(|_| CriError::Slow)?
    }

    fn method(&self, method: &str) -> Result<PathAndQuery, CriError> {
        let path = format!("/{}/{method}", self.service);
        PathAndQuery::try_from(path).map_err(|error| CriError::Connect(error.to_string()))
    }
}

//! The messages of the Container Runtime Interface, as far as names need them.
//!
//! Field numbers are those of `k8s.io/cri-api`, `pkg/apis/runtime/v1/api.proto` (Apache-2.0); those of `v1alpha2`, which runtimes
//! before 2022 speak, are the same. Fields that are not listed here are skipped on reading: of the 60 KiB that a runtime
//! knows of a container, little is kept.

use std::collections::HashMap;

/// The requests that say nothing: `VersionRequest`, `GetEventsRequest`; and the answers that do not.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Nothing {}

/// A container's id or a sandbox's, and nothing else: `ContainerStatusRequest`, `ContainerFilter`, `PodSandboxFilter`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Id {
    /// The whole id; of a filter, or its beginning.
    #[prost(string, tag = "1")]
    pub id: String,
}

/// `ListContainersRequest`, `ListPodSandboxRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ListRequest {
    /// Which; all, where there is none.
    #[prost(message, optional, tag = "1")]
    pub filter: Option<Id>,
}

/// `PodSandboxMetadata`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PodSandboxMetadata {
    /// The pod's name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The pod's uid.
    #[prost(string, tag = "2")]
    pub uid: String,
    /// The pod's namespace.
    #[prost(string, tag = "3")]
    pub namespace: String,
    /// How often the sandbox was made anew.
    #[prost(uint32, tag = "4")]
    pub attempt: u32,
}

/// `ContainerMetadata`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ContainerMetadata {
    /// The container's name in its pod.
    #[prost(string, tag = "1")]
    pub name: String,
    /// How often the container was made anew: its restart count.
    #[prost(uint32, tag = "2")]
    pub attempt: u32,
}

/// `ImageSpec`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ImageSpec {
    /// The image's id, or what was asked for.
    #[prost(string, tag = "1")]
    pub image: String,
    /// What the pod's specification says.
    #[prost(string, tag = "18")]
    pub user_specified_image: String,
}

/// `ContainerState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum ContainerState {
    /// Made, and not started.
    Created = 0,
    /// Started.
    Running = 1,
    /// Ended.
    Exited = 2,
    /// The runtime does not know.
    Unknown = 3,
}

/// `Container`: an entry of a list.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Container {
    /// Its id.
    #[prost(string, tag = "1")]
    pub id: String,
    /// The id of its pod's sandbox.
    #[prost(string, tag = "2")]
    pub pod_sandbox_id: String,
    /// Its name and attempt.
    #[prost(message, optional, tag = "3")]
    pub metadata: Option<ContainerMetadata>,
    /// Its image.
    #[prost(message, optional, tag = "4")]
    pub image: Option<ImageSpec>,
    /// Its state.
    #[prost(enumeration = "ContainerState", tag = "6")]
    pub state: i32,
    /// Labels by the kubelet.
    #[prost(map = "string, string", tag = "8")]
    pub labels: HashMap<String, String>,
    /// Annotations by the kubelet.
    #[prost(map = "string, string", tag = "9")]
    pub annotations: HashMap<String, String>,
}

/// `ListContainersResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ListContainersResponse {
    /// The containers, also the ended ones that are not removed yet.
    #[prost(message, repeated, tag = "1")]
    pub containers: Vec<Container>,
}

/// `PodSandbox`: an entry of a list.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PodSandbox {
    /// Its id: that of the "pause" container.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Whose it is.
    #[prost(message, optional, tag = "2")]
    pub metadata: Option<PodSandboxMetadata>,
    /// 0 where it is ready, 1 where it is not.
    #[prost(int32, tag = "3")]
    pub state: i32,
    /// The pod's labels, and the kubelet's.
    #[prost(map = "string, string", tag = "5")]
    pub labels: HashMap<String, String>,
}

/// `ListPodSandboxResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ListPodSandboxResponse {
    /// The sandboxes.
    #[prost(message, repeated, tag = "1")]
    pub items: Vec<PodSandbox>,
}

/// `PodSandboxStatus`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PodSandboxStatus {
    /// Its id.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Whose it is.
    #[prost(message, optional, tag = "2")]
    pub metadata: Option<PodSandboxMetadata>,
    /// 0 where it is ready, 1 where it is not.
    #[prost(int32, tag = "3")]
    pub state: i32,
    /// The pod's labels, and the kubelet's.
    #[prost(map = "string, string", tag = "7")]
    pub labels: HashMap<String, String>,
}

/// `LinuxContainerResources`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LinuxContainerResources {
    /// The memory limit; 0 where there is none.
    #[prost(int64, tag = "4")]
    pub memory_limit_in_bytes: i64,
}

/// `ContainerResources`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ContainerResources {
    /// On Linux.
    #[prost(message, optional, tag = "1")]
    pub linux: Option<LinuxContainerResources>,
}

/// `ContainerStatus`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ContainerStatus {
    /// Its id.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Its name and attempt.
    #[prost(message, optional, tag = "2")]
    pub metadata: Option<ContainerMetadata>,
    /// Its state.
    #[prost(enumeration = "ContainerState", tag = "3")]
    pub state: i32,
    /// When it ended, nanoseconds since the epoch; 0 where it has not.
    #[prost(int64, tag = "6")]
    pub finished_at: i64,
    /// What it ended with; 0 where it has not.
    #[prost(int32, tag = "7")]
    pub exit_code: i32,
    /// Its image.
    #[prost(message, optional, tag = "8")]
    pub image: Option<ImageSpec>,
    /// Why it ended, as Kubernetes will show it: `OOMKilled`, `Error`, `Completed`.
    #[prost(string, tag = "10")]
    pub reason: String,
    /// Labels by the kubelet.
    #[prost(map = "string, string", tag = "12")]
    pub labels: HashMap<String, String>,
    /// Annotations by the kubelet.
    #[prost(map = "string, string", tag = "13")]
    pub annotations: HashMap<String, String>,
    /// What it may use (from 1.26).
    #[prost(message, optional, tag = "16")]
    pub resources: Option<ContainerResources>,
}

/// `VersionResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct VersionResponse {
    /// `containerd`, `cri-o`, `docker`.
    #[prost(string, tag = "2")]
    pub runtime_name: String,
    /// Its version: `1.7.24`, `v2.1.0`.
    #[prost(string, tag = "3")]
    pub runtime_version: String,
}

impl VersionResponse {
    /// Whether each of several clients gets every event. containerd 1.x gives an event to one of them only
    /// (`GetContainerEvents`, `pkg/cri/server/container_events.go`): taken from a kubelet that follows events (`EventedPLEG`),
    /// it would be missed there.
    #[must_use]
    pub fn tells_everybody(&self) -> bool {
        let version = self.runtime_version.trim_start_matches('v');
        !(self.runtime_name == "containerd" && version.starts_with("1."))
    }
}

/// `ContainerStatusResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ContainerStatusResponse {
    /// What is known of it.
    #[prost(message, optional, tag = "1")]
    pub status: Option<ContainerStatus>,
}

/// `ContainerEventType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum ContainerEventType {
    /// Made.
    Created = 0,
    /// Started.
    Started = 1,
    /// Ended.
    Stopped = 2,
    /// Removed.
    Deleted = 3,
}

/// `ContainerEventResponse`: one of the stream of `GetContainerEvents`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ContainerEvent {
    /// The container, or the sandbox.
    #[prost(string, tag = "1")]
    pub container_id: String,
    /// What became of it.
    #[prost(enumeration = "ContainerEventType", tag = "2")]
    pub container_event_type: i32,
    /// When, nanoseconds since the epoch.
    #[prost(int64, tag = "3")]
    pub created_at: i64,
    /// Its pod's sandbox.
    #[prost(message, optional, tag = "4")]
    pub pod_sandbox_status: Option<PodSandboxStatus>,
    /// All of the pod's containers.
    #[prost(message, repeated, tag = "5")]
    pub containers_statuses: Vec<ContainerStatus>,
}

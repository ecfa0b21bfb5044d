//! Where `oomtrace run` writes Kubernetes Events.

use std::path::PathBuf;

use crate::sink::KubernetesAccess;

/// Options about Kubernetes Events.
#[derive(Debug, clap::Args)]
#[group(id = "kubernetes")]
#[command(next_help_heading = "Kubernetes Events")]
pub(super) struct Args {
    /// Write incidents of memory as Events of Kubernetes (events.k8s.io/v1), on the pod, and on the node where all pods or the
    /// node ran out: `kubectl describe pod` shows why, also where Kubernetes shows nothing. Takes the rights to create and patch
    /// Events.
    #[arg(id = "k8s_events", long = "k8s-events")]
    events: bool,
    /// The API server's address, `https://HOST:6443`. Default: that of the cluster that oomtrace runs in as a pod.
    #[arg(id = "k8s_url", long = "k8s-url", value_name = "URL")]
    url: Option<String>,
    /// The token that an API server at `https://` is shown: of a service account that may create and patch Events. Read anew for
    /// each request.
    #[arg(
        id = "k8s_token",
        long = "k8s-token",
        value_name = "FILE",
        default_value = "/var/run/secrets/kubernetes.io/serviceaccount/token"
    )]
    token: PathBuf,
    /// What has to have signed the certificate of an API server at `https://`.
    #[arg(
        id = "k8s_ca",
        long = "k8s-ca",
        value_name = "FILE",
        default_value = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
    )]
    ca: PathBuf,
}

impl Args {
    /// How the API server is asked, if Events are wanted.
    pub(super) fn events(&self) -> Option<KubernetesAccess> {
        let Self { events, url, token, ca } = self;
        events.then(|| KubernetesAccess { url: url.clone(), token: token.clone(), ca: ca.clone() })
    }
}

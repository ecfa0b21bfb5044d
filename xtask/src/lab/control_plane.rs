//! etcd, kube-apiserver, kube-controller-manager and kube-scheduler, on this machine's loopback address.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use serde_json::json;

use super::{NODE, machine, processes::State, random_token};
use crate::setup;

/// Who may do what, by token.
struct Identity {
    /// Of the kubeconfig.
    file: &'static str,
    user: &'static str,
    groups: &'static str,
}

const IDENTITIES: [Identity; 4] = [
    Identity { file: "admin", user: "admin", groups: "system:masters" },
    Identity { file: "kubelet", user: "system:node:node1", groups: "system:nodes" },
    Identity { file: "kube-controller-manager", user: "system:kube-controller-manager", groups: "system:masters" },
    Identity { file: "kube-scheduler", user: "system:kube-scheduler", groups: "" },
];

/// Where the kubeconfig of somebody is.
pub(super) fn kubeconfig(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.kubeconfig"))
}

/// Starts etcd and the API server, which takes its time before it answers.
pub(super) fn start_api(state: &mut State, folder: &Path, ours: bool) -> Result<()> {
    let ports = state.ports;
    let mut tokens = Vec::new();
    for Identity { file, user, groups } in &IDENTITIES {
        let token = random_token()?;
        let host = if *file == "kubelet" { machine::HOST } else { "127.0.0.1" };
        let path = kubeconfig(folder, file);
        write_secret(&path, &kubeconfig_of(user, &token, &format!("https://{host}:{}", ports.api)))?;
        tokens.push(format!("{token},{user},{user},\"{groups}\"\n"));
    }
    let token_file = folder.join("tokens.csv");
    write_secret(&token_file, &tokens.concat())?;

    let (client, peer) = (format!("http://127.0.0.1:{}", ports.etcd), format!("http://127.0.0.1:{}", ports.etcd_peer));
    let mut etcd = setup::etcd()?;
    etcd.arg("--data-dir").arg(folder.join("etcd")).args(["--name", "lab", "--unsafe-no-fsync", "--log-level", "warn"]);
    etcd.args(["--listen-client-urls", &client, "--advertise-client-urls", &client, "--listen-peer-urls", &peer]);
    etcd.args(["--initial-advertise-peer-urls", &peer, "--initial-cluster", &format!("lab={peer}")]);
    state.start("etcd", &mut etcd, ours)?;

    let programs = setup::kubernetes()?;
    let certificates = folder.join("certificates");
    // It makes this key on its first start, if it is not there, before it reads it for the tokens of service accounts.
    let key = certificates.join("apiserver.key");
    let mut api = Command::new(programs.join("kube-apiserver"));
    api.arg(format!("--etcd-servers={client}")).arg(format!("--secure-port={}", ports.api));
    api.args(["--bind-address=127.0.0.1", "--insecure-port=0", &format!("--advertise-address={}", machine::HOST)]);
    api.arg(flag("cert-dir", &certificates)).arg(flag("token-auth-file", &token_file));
    api.args(["--service-account-issuer=https://kubernetes.default.svc", "--service-cluster-ip-range=10.96.0.0/16"]);
    api.arg(flag("service-account-key-file", &key)).arg(flag("service-account-signing-key-file", &key));
    api.args(["--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction"]);
    api.args(["--allow-privileged=true", "--event-ttl=24h"]);
    // The node's own address is not reachable from here: see `machine`.
    api.arg("--kubelet-preferred-address-types=ExternalIP");
    state.start("kube-apiserver", &mut api, ours)
}

/// Starts what needs an API server that answers.
pub(super) fn start_controllers(state: &mut State, folder: &Path, ours: bool) -> Result<()> {
    let programs = setup::kubernetes()?;
    let certificates = folder.join("certificates");
    let program = |name: &str| {
        let mut command = Command::new(programs.join(name));
        command.arg(flag("kubeconfig", &kubeconfig(folder, name)));
        command.args(["--leader-elect=false", "--port=0", "--secure-port=0"]);
        command
    };
    let mut manager = program("kube-controller-manager");
    manager.arg(flag("service-account-private-key-file", &certificates.join("apiserver.key")));
    manager
        .arg(flag("root-ca-file", &certificates.join("apiserver.crt")))
        .arg("--use-service-account-credentials=false");
    // A node that restarts its kubelet, emulated on a busy machine, is not lost.
    manager.arg("--node-monitor-grace-period=5m");
    state.start("kube-controller-manager", &mut manager, ours)?;
    state.start("kube-scheduler", &mut program("kube-scheduler"), ours)
}

/// The node, registered before its kubelet is there, and its status: with an address of its own, by which the API server reaches the kubelet through
/// a port of this machine. A kubelet with `--cloud-provider=external` leaves addresses that it finds alone.
pub(super) fn node() -> (serde_json::Value, serde_json::Value) {
    let node = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": NODE,
            "labels": {"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64", "kubernetes.io/hostname": NODE},
        },
    });
    // A kubelet of 1.20 panics where a node that it finds has no capacity at all.
    let capacity = json!({"pods": "110"});
    let status = json!({"status": {"capacity": &capacity, "allocatable": &capacity, "addresses": [
        {"type": "InternalIP", "address": machine::NODE_ADDRESS},
        {"type": "ExternalIP", "address": "127.0.0.1"},
        {"type": "Hostname", "address": NODE},
    ]}});
    (node, status)
}

fn flag(name: &str, path: &Path) -> std::ffi::OsString {
    let mut flag = std::ffi::OsString::from(format!("--{name}="));
    flag.push(path);
    flag
}

/// The API server's certificate is its own: who is on this machine's loopback address is not checked.
fn kubeconfig_of(user: &str, token: &str, server: &str) -> String {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": {"server": server, "insecure-skip-tls-verify": true}}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": user}}],
        "current-context": "lab",
    });
    format!("{config:#}\n")
}

/// A file for us alone.
pub(super) fn write_secret(path: &Path, text: &str) -> Result<()> {
    fs::write(path, "")
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o600)))
        .and_then(|()| fs::write(path, text))
        .with_context(|| format!("cannot write {}", path.display()))
}

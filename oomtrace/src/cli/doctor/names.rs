//! Where names of pods and containers can come from.

use std::{fs, io, path::PathBuf};

use super::Check;
use crate::node::names::{KubeletAccess, Options, cri, engine, oci};

/// In a container nothing of the node is there that was not mounted.
const MOUNT: &str = "in a container, mount the host's, read-only, at the same path or below --host-root";

pub(super) fn checks(options: &Options) -> anyhow::Result<Vec<Check>> {
    let host = &options.host;
    let logs = ["/var/log/pods", "/var/log/containers"].map(|folder| host.path(folder));
    let state: Vec<_> = oci::folders(host).chain([host.path(engine::DOCKER)]).collect();
    Ok(vec![
        runtime(options)?,
        folders(
            "folders of pods' logs",
            &logs,
            "names before the runtime answers and without it, as the kubelet made them",
        ),
        folders(
            "runtimes' state files",
            &state,
            "names of containers that are gone within milliseconds, and of those of Docker and Podman",
        ),
        kubelet(options.kubelet.as_ref()),
    ])
}

fn runtime(options: &Options) -> anyhow::Result<Check> {
    let name = "container runtime";
    let lost = "names come from files alone; images, restart counts and the runtime's word on ends may be missing";
    let Some(socket) = cri::socket(&options.host, options.cri.endpoint.as_deref()) else {
        let remedy = format!("name its socket with --cri-endpoint; {MOUNT}");
        return Ok(Check::failed(name, format!("no socket at {}", cri::SOCKETS.join(", ")), remedy, lost));
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    Ok(match runtime.block_on(cri::Client::connect(&socket)) {
        Ok(_) => Check::passed(name, format!("{} answers", socket.display())),
        Err(error) => Check::failed(
            name,
            format!("{}: {error}", socket.display()),
            "see that it runs and serves CRI, and that this process may write to its socket; another is named with \
             --cri-endpoint",
            lost,
        ),
    })
}

/// Of these folders a node has some, and they should be readable.
fn folders(name: &'static str, folders: &[PathBuf], lost: &str) -> Check {
    let mut readable = Vec::new();
    for folder in folders {
        match fs::read_dir(folder) {
            Ok(_) => readable.push(folder.display().to_string()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let found = format!("{}: {error}", folder.display());
                return Check::failed(name, found, "run as root, or grant CAP_DAC_READ_SEARCH", lost);
            }
        }
    }
    if readable.is_empty() {
        let wanted: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
        return Check::failed(name, format!("there is none of {}", wanted.join(", ")), MOUNT, lost);
    }
    Check::passed(name, readable.join(", "))
}

fn kubelet(access: Option<&KubeletAccess>) -> Check {
    let name = "kubelet's pods";
    let Some(access) = access else { return Check::unknown(name, "not to be asked: --kubelet-url off") };
    match access.ask() {
        Ok(_) => Check::passed(name, format!("{} answers", access.url)),
        Err(error) => Check::failed(
            name,
            error.to_string(),
            "as its read-only port is closed as a rule: --kubelet-url https://NODE:10250, with --kubelet-token and \
             --kubelet-ca; or --kubelet-url off",
            "owners, roles of containers and the limits of specifications are not reported",
        ),
    }
}

//! What a kubelet makes of the `DaemonSet` in `deploy/`: the request to the runtime, word for word as the manifest has it.
//!
//! Nothing of it is written here a second time: what the manifest does not grant, the container under test does not have.

use std::{collections::HashMap, fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use oomtrace::node::names::cri::messages::{ContainerMetadata, ImageSpec};
use serde_json::Value;

use super::requests::{
    Capability, ContainerConfig, ContainerSecurity, HOST_TO_CONTAINER, KeyValue, LinuxContainerConfig, Mount,
    NamespaceOption, Resources, SecurityProfile,
};
use crate::scenarios::MANIFESTS;

/// Where configuration maps become files.
const CONFIG_MAPS: &str = "/tmp/config-maps";
/// Where its empty folders are.
const EMPTY_DIRS: &str = "/run/empty-dirs";
/// Of a pod that is critical to the node: `guaranteedOOMScoreAdj`, `pkg/kubelet/qos/policy.go`.
const CRITICAL_OOM_SCORE_ADJ: i64 = -997;
/// `defaultMaskedPaths` and `defaultReadonlyPaths`, `pkg/securitycontext/util.go`.
const MASKED: [&str; 9] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/scsi",
    "/sys/firmware",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The manifests, applied.
pub(super) struct Manifest(Vec<Value>);

impl Manifest {
    pub(super) fn read() -> Result<Self> {
        let text = fs::read(MANIFESTS).context(MANIFESTS)?;
        Ok(Self(serde_json::from_slice(&text)?))
    }

    fn only(&self, kind: &str) -> Result<&Value> {
        self.0.iter().find(|manifest| manifest["kind"] == kind).with_context(|| format!("no {kind} in the manifests"))
    }

    fn pod(&self) -> Result<&Value> {
        Ok(&self.only("DaemonSet")?["spec"]["template"]["spec"])
    }

    pub(super) fn namespace(&self) -> Result<&str> {
        self.only("DaemonSet")?["metadata"]["namespace"].as_str().context("no namespace")
    }

    /// The node's network, for a guest has no other; the process ids as the manifest says.
    pub(super) fn namespaces(&self) -> Result<NamespaceOption> {
        Ok(NamespaceOption { network: 2, pid: if self.pod()?["hostPID"] == true { 2 } else { 1 } })
    }

    /// What the manifest grants of memory.
    pub(super) fn memory_limit(&self) -> Result<i64> {
        let limit = &self.pod()?["containers"][0]["resources"]["limits"]["memory"];
        let mebibytes = limit.as_str().and_then(|limit| limit.strip_suffix("Mi")).context("no limit in Mi")?;
        Ok(mebibytes.parse::<i64>()? << 20)
    }

    /// The folder of its state on the node.
    pub(super) fn state(&self) -> Result<&str> {
        let volume = items(&self.pod()?["volumes"]).find(|volume| volume["name"] == "state");
        volume.and_then(|volume| volume["hostPath"]["path"].as_str()).context("no folder for its state")
    }

    /// The container on the node of this name.
    pub(super) fn container(&self, node: &str) -> Result<ContainerConfig> {
        let pod = self.pod()?;
        let container = &pod["containers"][0];
        let image = container["image"].as_str().context("no image")?.to_owned();
        ensure!(pod["priorityClassName"] == "system-node-critical", "not critical to the node");
        Ok(ContainerConfig {
            metadata: Some(ContainerMetadata { name: text(&container["name"])?, attempt: 0 }),
            image: Some(ImageSpec { image: image.clone(), user_specified_image: image }),
            command: items(&container["command"]).map(text).collect::<Result<_>>()?,
            args: items(&container["args"]).map(text).collect::<Result<_>>()?,
            envs: items(&container["env"]).map(|variable| environment(variable, node)).collect::<Result<_>>()?,
            mounts: items(&container["volumeMounts"]).map(|mount| self.mount(mount)).collect::<Result<_>>()?,
            annotations: HashMap::from([("io.kubernetes.container.restartCount".to_owned(), "0".to_owned())]),
            linux: Some(LinuxContainerConfig {
                resources: Some(Resources {
                    memory_limit_in_bytes: self.memory_limit()?,
                    oom_score_adj: CRITICAL_OOM_SCORE_ADJ,
                }),
                security_context: Some(security(&container["securityContext"], self.namespaces()?)?),
            }),
            ..ContainerConfig::default()
        })
    }

    fn mount(&self, mount: &Value) -> Result<Mount> {
        let volume = items(&self.pod()?["volumes"]).find(|volume| volume["name"] == mount["name"]);
        let volume = volume.with_context(|| format!("no volume for {mount}"))?;
        let host_path = match &volume["hostPath"]["path"] {
            Value::String(path) => {
                if volume["hostPath"]["type"] == "DirectoryOrCreate" {
                    fs::create_dir_all(path)?;
                } else {
                    ensure!(volume["hostPath"]["type"] == "Directory" && Path::new(path).is_dir(), "no folder {path}");
                }
                path.clone()
            }
            _ if volume["emptyDir"].is_object() => {
                let folder = format!("{EMPTY_DIRS}/{}", text(&volume["name"])?);
                fs::create_dir_all(&folder)?;
                folder
            }
            _ => self.config_map(&volume["configMap"])?,
        };
        Ok(Mount {
            container_path: text(&mount["mountPath"])?,
            host_path,
            readonly: mount["readOnly"] == true,
            propagation: if mount["mountPropagation"] == "HostToContainer" { HOST_TO_CONTAINER } else { 0 },
        })
    }

    /// Writes a configuration map's files, and gives their folder.
    fn config_map(&self, volume: &Value) -> Result<String> {
        let map = self.only("ConfigMap")?;
        ensure!(map["metadata"]["name"] == volume["name"], "no configuration map for {volume}");
        let folder = format!("{CONFIG_MAPS}/{}", text(&volume["name"])?);
        fs::create_dir_all(&folder)?;
        for (name, content) in map["data"].as_object().context("no data")? {
            fs::write(Path::new(&folder).join(name), text(content)?)?;
        }
        Ok(folder)
    }
}

fn security(context: &Value, namespaces: NamespaceOption) -> Result<ContainerSecurity> {
    ensure!(context["runAsUser"] == 0, "not root");
    let words = |words: &Value| items(words).map(text).collect::<Result<Vec<_>>>();
    let seccomp = match context["seccompProfile"]["type"].as_str() {
        Some("RuntimeDefault") => 0,
        Some("Unconfined") | None => 1,
        Some(other) => anyhow::bail!("the seccomp profile {other} is not known here"),
    };
    Ok(ContainerSecurity {
        capabilities: Some(Capability {
            add_capabilities: words(&context["capabilities"]["add"])?,
            drop_capabilities: words(&context["capabilities"]["drop"])?,
        }),
        privileged: context["privileged"] == true,
        namespace_options: Some(namespaces),
        readonly_rootfs: context["readOnlyRootFilesystem"] == true,
        no_new_privs: context["allowPrivilegeEscalation"] == false,
        masked_paths: MASKED.map(str::to_owned).to_vec(),
        readonly_paths: READ_ONLY.map(str::to_owned).to_vec(),
        seccomp: Some(SecurityProfile { profile_type: seccomp }),
    })
}

fn environment(variable: &Value, node: &str) -> Result<KeyValue> {
    let value = if let Value::String(value) = &variable["value"] {
        value.clone()
    } else {
        ensure!(variable["valueFrom"]["fieldRef"]["fieldPath"] == "spec.nodeName", "no value: {variable}");
        node.to_owned()
    };
    Ok(KeyValue { key: text(&variable["name"])?, value })
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> Result<String> {
    Ok(value.as_str().with_context(|| format!("{value} is not text"))?.to_owned())
}

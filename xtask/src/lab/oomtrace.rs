//! oomtrace on the node: how it gets there, and what it prints.

use std::{
    fmt,
    fs::File,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use serde_json::Value;

use super::Lab;
use crate::{build, image, setup, tool};

/// How oomtrace runs on the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Oomtrace {
    /// As `kubectl apply -k deploy/kustomize/overlays/k8s-events` has it: with metrics, and Kubernetes Events
    Daemonset,
    /// As `helm install … --set metrics.enabled=true --set k8sEvents.enabled=true` has it
    Helm,
    /// As a process of the node, by the unit in deploy/systemd
    Process,
    /// Not at all
    None,
}

impl fmt::Display for Oomtrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Daemonset => "daemonset",
            Self::Helm => "helm",
            Self::Process => "process",
            Self::None => "none",
        })
    }
}

/// Where the node keeps what oomtrace printed.
const KEPT: &str = "/var/lib/lab/live";
const NAMESPACE: &str = "oomtrace";
/// Beside what a log stack gets, the ends that are no incidents.
const ONLY: &str = "default,container_ended";
const UNIT: &str = include_str!("../../../deploy/systemd/oomtrace.service");

impl Lab {
    /// Replaces oomtrace on the node: another way to run it, or the same once more. It traces when this returns.
    pub(crate) fn deploy(&self, oomtrace: Oomtrace) -> Result<()> {
        self.remove_oomtrace()?;
        let overlay = overlay();
        match oomtrace {
            Oomtrace::Daemonset => {
                tool::output(self.kubectl_command()?.args(["apply", "-k"]).arg(overlay))?;
                let only = format!("OOMTRACE_ONLY={ONLY}");
                self.kubectl(&["set", "env", "daemonset/oomtrace", "-n", NAMESPACE, &only])?;
                self.wait_for_daemonset()
            }
            Oomtrace::Helm => {
                let chart = deploy_folder().join("helm/oomtrace");
                let mut helm = self.helm()?;
                helm.args(["install", "oomtrace"]).arg(chart).args([
                    "--create-namespace",
                    "--set",
                    "metrics.enabled=true",
                    "--set",
                    "k8sEvents.enabled=true",
                    "--set",
                    "extraEnv[0].name=OOMTRACE_ONLY",
                    "--set-string",
                    &format!("extraEnv[0].value={}", ONLY.replace(',', "\\,")),
                ]);
                tool::output(&mut helm)?;
                self.wait_for_daemonset()
            }
            Oomtrace::Process => self.start_process(),
            Oomtrace::None => Ok(()),
        }
    }

    fn remove_oomtrace(&self) -> Result<()> {
        self.sh("systemctl stop oomtrace 2>/dev/null || true")?;
        let found = self.kubectl_json(&[
            "get",
            "daemonset",
            "-n",
            NAMESPACE,
            "--ignore-not-found",
            "-l",
            "app.kubernetes.io/name=oomtrace",
        ]);
        // kubectl prints nothing at all where there is nothing.
        let found = found.unwrap_or_default();
        if found["items"][0]["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm" {
            tool::output(self.helm()?.args(["uninstall", "oomtrace", "--wait"]))?;
        }
        self.kubectl(&["delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait", "--timeout=180s"])?;
        // What is of no namespace.
        self.kubectl(&["delete", "clusterroles,clusterrolebindings", "-l", "app.kubernetes.io/name=oomtrace"])?;
        Ok(())
    }

    /// Kills oomtrace with SIGKILL, however it runs; it is started again by the kubelet or by systemd.
    pub(crate) fn kill_oomtrace(&self) -> Result<()> {
        if self.sh_status("systemctl is-active --quiet oomtrace")?.status == 0 {
            return self.sh("systemctl kill --signal=SIGKILL oomtrace").map(drop);
        }
        let pods = self.kubectl_json(&["get", "pods", "-n", NAMESPACE])?;
        let id = pods["items"][0]["status"]["containerStatuses"][0]["containerID"].as_str();
        let id = id.and_then(|id| id.strip_prefix("containerd://")).context("oomtrace's pod has no container")?;
        self.sh(&format!("ctr -n k8s.io tasks kill --signal SIGKILL {id}")).map(drop)
    }

    /// Waits until oomtrace traces again.
    pub(crate) fn wait_for_oomtrace(&self) -> Result<()> {
        if self.sh_status("systemctl is-active --quiet oomtrace")?.status == 0 {
            Ok(())
        } else {
            self.wait_for_daemonset()
        }
    }

    /// Ready by its probes, which is when it has attached its own.
    fn wait_for_daemonset(&self) -> Result<()> {
        self.kubectl(&["rollout", "status", "daemonset/oomtrace", "-n", NAMESPACE, "--timeout=300s"])?;
        Ok(())
    }

    /// By the unit as it is, but that what it prints goes where [`Lab::live`] looks, and that it serves figures, as the others do.
    fn start_process(&self) -> Result<()> {
        let figures = "127.0.0.1:9477";
        let drop_in = format!(
            "[Service]\nStandardOutput=append:{KEPT}/NUMBER-process.jsonl\nEnvironment=OOMTRACE_METRICS_LISTEN={figures} OOMTRACE_ONLY={ONLY}\n"
        );
        let input = format!("{UNIT}\n---\n{drop_in}");
        let command = format!(
            "set -e; mkdir -p {KEPT} /etc/systemd/system/oomtrace.service.d; cd /etc/systemd/system; \
             number=$(printf %04d $(ls {KEPT} | wc -l)); cat > /run/oomtrace.units; \
             sed '/^---$/,$d' /run/oomtrace.units > oomtrace.service; \
             sed \"1,/^---\\$/d; s/NUMBER/$number/\" /run/oomtrace.units > oomtrace.service.d/lab.conf; \
             systemctl daemon-reload; systemctl restart oomtrace; \
             for try in $(seq 240); do curl -sf -o /dev/null http://{figures}/readyz && exit; sleep 0.5; done; \
             systemctl status oomtrace >&2; exit 1"
        );
        self.sh_input(&command, std::io::Cursor::new(input))?
            .success()
            .context("oomtrace does not start as a process")?;
        Ok(())
    }

    /// Puts this `oomtrace` in the place of the one on the node: the program, and the image. What runs goes on with the old one
    /// until it is [deployed](Self::deploy) anew.
    pub(crate) fn replace_oomtrace(&self, binary: &Path) -> Result<()> {
        let scratch = tempfile::tempdir().context("no place for the image")?;
        let (stripped, image) = (scratch.path().join("oomtrace"), scratch.path().join("image.tar"));
        build::strip(binary, &stripped)?;
        image::write(std::slice::from_ref(&stripped), image::NAME, &image)?;
        for (file, command) in [
            (&stripped, "cat > /usr/bin/.new && chmod 755 /usr/bin/.new && mv /usr/bin/.new /usr/bin/oomtrace"),
            (&image, "ctr -n k8s.io images import -"),
        ] {
            let file = File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
            self.sh_input(command, file)?.success().context("cannot bring oomtrace to the node")?;
        }
        Ok(())
    }

    /// Every line that oomtrace has printed since the lab came up, oldest first, whatever became of its pod or process.
    pub(crate) fn live(&self) -> Result<Vec<Value>> {
        let lines = self.live_lines()?;
        lines.iter().map(|line| serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))).collect()
    }

    /// The same lines as they were printed.
    pub(super) fn live_lines(&self) -> Result<Vec<String>> {
        let text = self.sh(&format!("cat {KEPT}/* 2>/dev/null || true"))?;
        Ok(lines(&text))
    }

    fn helm(&self) -> Result<Command> {
        let mut helm = Command::new(setup::helm()?);
        helm.arg("--kubeconfig").arg(self.kubeconfig()).args(["--namespace", NAMESPACE]);
        for (variable, folder) in
            [("HELM_CACHE_HOME", "cache"), ("HELM_CONFIG_HOME", "config"), ("HELM_DATA_HOME", "data")]
        {
            helm.env(variable, self.folder.join("helm").join(folder));
        }
        Ok(helm)
    }
}

fn deploy_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("deploy")
}

fn overlay() -> PathBuf {
    deploy_folder().join("kustomize/overlays/k8s-events")
}

/// The lines of standard output: of a process as they are; of a container as the runtime writes them (`TIME STREAM TAG LINE`), where
/// a long one comes in pieces, all but the last tagged `P`. The last line may still be being written.
fn lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut begun = String::new();
    for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some(time), Some("stdout"), Some(tag), Some(rest)) if time.ends_with('Z') || time.contains('+') => {
                begun += rest;
                if tag != "P" {
                    lines.push(std::mem::take(&mut begun));
                }
            }
            (Some(_), Some("stderr"), Some("F" | "P"), _) => {}
            _ => lines.push(line.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_oomtrace_printed_is_read_from_a_containers_log_and_from_a_processs_output() {
        let text = "2026-01-01T00:00:00.1Z stdout P {\"a\":\n\
                    2026-01-01T00:00:00.1Z stderr F a warning\n\
                    2026-01-01T00:00:00.1Z stdout F  1}\n\
                    {\"b\": \"of a process\"}\n\
                    2026-01-01T00:00:00.2Z stdout F {\"half";
        assert_eq!(lines(text), ["{\"a\": 1}", "{\"b\": \"of a process\"}"]);
    }
}

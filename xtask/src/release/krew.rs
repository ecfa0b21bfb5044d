//! The manifest by which Krew, kubectl's manager of plugins, installs `kubectl oomtrace`
//! (<https://krew.sigs.k8s.io/docs/developer-guide/plugin-manifest/>).

use anyhow::Result;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::tarball;
use crate::{arch::Arch, installed::VERSION};

/// What the manifest's file is called: Krew wants the plugin's name.
pub(super) const NAME: &str = "oomtrace.yaml";

/// Of archives that can be downloaded below `url`.
pub(super) fn manifest(url: &str, archives: &[(Arch, &[u8])]) -> Result<Vec<u8>> {
    let url = url.trim_end_matches('/');
    let platforms: Vec<_> = archives.iter().map(|(arch, archive)| platform(url, *arch, archive)).collect();
    let manifest = json!({
        "apiVersion": "krew.googlecontainertools.github.com/v1alpha2",
        "kind": "Plugin",
        "metadata": { "name": "oomtrace" },
        "spec": {
            "version": format!("v{VERSION}"),
            // GitHub's files are below the repository's own address.
            "homepage": url.split("/releases/").next(),
            "shortDescription": "Say why containers died for memory",
            "description": "Shows why a pod's containers were killed or evicted for memory, how much memory it uses and \
                            how near it is to which limit, and a node's memory budget.\n",
            "caveats": "It asks the oomtrace DaemonSet by `kubectl exec`: that has to be installed in the cluster.\n",
            "platforms": platforms,
        },
    });
    Ok(serde_yaml_ng::to_string(&manifest)?.into_bytes())
}

fn platform(url: &str, arch: Arch, archive: &[u8]) -> Value {
    let name = tarball::name(arch);
    json!({
        "selector": { "matchLabels": { "os": "linux", "arch": arch.debian() } },
        "uri": format!("{url}/{name}"),
        "sha256": format!("{:x}", Sha256::digest(archive)),
        // Of the archive's one folder; Krew links the program as kubectl-oomtrace.
        "files": [{ "from": "*/oomtrace", "to": "." }, { "from": "*/LICENSE-*", "to": "." }],
        "bin": "oomtrace",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_platform_has_its_archive_with_its_sum() -> Result<()> {
        let archives = [(Arch::Amd64, &b"one"[..]), (Arch::Arm64, b"other")];
        let manifest: Value = serde_yaml_ng::from_slice(&manifest("https://example.org/v1/", &archives)?)?;
        let spec = &manifest["spec"];
        assert_eq!(spec["version"], format!("v{VERSION}"));
        let platforms = spec["platforms"].as_array().expect("platforms");
        assert_eq!(platforms.len(), 2);
        for ((arch, archive), platform) in archives.into_iter().zip(platforms) {
            assert_eq!(platform["selector"]["matchLabels"]["arch"], arch.debian());
            assert_eq!(platform["uri"], format!("https://example.org/v1/{}", tarball::name(arch)));
            assert_eq!(platform["sha256"], format!("{:x}", Sha256::digest(archive)));
        }
        Ok(())
    }
}

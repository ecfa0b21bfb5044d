//! An OCI image layout: blobs named by their digests, and an index of them
//! (<https://github.com/opencontainers/image-spec/blob/v1.1.0/image-layout.md>).

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::archive::{Archive, gzip};

/// On the image's PATH, so that `kubectl exec … oomtrace doctor` finds it.
const PROGRAM: &str = "usr/bin/oomtrace";
const LICENCES: [(&str, &[u8]); 2] = [
    ("LICENSE-APACHE", include_bytes!("../../../LICENSE-APACHE")),
    ("LICENSE-MIT", include_bytes!("../../../LICENSE-MIT")),
];
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// What an image is made of, all of it: the same source makes the same bytes.
pub(super) struct Source {
    /// The static program.
    pub(super) binary: Vec<u8>,
    /// What the image is called, with its tag.
    pub(super) name: String,
    /// When the source was written, in seconds since 1970.
    pub(super) date: u64,
    /// The commit.
    pub(super) revision: Option<String>,
}

impl Source {
    /// The layout as a tar archive, and the digest of the image's manifest.
    pub(super) fn layout(self) -> Result<(Vec<u8>, String)> {
        let Self { binary, name, date, revision } = self;
        let created = Timestamp::from_second(date.try_into()?).context("the source's date is no date")?.to_string();
        let mut files = Archive::new(date);
        files.file(PROGRAM, 0o755, binary);
        for (licence, text) in LICENCES {
            files.file(&format!("usr/share/doc/oomtrace/{licence}"), 0o644, text);
        }
        let files = files.finish("")?;
        let mut layout = Archive::new(date);
        let mut labels = json!({
            "org.opencontainers.image.title": "oomtrace",
            "org.opencontainers.image.description": "Why did this container die, and what would have prevented it?",
            "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
            "org.opencontainers.image.licenses": env!("CARGO_PKG_LICENSE"),
            "org.opencontainers.image.created": &created,
        });
        if let Some(revision) = revision {
            labels["org.opencontainers.image.revision"] = revision.into();
        }
        let config = json!({
            "created": &created,
            "architecture": "amd64",
            "os": "linux",
            "config": {"User": "0:0", "Env": ["PATH=/usr/bin"], "Entrypoint": ["oomtrace"], "Cmd": ["run"], "Labels": labels},
            "rootfs": {"type": "layers", "diff_ids": [digest(&files)]},
            "history": [{"created": &created, "created_by": "cargo xtask image"}],
        });
        let config = blob(&mut layout, CONFIG, serde_json::to_vec(&config)?);
        let layer = blob(&mut layout, LAYER, gzip(&files)?);
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]});
        let mut manifest = blob(&mut layout, MANIFEST, serde_json::to_vec(&manifest)?);
        let digest = manifest["digest"].as_str().unwrap_or_default().to_owned();
        let tag = name.rsplit_once(':').map_or("latest", |(_, tag)| tag);
        // The first is the tag alone, by the specification; containerd takes the whole name from the second.
        manifest["annotations"] = json!({"org.opencontainers.image.ref.name": tag, "io.containerd.image.name": name});
        manifest["platform"] = json!({"architecture": "amd64", "os": "linux"});
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [manifest]});
        layout.file("index.json", 0o644, serde_json::to_vec(&index)?);
        layout.file("oci-layout", 0o644, serde_json::to_vec(&json!({"imageLayoutVersion": "1.0.0"}))?);
        Ok((layout.finish("")?, digest))
    }
}

/// Stores a blob, and gives its descriptor.
fn blob(layout: &mut Archive, media_type: &str, bytes: Vec<u8>) -> Value {
    let (digest, size) = (digest(&bytes), bytes.len());
    layout.file(&format!("blobs/{}", digest.replace(':', "/")), 0o644, bytes);
    json!({"mediaType": media_type, "digest": digest, "size": size})
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, io::Read as _};

    use flate2::read::GzDecoder;

    use super::*;

    /// Mode, date and content by path.
    type Files = BTreeMap<String, (u32, u64, Vec<u8>)>;

    fn source() -> Source {
        Source {
            binary: b"a program".to_vec(),
            name: "localhost/oomtrace:1".to_owned(),
            date: 1_700_000_000,
            revision: None,
        }
    }

    fn unpack(tar: &[u8]) -> Result<Files> {
        let mut archive = tar::Archive::new(tar);
        let entries = archive.entries()?.map(|entry| {
            let mut entry = entry?;
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            let header = entry.header();
            Ok((entry.path()?.to_string_lossy().into_owned(), (header.mode()?, header.mtime()?, bytes)))
        });
        entries.collect()
    }

    /// What a runtime follows: from the index to the manifest, to the configuration and the layer.
    fn follow(files: &Files, descriptor: &Value) -> Result<Vec<u8>> {
        let name = descriptor["digest"].as_str().context("no digest")?;
        let (_, _, bytes) = files.get(&format!("blobs/{}", name.replace(':', "/"))).context("no blob")?;
        assert_eq!(digest(bytes), name);
        assert_eq!(descriptor["size"], bytes.len());
        Ok(bytes.clone())
    }

    #[test]
    fn the_same_source_makes_the_same_image_and_another_date_another() -> Result<()> {
        let (first, second) = (source().layout()?, source().layout()?);
        assert!(first == second, "two images of one source differ");
        let (_, other) = Source { date: 1_700_000_001, ..source() }.layout()?;
        assert_ne!(other, first.1);
        Ok(())
    }

    #[test]
    fn a_runtime_finds_the_program_and_nothing_but_its_licences_beside_it() -> Result<()> {
        let (layout, manifest_digest) = source().layout()?;
        let files = unpack(&layout)?;
        let index: Value = serde_json::from_slice(&files["index.json"].2)?;
        let descriptor = &index["manifests"][0];
        assert_eq!(descriptor["digest"], manifest_digest);
        assert_eq!(descriptor["annotations"]["io.containerd.image.name"], "localhost/oomtrace:1");
        let manifest: Value = serde_json::from_slice(&follow(&files, descriptor)?)?;
        let config: Value = serde_json::from_slice(&follow(&files, &manifest["config"])?)?;
        assert_eq!(config["config"]["Entrypoint"], json!(["oomtrace"]));
        let mut layer = Vec::new();
        GzDecoder::new(&*follow(&files, &manifest["layers"][0])?).read_to_end(&mut layer)?;
        assert_eq!(config["rootfs"]["diff_ids"], json!([digest(&layer)]));
        let inside = unpack(&layer)?;
        let paths: Vec<_> = inside.keys().map(String::as_str).collect();
        assert_eq!(
            paths,
            [
                "usr/",
                "usr/bin/",
                "usr/bin/oomtrace",
                "usr/share/",
                "usr/share/doc/",
                "usr/share/doc/oomtrace/",
                "usr/share/doc/oomtrace/LICENSE-APACHE",
                "usr/share/doc/oomtrace/LICENSE-MIT",
            ]
        );
        assert_eq!(inside[PROGRAM], (0o755, 1_700_000_000, b"a program".to_vec()));
        Ok(())
    }

    #[test]
    fn the_dockerfile_says_the_same() -> Result<()> {
        let (_, last) = include_str!("../../../deploy/Dockerfile").rsplit_once("\nFROM ").context("no stage")?;
        let (base, last) = last.split_once('\n').context("an empty stage")?;
        assert_eq!(base, "scratch");
        let files = unpack(&source().layout()?.0)?;
        let index: Value = serde_json::from_slice(&files["index.json"].2)?;
        let manifest: Value = serde_json::from_slice(&follow(&files, &index["manifests"][0])?)?;
        let config = &serde_json::from_slice::<Value>(&follow(&files, &manifest["config"])?)?["config"];
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        for line in [
            format!("ENV {}", word(&config["Env"][0])),
            format!("USER {}", word(&config["User"])),
            format!("ENTRYPOINT {}", config["Entrypoint"]),
            format!("CMD {}", config["Cmd"]),
        ] {
            assert!(last.lines().any(|said| said == line), "no {line}");
        }
        Ok(())
    }
}

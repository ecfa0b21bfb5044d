//! An OCI image layout: blobs named by their digests, and an index of them
//! (<https://github.com/opencontainers/image-spec/blob/v1.1.0/image-layout.md>).

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    arch::Arch,
    archive::{Archive, gzip},
};

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

/// Paths, modes and contents.
pub(super) type Files = Vec<(String, u32, Vec<u8>)>;

/// What an image is made of, all of it: the same source makes the same bytes.
pub(super) struct Source {
    /// What the image is called, with its tag.
    pub(super) name: String,
    /// When the source was written, in seconds since 1970.
    pub(super) date: u64,
    /// The files of each architecture. With several, the image is an index of them.
    pub(super) files: Vec<(Arch, Files)>,
    /// Symbolic links: paths and targets.
    pub(super) links: Vec<(String, String)>,
    /// What the runtime is to do with it: `config` of the image's configuration.
    pub(super) config: Value,
}

impl Source {
    /// The image of static `oomtrace`s, built from this commit if there is one.
    pub(super) fn oomtrace(
        binaries: Vec<(Arch, Vec<u8>)>,
        name: &str,
        date: u64,
        revision: Option<String>,
    ) -> Result<Self> {
        let mut labels = json!({
            "org.opencontainers.image.title": "oomtrace",
            "org.opencontainers.image.description": "Why did this container die, and what would have prevented it?",
            "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
            "org.opencontainers.image.licenses": env!("CARGO_PKG_LICENSE"),
            "org.opencontainers.image.created": created(date)?,
        });
        if let Some(revision) = revision {
            labels["org.opencontainers.image.revision"] = revision.into();
        }
        let licences =
            LICENCES.map(|(licence, text)| (format!("usr/share/doc/oomtrace/{licence}"), 0o644, text.to_vec()));
        let files = |binary| [vec![(PROGRAM.to_owned(), 0o755, binary)], licences.to_vec()].concat();
        Ok(Self {
            name: name.to_owned(),
            date,
            files: binaries.into_iter().map(|(arch, binary)| (arch, files(binary))).collect(),
            links: Vec::new(),
            config: json!({"User": "0:0", "Env": ["PATH=/usr/bin"], "Entrypoint": ["oomtrace"], "Cmd": ["run"], "Labels": labels}),
        })
    }

    /// Adds the image's blobs to a layout, and gives the descriptor of its manifest, or of its index where it has several.
    fn add_to(self, layout: &mut Archive) -> Result<Value> {
        let Self { name, date, files, links, config } = self;
        let mut manifests = Vec::new();
        for (arch, files) in files {
            let mut layer = Archive::new(date);
            for (path, mode, bytes) in files {
                layer.file(&path, mode, bytes);
            }
            for (path, target) in &links {
                layer.link(path, target);
            }
            manifests.push(add_manifest(layout, arch, &created(date)?, &layer.finish("")?, &config)?);
        }
        let mut image = match <[Value; 1]>::try_from(manifests) {
            Ok([manifest]) => manifest,
            Err(manifests) => {
                let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
                blob(layout, INDEX, serde_json::to_vec(&index)?)
            }
        };
        let tag = name.rsplit_once(':').map_or("latest", |(_, tag)| tag);
        // The first is the tag alone, by the specification; containerd takes the whole name from the second.
        image["annotations"] = json!({"org.opencontainers.image.ref.name": tag, "io.containerd.image.name": name});
        Ok(image)
    }
}

/// Adds what one architecture has of an image, and gives the descriptor of its manifest.
fn add_manifest(layout: &mut Archive, arch: Arch, created: &str, layer: &[u8], config: &Value) -> Result<Value> {
    let config = json!({
        "created": created,
        "architecture": arch.debian(),
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
        "history": [{"created": created, "created_by": "cargo xtask image"}],
    });
    let config = blob(layout, CONFIG, serde_json::to_vec(&config)?);
    let layer = blob(layout, LAYER, gzip(layer)?);
    let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]});
    let mut manifest = blob(layout, MANIFEST, serde_json::to_vec(&manifest)?);
    manifest["platform"] = json!({"architecture": arch.debian(), "os": "linux"});
    Ok(manifest)
}

/// The layout of these images as a tar archive, and the digests of their manifests.
pub(super) fn layout(sources: Vec<Source>) -> Result<(Vec<u8>, Vec<String>)> {
    let date = sources.iter().map(|source| source.date).max().unwrap_or_default();
    let mut layout = Archive::new(date);
    let manifests = sources.into_iter().map(|source| source.add_to(&mut layout)).collect::<Result<Vec<_>>>()?;
    let digests = manifests.iter().map(|manifest| manifest["digest"].as_str().unwrap_or_default().to_owned()).collect();
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
    layout.file("index.json", 0o644, serde_json::to_vec(&index)?);
    layout.file("oci-layout", 0o644, serde_json::to_vec(&json!({"imageLayoutVersion": "1.0.0"}))?);
    Ok((layout.finish("")?, digests))
}

fn created(date: u64) -> Result<String> {
    Ok(Timestamp::from_second(date.try_into()?).context("the source's date is no date")?.to_string())
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
    type Unpacked = BTreeMap<String, (u32, u64, Vec<u8>)>;

    /// Of a program written at this time.
    fn image(date: u64) -> Result<(Vec<u8>, String)> {
        let binaries = vec![(Arch::Amd64, b"a program".to_vec())];
        let source = Source::oomtrace(binaries, "localhost/oomtrace:1", date, None)?;
        let (layout, digests) = layout(vec![source])?;
        Ok((layout, digests.concat()))
    }

    fn unpack(tar: &[u8]) -> Result<Unpacked> {
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
    fn follow(files: &Unpacked, descriptor: &Value) -> Result<Vec<u8>> {
        let name = descriptor["digest"].as_str().context("no digest")?;
        let (_, _, bytes) = files.get(&format!("blobs/{}", name.replace(':', "/"))).context("no blob")?;
        assert_eq!(digest(bytes), name);
        assert_eq!(descriptor["size"], bytes.len());
        Ok(bytes.clone())
    }

    #[test]
    fn the_same_source_makes_the_same_image_and_another_date_another() -> Result<()> {
        let (first, second) = (image(1_700_000_000)?, image(1_700_000_000)?);
        assert!(first == second, "two images of one source differ");
        let (_, other) = image(1_700_000_001)?;
        assert_ne!(other, first.1);
        Ok(())
    }

    #[test]
    fn a_runtime_finds_the_program_and_nothing_but_its_licences_beside_it() -> Result<()> {
        let (layout, manifest_digest) = image(1_700_000_000)?;
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
    fn an_image_for_two_architectures_is_one_index_in_which_each_finds_its_own_program() -> Result<()> {
        let binaries = Arch::ALL.map(|arch| (arch, arch.machine().as_bytes().to_vec()));
        let source = Source::oomtrace(binaries.to_vec(), "localhost/oomtrace:1", 1_700_000_000, None)?;
        let files = unpack(&layout(vec![source])?.0)?;
        let top: Value = serde_json::from_slice(&files["index.json"].2)?;
        assert_eq!(top["manifests"].as_array().map(Vec::len), Some(1), "one name, one image");
        let descriptor = &top["manifests"][0];
        assert_eq!((&descriptor["mediaType"], &descriptor["platform"]), (&json!(INDEX), &Value::Null));
        assert_eq!(descriptor["annotations"]["io.containerd.image.name"], "localhost/oomtrace:1");
        let index: Value = serde_json::from_slice(&follow(&files, descriptor)?)?;
        for (descriptor, arch) in index["manifests"].as_array().context("no manifests")?.iter().zip(Arch::ALL) {
            assert_eq!(descriptor["platform"], json!({"architecture": arch.debian(), "os": "linux"}));
            let manifest: Value = serde_json::from_slice(&follow(&files, descriptor)?)?;
            let config: Value = serde_json::from_slice(&follow(&files, &manifest["config"])?)?;
            assert_eq!(config["architecture"], arch.debian());
            let mut layer = Vec::new();
            GzDecoder::new(&*follow(&files, &manifest["layers"][0])?).read_to_end(&mut layer)?;
            assert_eq!(unpack(&layer)?[PROGRAM].2, arch.machine().as_bytes());
        }
        Ok(())
    }

    #[test]
    fn a_layout_holds_several_images_with_files_and_links() -> Result<()> {
        let shell = Source {
            name: "localhost/shell:2".to_owned(),
            date: 1_700_000_000,
            files: vec![(Arch::Amd64, vec![("bin/box".to_owned(), 0o755, b"box".to_vec())])],
            links: vec![("bin/sh".to_owned(), "box".to_owned())],
            config: json!({"Cmd": ["sh"]}),
        };
        let binaries = vec![(Arch::Amd64, b"a program".to_vec())];
        let ours = Source::oomtrace(binaries, "localhost/oomtrace:1", 1_700_000_000, None)?;
        let (layout, digests) = layout(vec![ours, shell])?;
        let files = unpack(&layout)?;
        let index: Value = serde_json::from_slice(&files["index.json"].2)?;
        let manifests = index["manifests"].as_array().context("no manifests")?;
        let names: Vec<_> = manifests.iter().map(|each| &each["annotations"]["io.containerd.image.name"]).collect();
        assert_eq!(names, ["localhost/oomtrace:1", "localhost/shell:2"]);
        assert_eq!(manifests[1]["digest"], digests[1]);
        let manifest: Value = serde_json::from_slice(&follow(&files, &manifests[1])?)?;
        let mut layer = Vec::new();
        GzDecoder::new(&*follow(&files, &manifest["layers"][0])?).read_to_end(&mut layer)?;
        let mut archive = tar::Archive::new(&*layer);
        let targets = archive.entries()?.map(|entry| {
            let target = entry?.link_name()?.map(|target| target.to_string_lossy().into_owned());
            Ok(target)
        });
        assert_eq!(targets.collect::<Result<Vec<_>>>()?, [None, None, Some("box".to_owned())]);
        Ok(())
    }

    #[test]
    fn the_dockerfile_says_the_same() -> Result<()> {
        let (_, last) = include_str!("../../../deploy/Dockerfile").rsplit_once("\nFROM ").context("no stage")?;
        let (base, last) = last.split_once('\n').context("an empty stage")?;
        assert_eq!(base, "scratch");
        let files = unpack(&image(1_700_000_000)?.0)?;
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

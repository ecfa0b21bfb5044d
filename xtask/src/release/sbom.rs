//! What a release is made of: a bill of materials in `CycloneDX`'s JSON (<https://cyclonedx.org/docs/1.6/json/>), of Cargo.lock
//! and of what cargo knows of the crates in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{Seek as _, Write as _},
    path::Path,
};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{arch::Arch, setup, tool};

/// Has `CycloneDX`'s own library judge what it reads.
const VALIDATE: &str = "
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(sys.stdin.read())
sys.exit(f'the bill of materials is refused: {error}' if error else 0)
";

/// A crate's name and version.
type Crate = (String, String);

/// The bill, dated like everything else.
pub(super) fn bill(date: u64) -> Result<Vec<u8>> {
    let mut cargo = tool::cargo();
    cargo.args(["metadata", "--format-version=1", "--locked"]);
    cargo.args(Arch::ALL.iter().flat_map(|arch| ["--filter-platform", arch.target()]));
    let metadata: Value = serde_json::from_str(&tool::output(&mut cargo)?).context("`cargo metadata` is not JSON")?;
    let lock = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("Cargo.lock"))?;
    let bill = bill_of(&metadata, &checksums(&lock)?, date)?;
    let mut bytes = serde_json::to_vec_pretty(&bill)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Fails if the library refuses it.
pub(super) fn check(bill: &[u8]) -> Result<()> {
    let mut file = tempfile::tempfile().context("no place for what Python is to read")?;
    file.write_all(bill).and_then(|()| file.rewind())?;
    tool::output_of(setup::cyclonedx()?.args(["-c", VALIDATE]), file)?;
    Ok(())
}

/// The SHA-256 of each crate that comes from a registry.
fn checksums(lock: &str) -> Result<BTreeMap<Crate, String>> {
    let lock: toml::Table = lock.parse().context("Cargo.lock is not TOML")?;
    let packages = lock.get("package").and_then(toml::Value::as_array).context("Cargo.lock has no packages")?;
    let of = |package: &toml::Value| {
        let field = |name| package.get(name).and_then(toml::Value::as_str).map(str::to_owned);
        Some(((field("name")?, field("version")?), field("checksum")?))
    };
    Ok(packages.iter().filter_map(of).collect())
}

/// The crates whose code is in the program or made what is in it, and who needs whom.
fn bill_of(metadata: &Value, checksums: &BTreeMap<Crate, String>, date: u64) -> Result<Value> {
    let packages: BTreeMap<_, _> =
        array(&metadata["packages"]).map(|package| (text(&package["id"]), package)).collect();
    let needs: BTreeMap<_, BTreeSet<_>> = array(&metadata["resolve"]["nodes"])
        .map(|node| {
            (text(&node["id"]), array(&node["deps"]).filter(|need| is_shipped(need)).map(|need| text(&need["pkg"])))
        })
        .map(|(id, needs)| (id, needs.collect()))
        .collect();
    let named = |name: &str| {
        let found = packages.iter().find(|(_, package)| package["name"] == name);
        found.map(|(id, _)| *id).with_context(|| format!("the workspace has no {name}"))
    };
    // The program's build script compiles the probes and embeds them, of which cargo does not know.
    let (program, probes) = (named("oomtrace")?, named("oomtrace-ebpf")?);
    let needed_by = |id| needs.get(id).into_iter().flatten().copied().chain((id == program).then_some(probes));
    let mut reached = BTreeSet::new();
    let mut next = vec![program];
    while let Some(id) = next.pop() {
        if reached.insert(id) {
            next.extend(needed_by(id));
        }
    }
    let component = |id: &str| component(packages.get(id).unwrap_or(&&Value::Null), checksums);
    let mut described = component(program);
    described["type"] = json!("application");
    let dependencies = reached.iter().map(|id| {
        let needed: BTreeSet<_> = needed_by(id).map(|id| purl(packages.get(id).unwrap_or(&&Value::Null))).collect();
        json!({"ref": purl(packages.get(id).unwrap_or(&&Value::Null)), "dependsOn": needed})
    });
    Ok(json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": Timestamp::from_second(date.try_into()?)?.to_string(),
            "component": described,
        },
        "components": reached.iter().filter(|id| **id != program).map(|id| component(id)).collect::<Vec<_>>(),
        "dependencies": dependencies.collect::<Vec<_>>(),
    }))
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Whether a dependency's code is in the program or made what is in it: tests' alone is not.
fn is_shipped(dependency: &Value) -> bool {
    array(&dependency["dep_kinds"]).any(|kind| kind["kind"] != "dev")
}

/// The package URL, by which the bill refers to a crate (<https://github.com/package-url/purl-spec>).
fn purl(package: &Value) -> String {
    // Of what versions may have, only the plus sign means something else in a URL.
    format!("pkg:cargo/{}@{}", text(&package["name"]), text(&package["version"]).replace('+', "%2B"))
}

fn component(package: &Value, checksums: &BTreeMap<Crate, String>) -> Value {
    let (name, version) = (text(&package["name"]), text(&package["version"]));
    let mut component =
        json!({"type": "library", "bom-ref": purl(package), "name": name, "version": version, "purl": purl(package)});
    if let Some(description) = package["description"].as_str() {
        component["description"] = json!(description.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    if let Some(licence) = package["license"].as_str() {
        // Older crates have a slash where SPDX has a word.
        component["licenses"] = json!([{"expression": licence.replace('/', " OR ")}]);
    }
    if let Some(sum) = checksums.get(&(name.to_owned(), version.to_owned())) {
        component["hashes"] = json!([{"alg": "SHA-256", "content": sum}]);
    }
    component
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str) -> Value {
        json!({"id": name, "name": name, "version": "1.0.0+x", "license": "MIT/Apache-2.0"})
    }

    #[test]
    fn what_is_shipped_is_listed_and_what_tests_alone_need_is_not() -> Result<()> {
        let need = |name: &str, kind: Value| json!({"pkg": name, "dep_kinds": [{"kind": kind}]});
        let packages = ["oomtrace", "oomtrace-ebpf", "linked", "builder", "in-kernel", "tester", "xtask"].map(package);
        let metadata = json!({
            "packages": packages,
            "resolve": {"nodes": [
                {"id": "oomtrace", "deps": [need("linked", Value::Null), need("builder", json!("build")), need("tester", json!("dev"))]},
                {"id": "oomtrace-ebpf", "deps": [need("in-kernel", Value::Null)]},
                {"id": "xtask", "deps": [need("tester", Value::Null)]},
            ]},
        });
        let sums = checksums("[[package]]\nname = \"linked\"\nversion = \"1.0.0+x\"\nchecksum = \"abc\"\n")?;
        let bill = bill_of(&metadata, &sums, 1_700_000_000)?;
        let names: Vec<_> = array(&bill["components"]).map(|component| text(&component["name"])).collect();
        assert_eq!(names, ["builder", "in-kernel", "linked", "oomtrace-ebpf"]);
        assert_eq!(bill["metadata"]["component"]["name"], "oomtrace");
        let linked = &bill["components"][2];
        assert_eq!(linked["purl"], "pkg:cargo/linked@1.0.0%2Bx");
        assert_eq!(linked["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(linked["hashes"][0]["content"], "abc");
        let of_program = array(&bill["dependencies"]).find(|entry| entry["ref"] == "pkg:cargo/oomtrace@1.0.0%2Bx");
        let needed = of_program.map(|entry| array(&entry["dependsOn"]).count());
        assert_eq!(needed, Some(3), "what is linked, what builds, and the probes");
        Ok(())
    }
}

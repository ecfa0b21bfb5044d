//! What is linked: by its licence, by where it is from, and once.

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{arch::Arch, tool};

/// What is built for a node; what Windows and others need besides is not.
const TARGET: &str = Arch::Amd64.target();
/// Licences of what may be linked: none that asks anything of who links it but to be named.
const MAY_BE_LINKED: [&str; 10] =
    ["0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "ISC", "MIT", "MIT-0", "Unicode-3.0", "Zlib"];
/// What a node's binary has twice, and because of whom.
const TWICE: [(&str, &str); 1] = [("base64", "tonic's and ureq's differ")];

fn cargo(arguments: &[&str]) -> Result<String> {
    tool::output(tool::cargo().args(arguments))
}

fn may_be_linked(licence: &str) -> Result<bool> {
    let expression = spdx::Expression::parse_mode(licence, spdx::ParseMode::LAX)?;
    Ok(expression.evaluate(|required| {
        required.license.id().is_some_and(|id| MAY_BE_LINKED.contains(&id.name)) && required.addition.is_none()
    }))
}

#[test]
fn every_dependency_may_be_linked_and_is_from_the_registry() -> Result<()> {
    let arguments = ["metadata", "--format-version=1", "--locked", "--filter-platform", TARGET];
    let metadata: Value = serde_json::from_str(&cargo(&arguments)?)?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    assert!(packages.len() > 100, "all of them");
    for package in packages {
        let (name, licence) = (&package["name"], package["license"].as_str().unwrap_or_default());
        assert!(may_be_linked(licence)?, "{name}: its licence is {licence:?}");
        // What is our own has no source.
        let source = package["source"].as_str().unwrap_or("registry+");
        assert!(source.starts_with("registry+"), "{name}: it is from {source}");
    }
    Ok(())
}

#[test]
fn what_asks_more_of_who_links_it_is_refused() -> Result<()> {
    for licence in ["GPL-2.0-only", "MIT AND LGPL-2.1-or-later", "MPL-2.0", "GPL-2.0-only WITH Linux-syscall-note"] {
        assert!(!may_be_linked(licence)?, "{licence}");
    }
    assert!(may_be_linked("MIT OR Apache-2.0 OR LGPL-2.1-or-later")? && may_be_linked("MIT/Apache-2.0")?);
    Ok(())
}

#[test]
fn what_runs_on_a_node_has_each_library_once() -> Result<()> {
    let duplicates = cargo(&[
        "tree",
        "--locked",
        "--duplicates",
        "--package=oomtrace",
        "--edges=normal,no-proc-macro",
        "--target",
        TARGET,
        "--prefix=none",
        "--depth=0",
    ])?;
    let mut twice: Vec<&str> = duplicates.lines().filter_map(|line| line.split(' ').next()).collect();
    twice.retain(|name| !name.is_empty());
    twice.sort_unstable();
    twice.dedup();
    assert_eq!(twice, TWICE.map(|(name, _)| name));
    Ok(())
}

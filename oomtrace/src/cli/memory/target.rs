//! What `oomtrace memory` is asked for.

use std::str::FromStr;

/// Whose memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Node,
    /// By its path from the hierarchy's root.
    Cgroup(String),
    Process(u32),
    Pod {
        namespace: String,
        pod: String,
        container: Option<String>,
    },
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "node" {
            return Ok(Self::Node);
        }
        if text.starts_with('/') {
            return Ok(Self::Cgroup(text.to_owned()));
        }
        if let Ok(pid) = text.parse() {
            return Ok(Self::Process(pid));
        }
        let parts: Vec<&str> = text.split('/').collect();
        match parts.as_slice() {
            [namespace, pod, rest @ ..] if rest.len() < 2 && parts.iter().all(|name| !name.is_empty()) => {
                Ok(Self::Pod {
                    namespace: (*namespace).to_owned(),
                    pod: (*pod).to_owned(),
                    container: rest.first().map(ToString::to_string),
                })
            }
            _ => Err("neither NAMESPACE/POD, NAMESPACE/POD/CONTAINER, a cgroup's path from /, a process id nor `node`"
                .to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_known_by_its_form() {
        let pod = |container: Option<&str>| Target::Pod {
            namespace: "shop".to_owned(),
            pod: "cart-0".to_owned(),
            container: container.map(str::to_owned),
        };
        assert_eq!("shop/cart-0".parse(), Ok(pod(None)));
        assert_eq!("shop/cart-0/app".parse(), Ok(pod(Some("app"))));
        assert_eq!("/system.slice".parse(), Ok(Target::Cgroup("/system.slice".to_owned())));
        assert_eq!("812".parse(), Ok(Target::Process(812)));
        assert_eq!("node".parse(), Ok(Target::Node));
        for wrong in ["", "cart-0", "a//b", "a/b/c/d", "shop/"] {
            assert!(wrong.parse::<Target>().is_err(), "{wrong}");
        }
    }
}

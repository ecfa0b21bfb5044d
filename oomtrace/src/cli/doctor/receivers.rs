//! Whether those take what they are to be sent who are beyond this node: the API server, and a receiver of OTLP.

use super::Check;
use crate::sink::{KubernetesAccess, KubernetesEvents, Otlp};

/// Each that `oomtrace run` would be given by the same options.
pub(super) fn checks(otlp: Option<&Otlp>, kubernetes: Option<KubernetesAccess>, node: &str) -> Vec<Check> {
    let otlp = otlp.map(|otlp| {
        let found = format!("{} takes requests", otlp.access.endpoint);
        check("OTLP", otlp.try_out(), found, "lines and figures by OTLP")
    });
    let events = kubernetes.map(|access| {
        let found = format!("the API server would take one of node {node}");
        check("Kubernetes Events", KubernetesEvents::try_out(access, node.to_owned()), found, "Kubernetes Events")
    });
    otlp.into_iter().chain(events).collect()
}

fn check(name: &'static str, tried: Result<(), String>, found: String, lost: &str) -> Check {
    match tried {
        Ok(()) => Check::passed(name, found),
        Err(why) => Check::failed(name, why, "what is said above, if anything; else what it logs itself", lost),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::{
        cli::{kubernetes, otlp},
        sink::Kinds,
    };

    #[derive(clap::Parser)]
    struct Options {
        #[command(flatten)]
        otlp: otlp::Args,
        #[command(flatten)]
        kubernetes: kubernetes::Args,
    }

    fn checked(arguments: &[&str]) -> Vec<Check> {
        let Options { otlp, kubernetes } = clap::Parser::parse_from([&["doctor"], arguments].concat());
        checks(otlp.receiver(Kinds::by_default()).as_ref(), kubernetes.events(), "node1")
    }

    #[test]
    fn only_what_is_asked_for_is_tried_and_who_is_not_there_is_named_with_what_helps() {
        assert!(checked(&[]).is_empty());
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
        let url = format!("http://{free}");
        let found = checked(&["--otlp", &url, "--k8s-events", "--k8s-url", &url]);
        let names: Vec<_> = found.iter().map(|check| (check.name, check.ok)).collect();
        assert_eq!(names, [("OTLP", Some(false)), ("Kubernetes Events", Some(false))]);
        for (check, option) in found.iter().zip(["; --otlp says where", "; --k8s-url says where"]) {
            assert!(check.found.starts_with(&url) && check.found.contains(option), "{check:?}");
        }
    }
}

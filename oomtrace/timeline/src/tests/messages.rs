//! What an eviction is reported for, in words: resources, amounts, messages as they are posted.

use oomtrace_model::{Confidence, Eviction, EvictionPhase, snapshot::EvictionNotice};

use super::{
    evictions::evicted,
    world::{MIB, World, pod_by_name, step},
};

#[test]
fn what_ran_short_is_named_and_counted() {
    for (resource, amounts, summary, advice) in [
        (
            "pids",
            "1200, available: 500",
            "short of process ids (500 available, threshold 1200), not of memory",
            "podPidsLimit",
        ),
        (
            "inodes",
            "104857, available: 99",
            "short of inodes (99 available, threshold 104857), not of memory",
            "many small files",
        ),
        (
            "nodefsInodes",
            "104857, available: 99",
            "short of inodes on its root filesystem (nodefsInodes) (99",
            "many small files",
        ),
    ] {
        let mut world = World::default();
        world.known.everything = true;
        let message = format!("The node was low on resource: {resource}. Threshold quantity: {amounts}. ");
        let about = Eviction {
            pod: Some(pod_by_name('a')),
            resource: Some(resource.to_owned()),
            memory: Some(false),
            message: Some(message),
            ..step(EvictionPhase::Evicting)
        };
        let verdict = world.eviction(0.0, about).incident().verdict;
        assert!(verdict.summary.contains(summary), "{}", verdict.summary);
        assert!(verdict.advice.contains(advice), "{}", verdict.advice);
    }
    let mut world = World::default();
    world.known.everything = true;
    let about = Eviction {
        pod: Some(pod_by_name('a')),
        resource: Some("ephemeral-storage".to_owned()),
        memory: Some(false),
        threshold_bytes: Some(1024 * MIB),
        available_bytes: Some(300 * MIB),
        ..step(EvictionPhase::Evicting)
    };
    let verdict = world.eviction(0.0, about).incident().verdict;
    let words = "short of ephemeral-storage (300 MiB available, threshold 1 GiB), not of memory.";
    assert!(verdict.summary.ends_with(words), "{}", verdict.summary);
}

#[test]
fn a_sentence_about_an_eviction_is_whole() {
    let incident = evicted().incident();
    let words = "evicted pod default/pod-a, number 1 of 2 in its ranking, because";
    assert!(incident.verdict.summary.contains(words), "{}", incident.verdict.summary);
    // Names of containers alone say nothing.
    assert!(!incident.verdict.summary.contains("cache"), "{}", incident.verdict.summary);
}

#[test]
fn an_eviction_of_which_neither_the_pod_nor_the_time_is_known_says_so() {
    let mut world = World::default();
    let nobody = oomtrace_model::Pod { name: Some(String::new()), ..oomtrace_model::Pod::default() };
    let evicted = Eviction {
        pod: Some(nobody),
        resource: Some("memory".to_owned()),
        memory: Some(true),
        ..step(EvictionPhase::Evicted)
    };
    world.at_an_unknown_time(oomtrace_model::Event::Eviction(Box::new(evicted)));
    let incident = world.incident();
    assert!(incident.time_unknown && incident.verdict.confidence == Confidence::Low);
    assert!(incident.verdict.summary.starts_with("The kubelet evicted a pod because"), "{}", incident.verdict.summary);
    assert!(incident.verdict.missing.iter().any(|missing| missing == "when it was: the lines have no time"));
    assert_eq!(incident.pod.and_then(|pod| pod.name), None);
}

#[test]
fn a_message_that_was_posted_without_the_namespace_is_of_the_pod_that_the_log_names() {
    let mut world = World::default();
    world.eviction(0.0, Eviction { pod: Some(pod_by_name('a')), ..step(EvictionPhase::Evicted) });
    let nameless = oomtrace_model::Pod { namespace: None, ..pod_by_name('a') };
    world.known.snapshot.evictions.push(EvictionNotice {
        pod: nameless,
        resource: Some("memory".to_owned()),
        threshold_bytes: Some(100 * MIB),
        available_bytes: Some(84 * MIB),
        ..EvictionNotice::default()
    });
    let verdict = world.incident().verdict;
    assert_eq!(verdict.available_bytes, Some(84 * MIB));
    // Which of the two it was is a guess, and the advice does not build on it.
    assert!(verdict.advice.starts_with("The node's available memory, or what is left"), "{}", verdict.advice);
}

//! One pass of the eviction manager's loop. Its lines say a part each; together they say which signal crossed which
//! threshold, and so each line is given what the lines before it said.

use oomtrace_model::{Eviction, EvictionPhase as Phase, Pod};

/// What the lines of a pass said so far.
#[derive(Debug, Default)]
pub(super) struct Pass {
    /// The resource that is being reclaimed, since a threshold of it was met.
    resource: Option<String>,
    /// The thresholds that were seen crossed: signal, threshold, available. Only at V(3) and above. In the order in which
    /// they were compared last: see [`Pass::complete`].
    crossed: Vec<Crossed>,
    /// The pods in the order in which they are to go, but for those that were spared.
    ranked: Vec<Pod>,
    /// Of each signal, all that there is; it outlives a pass.
    capacities: Vec<(String, u64)>,
    /// The node's conditions as last reported, to tell when they change.
    conditions: Vec<String>,
}

#[derive(Clone, Debug)]
struct Crossed {
    signal: String,
    resource: Option<String>,
    threshold_bytes: Option<u64>,
    available_bytes: Option<u64>,
}

/// The signals of a kubelet are a dozen: more are not one's.
const SIGNALS: usize = 32;

impl Pass {
    /// A new pass begins: nothing is known to be crossed.
    pub(super) fn restart(&mut self) {
        self.resource = None;
        self.crossed.clear();
        self.ranked.clear();
    }

    /// The pod that the manager evicts now: it takes the first that it may.
    pub(super) fn victim(&self) -> Option<&Pod> {
        self.ranked.first()
    }

    /// Takes a step in, and gives it what the pass knows. `false` where it repeats what was reported.
    pub(super) fn take(&mut self, step: &mut Eviction) -> bool {
        match step.phase {
            Phase::Observed => return self.observe(step),
            Phase::NodeConditions => {
                let news = self.conditions != step.node_conditions;
                self.conditions.clone_from(&step.node_conditions);
                step.memory = Some(step.node_conditions.iter().any(|condition| condition == "MemoryPressure"));
                return news;
            }
            Phase::GracePeriodNotMet | Phase::Configured => {
                self.weigh(step);
                return true;
            }
            Phase::AdmissionRefused | Phase::Error => return true,
            Phase::ThresholdMet => {
                self.resource.clone_from(&step.resource);
                self.ranked.clear();
            }
            Phase::Ranked => self.ranked.clone_from(&step.pods),
            _ => {}
        }
        self.complete(step);
        if let (Phase::CriticalPodSpared | Phase::Failed | Phase::Evicted, Some(pod)) = (step.phase, &step.pod) {
            self.ranked.retain(|ranked| (&ranked.namespace, &ranked.name) != (&pod.namespace, &pod.name));
        }
        if matches!(step.phase, Phase::CleanedUp | Phase::CleanupTimedOut | Phase::Reclaimed | Phase::NothingToEvict) {
            self.restart();
        }
        true
    }

    fn observe(&mut self, step: &mut Eviction) -> bool {
        let Some(signal) = &step.signal else { return true };
        if let Some(capacity) = step.capacity_bytes {
            self.capacities.retain(|(known, _)| known != signal);
            self.capacities.push((signal.clone(), capacity));
            self.capacities.truncate(SIGNALS);
            return true;
        }
        step.capacity_bytes = self.capacity(signal);
        // The same comparison is logged up to four times, once for each thing that is made of it.
        let before = self.crossed.len();
        self.crossed.retain(|crossed| {
            (&crossed.signal, crossed.available_bytes) != (signal, step.available_bytes)
                || crossed.threshold_bytes != step.threshold_bytes
        });
        let news = self.crossed.len() == before;
        self.crossed.retain(|crossed| crossed.signal != *signal);
        self.crossed.push(Crossed {
            signal: signal.clone(),
            resource: step.resource.clone(),
            threshold_bytes: step.threshold_bytes,
            available_bytes: step.available_bytes,
        });
        self.crossed.truncate(SIGNALS);
        news
    }

    fn capacity(&self, signal: &str) -> Option<u64> {
        self.capacities.iter().find(|(known, _)| known == signal).map(|(_, capacity)| *capacity)
    }

    /// A threshold that is a share of the capacity, in bytes.
    fn weigh(&self, step: &mut Eviction) {
        let capacity = step.signal.as_deref().and_then(|signal| self.capacity(signal));
        if step.memory != Some(true) || step.threshold_bytes.is_some() {
            return;
        }
        step.capacity_bytes = step.capacity_bytes.or(capacity);
        step.threshold_bytes = capacity.and_then(|capacity| step.threshold_of(capacity));
    }

    /// Of several signals of one resource that are crossed, the kubelet acts on the one that it compares last. It puts
    /// those that are met for long enough into any order (a map's: `thresholdsMetGracePeriod`), logs them in it, and sorts
    /// them with an order that calls each of memory's signals less than the other (`byEvictionPriority.Less`): that turns
    /// them round (`pkg/kubelet/eviction/helpers.go`, 1.20 to 1.36; `sort.Sort` inserts where there are fewer than 12).
    fn complete(&self, step: &mut Eviction) {
        if step.resource.is_some() && self.resource.is_some() && step.resource != self.resource {
            return;
        }
        if step.resource.is_none() {
            step.resource.clone_from(&self.resource);
            step.memory = step.resource.as_ref().map(|resource| resource == "memory");
        }
        let mut of_resource = self.crossed.iter().filter(|crossed| {
            crossed.resource == step.resource
                && (step.available_bytes.is_none() || crossed.available_bytes == step.available_bytes)
        });
        let Some(crossed) = of_resource.next_back() else { return };
        if step.resource.is_none() || step.signal.as_ref().is_some_and(|signal| *signal != crossed.signal) {
            return;
        }
        step.signal.get_or_insert_with(|| crossed.signal.clone());
        step.threshold_bytes = step.threshold_bytes.or(crossed.threshold_bytes);
        step.available_bytes = step.available_bytes.or(crossed.available_bytes);
        step.capacity_bytes = step.capacity_bytes.or_else(|| self.capacity(&crossed.signal));
    }
}

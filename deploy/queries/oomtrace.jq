# Questions to oomtrace's JSON lines, as a module for jq 1.6 or later:
#
#     kubectl -n oomtrace logs ds/oomtrace | jq -nR -L deploy/queries 'include "oomtrace"; [inputs | fromjson?] | killed_most'
#
# Each takes an array of lines. An incident is printed again with a higher `revision` when something is added: `kills_new` may be
# summed over all lines, what a verdict says is that of the last revision.

def incidents: map(select(.kind == "incident"));
def last_revisions: incidents | group_by([.node, .id]) | map(max_by(.revision));
def workload: .pod.owner.name // .pod.name // .cgroup.unit // .cgroup.path;

# Who was killed most?
def killed_most:
  incidents | group_by([.pod.namespace, workload])
  | map({namespace: .[0].pod.namespace, workload: .[0] | workload, kills: map(.kills_new) | add})
  | map(select(.kills > 0)) | sort_by(-.kills);

# Which kills does Kubernetes not show?
def invisible_kills:
  last_revisions | map(select(.verdict.invisible and .kills > 0))
  | map({namespace: .pod.namespace, pod: .pod.name, container: .container.name, kills});

# How many evictions were there, by signal?
def evictions_by_signal:
  last_revisions | map(select(.evicted)) | group_by(.verdict.signal)
  | map({signal: .[0].verdict.signal, evictions: length});

# How many kills were there, by workload and hour?
def kills_by_hour:
  incidents | group_by([.ts[:13], .pod.namespace, workload])
  | map({hour: .[0].ts[:13], namespace: .[0].pod.namespace, workload: .[0] | workload, kills: map(.kills_new) | add})
  | map(select(.kills > 0));

# Who hits its own limit again and again, and what would be enough?
def limits_hit:
  last_revisions | map(select(.verdict.scenario == "container_limit"))
  | group_by([.pod.namespace, workload, .container.name])
  | map({namespace: .[0].pod.namespace, workload: .[0] | workload, container: .[0].container.name, kills: map(.kills) | add,
      limit_bytes: map(.limit_bytes) | max, suggested_limit_bytes: map(.verdict.suggested_limit_bytes) | max})
  | map(select(.kills > 1)) | sort_by(-.kills);

# On which nodes did all pods together hit their limit?
def allocatable_kills:
  last_revisions | map(select(.verdict.scenario == "allocatable_oom")) | group_by(.node)
  | map({node: .[0].node, kills: map(.kills) | add});

# What was lost, and where?
def losses:
  map(select(.kind == "lost")) | group_by([.node, .from, .output])
  | map({node: .[0].node, from: .[0].from, output: .[0].output, count: map(.count) | add});

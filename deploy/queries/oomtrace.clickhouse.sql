-- oomtrace's JSON lines in ClickHouse. To make the table, and whenever the questions are asked:
--     clickhouse-client --queries-file deploy/queries/oomtrace.clickhouse.sql
-- To load lines: clickhouse-client --query 'INSERT INTO oomtrace (line) FORMAT LineAsString' < events.jsonl
-- A line that arrives twice counts once. The lines come back as they were, for `oomtrace timeline --events -`:
--     clickhouse-client --query "SELECT line FROM oomtrace FINAL WHERE node = 'node1' ORDER BY ts, seq FORMAT LineAsString"
-- An incident is printed again with a higher `revision` when something is added: `kills_new` may be summed over all lines, what a
-- verdict says is that of the last revision. To keep lines for 90 days: ALTER TABLE oomtrace MODIFY TTL toDateTime(ts) + INTERVAL 90 DAY
CREATE TABLE IF NOT EXISTS oomtrace
(
    line String CODEC(ZSTD(3)),
    ts DateTime64(9, 'UTC') DEFAULT parseDateTime64BestEffortOrZero(JSONExtractString(line, 'ts'), 9, 'UTC'),
    seq UInt64 DEFAULT JSONExtractUInt(line, 'seq'),
    node LowCardinality(String) DEFAULT JSONExtractString(line, 'node'),
    kind LowCardinality(String) DEFAULT JSONExtractString(line, 'kind'),
    id String DEFAULT JSONExtractString(line, 'id'),
    revision UInt64 DEFAULT JSONExtractUInt(line, 'revision'),
    severity LowCardinality(String) DEFAULT JSONExtractString(line, 'severity'),
    pod Tuple(namespace Nullable(String), name Nullable(String), owner Tuple(kind Nullable(String), name Nullable(String)))
        DEFAULT JSONExtract(line, 'pod',
            'Tuple(namespace Nullable(String), name Nullable(String), owner Tuple(kind Nullable(String), name Nullable(String)))'),
    container Tuple(name Nullable(String)) DEFAULT JSONExtract(line, 'container', 'Tuple(name Nullable(String))'),
    cgroup Tuple(path Nullable(String), unit Nullable(String))
        DEFAULT JSONExtract(line, 'cgroup', 'Tuple(path Nullable(String), unit Nullable(String))'),
    verdict Tuple(scenario Nullable(String), invisible Bool, signal Nullable(String), suggested_limit_bytes Nullable(UInt64))
        DEFAULT JSONExtract(line, 'verdict',
            'Tuple(scenario Nullable(String), invisible Bool, signal Nullable(String), suggested_limit_bytes Nullable(UInt64))'),
    limit_bytes Nullable(UInt64) DEFAULT JSONExtract(line, 'limit_bytes', 'Nullable(UInt64)'),
    kills UInt64 DEFAULT JSONExtractUInt(line, 'kills'),
    kills_new UInt64 DEFAULT JSONExtractUInt(line, 'kills_new'),
    evicted Bool DEFAULT JSONExtractBool(line, 'evicted'),
    `from` LowCardinality(String) DEFAULT JSONExtractString(line, 'from'),
    output Nullable(String) DEFAULT JSONExtract(line, 'output', 'Nullable(String)'),
    `count` UInt64 DEFAULT JSONExtractUInt(line, 'count')
)
ENGINE = ReplacingMergeTree PARTITION BY toYYYYMM(ts) ORDER BY (kind, node, ts, seq);

CREATE OR REPLACE VIEW oomtrace_incidents AS
SELECT *, coalesce(pod.owner.name, pod.name, cgroup.unit, cgroup.path) AS workload FROM oomtrace FINAL WHERE kind = 'incident';

CREATE OR REPLACE VIEW oomtrace_last_revisions AS
SELECT * FROM oomtrace_incidents ORDER BY revision DESC LIMIT 1 BY node, id;

-- Who was killed most?
SELECT pod.namespace AS namespace, workload, sum(kills_new) AS killed
FROM oomtrace_incidents GROUP BY ALL HAVING killed > 0 ORDER BY killed DESC;

-- Which kills does Kubernetes not show?
SELECT pod.namespace AS namespace, pod.name AS pod_name, container.name AS container_name, kills
FROM oomtrace_last_revisions WHERE verdict.invisible AND kills > 0 ORDER BY ALL;

-- How many evictions were there, by signal?
SELECT verdict.signal AS signal, count() AS evictions FROM oomtrace_last_revisions WHERE evicted GROUP BY ALL ORDER BY ALL;

-- How many kills were there, by workload and hour?
SELECT formatDateTime(ts, '%Y-%m-%dT%H') AS hour, pod.namespace AS namespace, workload, sum(kills_new) AS killed
FROM oomtrace_incidents GROUP BY ALL HAVING killed > 0 ORDER BY ALL;

-- Who hits its own limit again and again, and what would be enough?
SELECT pod.namespace AS namespace, workload, container.name AS container_name, sum(kills) AS killed,
    max(limit_bytes) AS highest_limit_bytes, max(verdict.suggested_limit_bytes) AS suggested_limit_bytes
FROM oomtrace_last_revisions WHERE verdict.scenario = 'container_limit' GROUP BY ALL HAVING killed > 1 ORDER BY killed DESC;

-- On which nodes did all pods together hit their limit?
SELECT node, sum(kills) AS killed FROM oomtrace_last_revisions WHERE verdict.scenario = 'allocatable_oom' GROUP BY ALL ORDER BY ALL;

-- What was lost, and where?
SELECT node, `from`, output, sum(`count`) AS lost FROM oomtrace FINAL WHERE kind = 'lost' GROUP BY ALL ORDER BY ALL;

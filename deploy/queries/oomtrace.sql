-- Questions to oomtrace's JSON lines in DuckDB: duckdb -cmd "SET VARIABLE events = 'events.jsonl'" -f deploy/queries/oomtrace.sql
-- `events` may be a pattern, and files may be compressed. An incident is printed again with a higher `revision` when something
-- is added: `kills_new` may be summed over all lines, what a verdict says is that of the last revision.
SET TimeZone = 'UTC';

CREATE OR REPLACE TEMP VIEW lines AS SELECT * FROM read_json(getvariable('events'), format = 'newline_delimited', columns = {
    ts: 'TIMESTAMPTZ', node: 'VARCHAR', kind: 'VARCHAR', id: 'VARCHAR', revision: 'UBIGINT', severity: 'VARCHAR',
    pod: 'STRUCT(namespace VARCHAR, name VARCHAR, owner STRUCT(kind VARCHAR, name VARCHAR))',
    container: 'STRUCT(name VARCHAR)', cgroup: 'STRUCT(path VARCHAR, unit VARCHAR)',
    verdict: 'STRUCT(scenario VARCHAR, invisible BOOLEAN, signal VARCHAR, suggested_limit_bytes UBIGINT)', limit_bytes: 'UBIGINT',
    kills: 'UBIGINT', kills_new: 'UBIGINT', evicted: 'BOOLEAN', "from": 'VARCHAR', output: 'VARCHAR', count: 'UBIGINT'});
CREATE OR REPLACE TEMP VIEW incidents AS
    SELECT *, coalesce(pod.owner.name, pod.name, cgroup.unit, cgroup.path) AS workload FROM lines WHERE kind = 'incident';
CREATE OR REPLACE TEMP VIEW last_revisions AS
    SELECT * FROM incidents QUALIFY row_number() OVER (PARTITION BY node, id ORDER BY revision DESC) = 1;

-- Who was killed most?
SELECT pod.namespace AS namespace, workload, sum(kills_new)::BIGINT AS kills
FROM incidents GROUP BY ALL HAVING kills > 0 ORDER BY kills DESC;

-- Which kills does Kubernetes not show?
SELECT pod.namespace AS namespace, pod.name AS pod, container.name AS container, kills::BIGINT AS kills
FROM last_revisions WHERE verdict.invisible AND kills > 0 ORDER BY ALL;

-- How many evictions were there, by signal?
SELECT verdict.signal AS signal, count(*) AS evictions FROM last_revisions WHERE evicted GROUP BY ALL ORDER BY ALL;

-- How many kills were there, by workload and hour?
SELECT strftime(ts, '%Y-%m-%dT%H') AS hour, pod.namespace AS namespace, workload, sum(kills_new)::BIGINT AS kills
FROM incidents GROUP BY ALL HAVING kills > 0 ORDER BY ALL;

-- Who hits its own limit again and again, and what would be enough?
SELECT pod.namespace AS namespace, workload, container.name AS container, sum(kills)::BIGINT AS kills,
    max(limit_bytes)::BIGINT AS limit_bytes, max(verdict.suggested_limit_bytes)::BIGINT AS suggested_limit_bytes
FROM last_revisions WHERE verdict.scenario = 'container_limit' GROUP BY 1, 2, 3 HAVING sum(kills) > 1 ORDER BY kills DESC;

-- On which nodes did all pods together hit their limit?
SELECT node, sum(kills)::BIGINT AS kills FROM last_revisions WHERE verdict.scenario = 'allocatable_oom' GROUP BY ALL ORDER BY ALL;

-- What was lost, and where?
SELECT node, "from", output, sum(count)::BIGINT AS count FROM lines WHERE kind = 'lost' GROUP BY ALL ORDER BY ALL;

"""Makes the incidents of a fleet, and asks the questions of deploy/queries about them.

    fleet.py QUERIES FILE INCIDENTS      QUERIES is the folder

Prints a line for each question: how long it took in seconds, how many rows it has, and whether they are right. What is right follows
from how the incidents were made: see EXPECTED.
"""

import json
import os
import re
import sys
import tempfile
import time

import duckdb
from chdb import session

NODES, WORKLOADS = 100, 2000

# Two lines of each: it opens with one kill or an eviction, and is closed with the rest. Every twentieth is an eviction.
MADE = f"""
WITH made AS (
    SELECT i, i % 20 = 1 AS evicted, CASE WHEN i % 20 = 1 THEN 0 ELSE 1 + i % 5 END AS kills FROM range($incidents) made(i)
)
SELECT
    strftime(TIMESTAMP '2026-11-01' + to_seconds((i * 7 + revision) % 2592000), '%Y-%m-%dT%H:%M:%S.000000000Z') AS ts,
    i * 2 + revision AS seq, 'node' || i % {NODES} AS node, 'incident' AS kind, printf('%016x', i) AS id,
    revision, CASE revision WHEN 1 THEN 'open' ELSE 'closed' END AS state, 'memory' AS severity,
    {{'namespace': 'team-' || i % 40, 'name': printf('app%d-%05x', i % {WORKLOADS}, i % 1048576),
      'owner': {{'kind': 'ReplicaSet', 'name': 'app' || i % {WORKLOADS}}}}} AS pod,
    {{'name': 'app'}} AS container,
    {{'scenario': CASE i % 20 WHEN 0 THEN 'allocatable_oom' WHEN 1 THEN 'node_pressure_evicted' ELSE 'container_limit' END,
      'invisible': i % 7 = 0, 'signal': CASE i % 20 WHEN 1 THEN 'memory.available' END, 'suggested_limit_bytes': 100663296,
      'summary': 'The kernel killed a process in a container because the container hit its memory limit of 64 MiB.',
      'advice': 'Raise the limit, or find out what grows.', 'confidence': 'high'}} AS verdict,
    67108864 AS limit_bytes, evicted,
    CASE revision WHEN 1 THEN least(kills, 1) ELSE kills END AS kills,
    CASE revision WHEN 1 THEN least(kills, 1) ELSE greatest(kills - 1, 0) END AS kills_new
FROM made, range(1, 3) revisions(revision) ORDER BY i, revision
"""


def expected(incidents):
    """What each question's rows have to add up to, in the order of the questions."""
    kills = [0 if i % 20 == 1 else 1 + i % 5 for i in range(incidents)]
    every = sum(kills)
    return [
        every,
        sum(kills[i] for i in range(0, incidents, 7)),
        len(range(1, incidents, 20)),
        every,
        sum(kills[i] for i in range(incidents) if i % 20 > 1),
        sum(kills[i] for i in range(0, incidents, 20)),
        0,
    ]


# The column that is added up.
COLUMNS = [2, 3, 1, 3, 3, 1, 3]


def timed(what):
    started = time.monotonic()
    result = what()
    return result, time.monotonic() - started


def in_duckdb(text, file):
    connection = duckdb.connect()
    connection.execute("SET VARIABLE events = $path", {"path": file})
    for statement in connection.extract_statements(text):
        rows, took = timed(lambda: connection.execute(statement).fetchall())
        if statement.type == duckdb.StatementType.SELECT:
            yield rows, took


def in_clickhouse(text, file):
    with tempfile.TemporaryDirectory(dir=os.path.dirname(file)) as folder:
        database = session.Session(folder)
        # The table and its views come first, and are empty until then.
        made, questions = text.split("\n-- Who", 1)
        for statement in made.split(";\n"):
            database.query(statement)
        _, took = timed(lambda: database.query(f"INSERT INTO oomtrace (line) SELECT * FROM file('{file}', LineAsString)"))
        size = database.query("SELECT sum(bytes_on_disk) FROM system.parts WHERE table = 'oomtrace' AND active", "TSV")
        print(f"loaded   {int(str(size)) >> 20} MiB in the table, in {took:.1f} s")
        for statement in f"-- Who{questions}".split(";\n"):
            if statement.strip():
                rows, took = timed(lambda: str(database.query(statement, "JSONCompactEachRow")))
                yield [json.loads(row) for row in rows.splitlines()], took


def ask(engine, queries, file, incidents):
    text = open(queries).read()
    questions = re.findall(r"^-- (.*\?)$", text, re.MULTILINE)
    right = True
    answers = zip(engine(text, file), questions, COLUMNS, expected(incidents), strict=True)
    for (rows, took), question, column, wanted in answers:
        found = sum(row[column] for row in rows)
        right &= found == wanted
        verdict = "right" if found == wanted else f"WRONG: {found} instead of {wanted}"
        print(f"{took:7.1f} s {len(rows):7} rows  {verdict}  {question}")
    return right


def main(queries, file, incidents):
    made = MADE.replace("$incidents", incidents)
    _, took = timed(lambda: duckdb.connect().execute(f"COPY ({made}) TO '{file}' (FORMAT json)"))
    print(f"made     {incidents} incidents of {NODES} nodes, {os.path.getsize(file) >> 20} MiB, in {took:.1f} s")
    right = True
    for name, engine, asked in ENGINES:
        print(f"== {name}")
        right &= ask(engine, f"{queries}/{asked}", file, int(incidents))
    sys.exit(0 if right else 1)


ENGINES = [
    ("DuckDB, which reads the file anew", in_duckdb, "oomtrace.sql"),
    ("ClickHouse", in_clickhouse, "oomtrace.clickhouse.sql"),
]

main(*sys.argv[1:])

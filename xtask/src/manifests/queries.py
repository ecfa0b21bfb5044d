"""Runs what is in deploy/ on JSON lines for `cargo xtask manifests`.

    duckdb QUERIES EVENTS        each query's rows, a JSON array of arrays a line
    clickhouse QUERIES EVENTS    the same, of lines that were loaded twice, and at last the lines that come back
    otlp                         OTLP logs on standard input, an object a line: the name and the pod of each record
    vrl PROGRAM                  objects on standard input, a line each: what the program makes of them, a line each
"""

import json
import re
import sys
import tempfile


def duckdb(queries, events):
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET VARIABLE events = $path", {"path": events})
    for statement in connection.extract_statements(open(queries).read()):
        result = connection.execute(statement)
        if statement.type == duckdb.StatementType.SELECT:
            print(json.dumps(result.fetchall()))


def clickhouse(queries, events):
    from chdb import session

    with tempfile.TemporaryDirectory() as folder:
        database = session.Session(folder)

        def answers():
            for statement in open(queries).read().split(";\n"):
                statement = re.sub("^--.*\n", "", statement, flags=re.MULTILINE).strip()
                rows = str(database.query(statement, "JSONCompactEachRow")) if statement else ""
                if statement.startswith("SELECT"):
                    yield "[" + ",".join(rows.splitlines()) + "]"

        list(answers())
        for _ in range(2):
            database.query(f"INSERT INTO oomtrace (line) SELECT * FROM file('{events}', LineAsString)")
        for rows in answers():
            print(rows)
        back = str(database.query("SELECT line FROM oomtrace FINAL ORDER BY ts, seq", "LineAsString"))
        print(json.dumps(back.splitlines()))


def otlp():
    from google.protobuf.json_format import ParseDict
    from opentelemetry.proto.logs.v1.logs_pb2 import LogsData

    for line in sys.stdin:
        # A field that OTLP does not have, or a value of another type, is an error.
        logs = ParseDict(json.loads(line), LogsData(), ignore_unknown_fields=False)
        for resource in logs.resource_logs:
            for record in (record for scope in resource.scope_logs for record in scope.log_records):
                attributes = {attribute.key: attribute.value.string_value for attribute in record.attributes}
                said = bool(record.body.string_value) and record.severity_number > 0 and record.time_unix_nano > 0
                print(json.dumps([record.event_name, attributes.get("k8s.pod.name"), said]))


def vrl(program):
    from vrl_python import VRLRuntime

    runtime, source = VRLRuntime(), open(program).read()
    for line in sys.stdin:
        try:
            print(json.dumps(runtime.execute(source, json.loads(line)).processed_event, default=str))
        except RuntimeError as error:
            if "aborted" not in str(error):
                raise
            # The event is dropped.
            print("null")


if __name__ == "__main__":
    {"duckdb": duckdb, "clickhouse": clickhouse, "otlp": otlp, "vrl": vrl}[sys.argv[1]](*sys.argv[2:])

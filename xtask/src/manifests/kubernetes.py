"""Reads, renders and judges Kubernetes manifests for `cargo xtask manifests`: YAML or a chart in, JSON out.

    read                         YAML documents on standard input, a JSON array on standard output
    chart FOLDER VALUES          the chart as Helm renders it with these values (JSON), as a JSON array
    lint FOLDER VALUES           what `helm lint --strict` finds, a line each
    validate VERSION             a JSON array on standard input; what the API of that version would refuse, a line each
"""

import json
import sys

import yaml


def documents(text):
    return [document for document in yaml.safe_load_all(text) if document]


def read():
    json.dump(documents(sys.stdin.read()), sys.stdout)


def chart(folder, values):
    import helm_python

    with helm_python.Chart.load(folder) as loaded:
        files = loaded.render(json.loads(values), name="oomtrace", namespace="oomtrace")
    texts = [text for path, text in sorted(files.items()) if path.endswith(".yaml")]
    json.dump([document for text in texts for document in documents(text)], sys.stdout)


def lint(folder, values):
    import helm_python

    report = helm_python.lint(folder, json.loads(values), strict=True)
    # Severity 1 is information, as that the chart has no icon.
    for message in report["messages"]:
        if message["severity"] > 1:
            print(message["error"])
    for error in report["errors"]:
        print(error)


def validate(version):
    import kubernetes_validate

    for manifest in json.load(sys.stdin):
        name = f"{manifest['kind']} {manifest['metadata']['name']}"
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            print(f"{name}: {'.'.join(map(str, error.path))}: {error.message}")


if __name__ == "__main__":
    {"read": read, "chart": chart, "lint": lint, "validate": validate}[sys.argv[1]](*sys.argv[2:])

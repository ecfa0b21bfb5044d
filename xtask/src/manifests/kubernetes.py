"""Reads and judges Kubernetes manifests for `cargo xtask manifests`: YAML in, JSON out.

    read                         YAML documents on standard input, a JSON array on standard output
    validate VERSION             a JSON array on standard input; what the API of that version would refuse, a line each
"""

import json
import sys

import yaml


def documents(text):
    return [document for document in yaml.safe_load_all(text) if document]


def read():
    json.dump(documents(sys.stdin.read()), sys.stdout)


def validate(version):
    import kubernetes_validate

    for manifest in json.load(sys.stdin):
        name = f"{manifest['kind']} {manifest['metadata']['name']}"
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            print(f"{name}: {'.'.join(map(str, error.path))}: {error.message}")


if __name__ == "__main__":
    {"read": read, "validate": validate}[sys.argv[1]](*sys.argv[2:])

"""Checks an image: one program and certificates, and who runs it how. Arguments: its name, what buildah inspects, its root."""

import json
import sys
from pathlib import Path

HEALTH = {
    "kinesis-local": ["CMD", "/kinesis-local", "health"],
    "kds": None,
    "kcl-multilang": ["CMD", "/kcl-multilang", "--health"],
    "stock-consumer": ["CMD", "/stock-consumer", "--health"],
}


def main():
    name, inspected, root = sys.argv[1], json.loads(Path(sys.argv[2]).read_text()), Path(sys.argv[3])
    config = inspected["Docker"]["config"]
    found = {key: config.get(key) for key in ("User", "StopSignal")}
    assert found == {"User": "65532:65532", "StopSignal": "SIGTERM"}, found
    assert config["Entrypoint"][0] == f"/{name}", config
    assert (config.get("Healthcheck") or {}).get("Test") == HEALTH[name], config

    files = {str(path.relative_to(root)): path.stat() for path in root.rglob("*") if path.is_file()}
    assert set(files) == {name, "etc/ssl/certs/ca-certificates.crt"}, set(files)
    for path in root.rglob("*"):
        stat = path.stat()
        assert stat.st_uid == 0 and not stat.st_mode & 0o022, f"{path} can be written"
    assert files[name].st_mode & 0o001, f"{name} cannot be run"
    assert b"BEGIN CERTIFICATE" in (root / "etc/ssl/certs/ca-certificates.crt").read_bytes()
    size = sum(stat.st_size for stat in files.values())
    print(f"{name}: {size / (1 << 20):.1f} MiB of this build, {len(files)} files, user {config['User']}")


main()

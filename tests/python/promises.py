"""Runs schemathesis over the served openapi.yaml: the caller that the document names, and ids of things that exist."""

import json
import os
import pathlib
import subprocess
import sys
import urllib.request

MARKET = json.loads(os.environ["SOUK_MARKET"])
HERE = pathlib.Path(__file__).resolve().parent


def main():
    served = urllib.request.urlopen(MARKET["base"] + "/openapi.yaml").read().decode()
    # The examples speak of what is there.
    for example, real in MARKET["ids"]:
        served = served.replace(example, real)
    # In this spelling schemathesis sends a file for what is one.
    served = served.replace("contentMediaType: image/*\n", "format: binary\n")
    schema = pathlib.Path(MARKET["scratch"]) / "openapi.yaml"
    schema.parent.mkdir(parents=True, exist_ok=True)
    schema.write_text(served)
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "schemathesis.toml")]
    command += ["run", str(schema), "--url", MARKET["base"], "--max-examples", MARKET["examples"], "--no-color"]
    environment = dict(os.environ, SCHEMATHESIS_HOOKS="promises_hooks", PYTHONPATH=os.pathsep.join(
        [str(HERE), str(HERE / "packages")]), PYTHONDONTWRITEBYTECODE="1")
    sys.exit(subprocess.call(command, env=environment, cwd=MARKET["scratch"]))


main()

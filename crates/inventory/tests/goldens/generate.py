#!/usr/bin/env python3
"""Makes the golden data of these tests with the real Ansible.

    python3 -m venv venv && venv/bin/pip install 'ansible-core==2.18.*' netaddr passlib
    venv/bin/python generate.py [inventories|patterns|yaml|jinja ...]

What each file holds is said in README.md of the crate. The data was made with ansible-core 2.18, the
release that kubespray asks for, and for expressions with 2.19 too (`generate.py jinja --as 2.19`),
because the rules for types changed between them. Run by people, never by the tests.
"""

import json
import os
import shlex
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent


def cases(path):
    """Cases of one text: name, arguments, whether reading must fail, files with their flags."""
    case = None
    target = None
    for line in path.read_text().splitlines(keepends=True):
        if line.startswith("##### "):
            if case:
                yield case
            case = {"name": line[6:].strip(), "args": "-i hosts", "fails": False, "files": []}
            target = None
        elif line.startswith("$ "):
            case["args"] = line[2:].strip()
        elif line.startswith("! "):
            case["fails"] = True
        elif line.startswith("=== "):
            name, *flags = line[4:].split()
            target = {"name": name, "flags": flags, "text": ""}
            case["files"].append(target)
        elif target is not None:
            target["text"] += line
    if case:
        yield case


def encrypt(root, text, name=None, label=None):
    """What ansible-vault makes of a text with the password in `pw`."""
    secret = root / "plain"
    secret.write_text(text)
    if name:
        command = ["ansible-vault", "encrypt_string", "--vault-password-file", "pw", "--name", name, text]
        run = subprocess.run([BIN / command[0], *command[1:]], cwd=root, capture_output=True, text=True, check=True)
        secret.unlink()
        return run.stdout
    password = ["--vault-id", f"{label}@pw", "--encrypt-vault-id", label] if label else ["--vault-password-file", "pw"]
    command = ["ansible-vault", "encrypt", *password, "plain"]
    subprocess.run([BIN / command[0], *command[1:]], cwd=root, capture_output=True, text=True, check=True)
    encrypted = secret.read_text()
    secret.unlink()
    return encrypted


def environment():
    keep = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LANG": "C.UTF-8"}
    # Groups named with a dash are what old inventories have; the setting is kubespray's own.
    keep["ANSIBLE_TRANSFORM_INVALID_GROUP_CHARS"] = "ignore"
    keep["ANSIBLE_LOCAL_TEMP"] = tempfile.gettempdir()
    return keep


def inventories():
    for path in sorted((HERE / "inventories").glob("*.txt")):
        listed = {}
        for case in cases(path):
            with tempfile.TemporaryDirectory() as directory:
                root = Path(directory)
                # The password comes before what it encrypts.
                for file in sorted(case["files"], key=lambda file: not file["name"].startswith("pw")):
                    target = root / file["name"]
                    target.parent.mkdir(parents=True, exist_ok=True)
                    text = file["text"]
                    for flag in file["flags"]:
                        if flag == "vault" or flag.startswith("vault="):
                            text = encrypt(root, text, label=flag.partition("=")[2] or None)
                            listed.setdefault("_encrypted", {})[f"{case['name']}:{file['name']}"] = text
                        elif flag.startswith("inline-vault="):
                            text += encrypt(root, "hush hush", name=flag.partition("=")[2])
                            listed.setdefault("_encrypted", {})[f"{case['name']}:{file['name']}"] = text
                        elif flag == "crlf":
                            text = text.replace("\n", "\r\n")
                    target.write_text(text, newline="")
                    if "+x" in file["flags"]:
                        target.chmod(target.stat().st_mode | stat.S_IXUSR)
                command = [BIN / "ansible-inventory", *shlex.split(case["args"]), "--list"]
                run = subprocess.run(command, cwd=root, capture_output=True, text=True, env=environment())
                failed = run.returncode != 0 or "Failed to parse" in run.stderr or "Unable to parse" in run.stderr
                if failed != case["fails"] and case["name"] != "empty-file":
                    print(f"{path.name}: {case['name']}: {run.stderr}", file=sys.stderr)
                if case["fails"]:
                    listed[case["name"]] = {"fails": True}
                    continue
                graph = subprocess.run([*command[:-1], "--graph"], cwd=root, capture_output=True, text=True, env=environment())
                listed[case["name"]] = {"list": json.loads(run.stdout), "graph": graph.stdout.rstrip("\n")}
        write(path.with_suffix(".json"), listed)


def patterns():
    from ansible.inventory.manager import InventoryManager
    from ansible.parsing.dataloader import DataLoader

    manager = InventoryManager(loader=DataLoader(), sources=[str(HERE / "patterns.ini")])
    results = {}
    for pattern in (HERE / "patterns.txt").read_text().splitlines():
        try:
            results[pattern] = [host.name for host in manager.get_hosts(pattern)]
        except Exception:
            results[pattern] = None
    write(HERE / "patterns.json", results)


def write(path, data):
    path.write_text(json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    print(f"{path.relative_to(HERE)}: {len(data)}")


def plain(value):
    """Data without Ansible's own classes; what JSON cannot say is spelled out."""
    from collections.abc import Mapping

    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if abs(value) < 2**63 else {"big": str(value)}
    if isinstance(value, float):
        return float(value) if value == value and abs(value) != float("inf") else {"float": str(value)}
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping):
        return {str(json.loads(json.dumps({key: 0}).split(":")[0][1:])) if not isinstance(key, str) else str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    return str(value)


def yaml():
    from ansible.parsing.dataloader import DataLoader

    results = []
    for text in (HERE / "yaml_scalars.txt").read_text().splitlines():
        if not text or text.startswith("# "):
            continue
        try:
            # Two characters stand for what cannot be written on one line.
            value = DataLoader().load("v: " + text.replace("␤", "\n").replace("␉", "\t"))["v"]
            results.append({"yaml": text, "value": plain(value)})
        except Exception:
            results.append({"yaml": text, "fails": True})
    write(HERE / "yaml_scalars.json", results)


def jinja(version):
    from ansible.parsing.dataloader import DataLoader
    from ansible.release import __version__
    from ansible.template import Templar

    if not __version__.startswith(version + "."):
        sys.exit(f"this is ansible-core {__version__}, not {version}")
    loader = DataLoader()
    variables = loader.load((HERE / "jinja_vars.yml").read_text())
    path = HERE / "jinja.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    for line in (HERE / "jinja.txt").read_text().splitlines():
        if not line or line.startswith("# "):
            continue
        text = line.replace("␤", "\n")
        trust = getattr(__import__("ansible.template", fromlist=["trust_as_template"]), "trust_as_template", str)

        def trusted(value):
            if isinstance(value, dict):
                return {key: trusted(item) for key, item in value.items()}
            if isinstance(value, list):
                return [trusted(item) for item in value]
            return trust(value) if isinstance(value, str) else value

        try:
            # 2.18 would convert lazily inside HostVars; here the plain variables are enough.
            templar = Templar(loader=loader, variables=trusted(variables))
            value = templar.template(trust(text))
            result = {"value": plain(value)}
        except Exception as error:
            result = {"fails": str(error).splitlines()[0][:120]}
        results.setdefault(line, {})[version] = result
    known = {line for line in (HERE / "jinja.txt").read_text().splitlines()}
    write(path, {line: result for line, result in results.items() if line in known})


if __name__ == "__main__":
    arguments = sys.argv[1:]
    version = "2.18"
    if "--as" in arguments:
        at = arguments.index("--as")
        version = arguments[at + 1]
        del arguments[at : at + 2]
    for what in arguments or ["inventories", "patterns", "yaml", "jinja"]:
        {"inventories": inventories, "patterns": patterns, "yaml": yaml, "jinja": lambda: jinja(version)}[what]()

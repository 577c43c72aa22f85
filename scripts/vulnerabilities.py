"""Known vulnerabilities of what locks/requirements.txt installs: `make vulnerabilities`.

Ends with 1 where there are some. Where the database cannot be reached, it says that nothing was checked.
"""

import json
import subprocess
import sys

AUDIT = ["--requirement", "locks/requirements.txt", "--disable-pip", "--vulnerability-service", "osv"]


def report(output: str, errors: str) -> tuple[str, int]:
    """What to print, and the exit status, by what pip-audit wrote as JSON."""
    try:
        packages = json.loads(output)["dependencies"]
    except ValueError:
        reason = errors.strip().splitlines()[-1:] or ["no answer"]
        return f"skipped, nothing was checked: the database of vulnerabilities cannot be reached ({reason[0]})", 0
    found = [
        f"{one['name']} {one['version']}: {fault['id']}; fixed in {', '.join(fault['fix_versions']) or 'none yet'}"
        for one in packages
        for fault in one.get("vulns", [])
    ]
    return "\n".join([f"{len(packages)} packages, {len(found)} known vulnerabilities", *found]), int(bool(found))


if __name__ == "__main__":
    command = [sys.executable, "-m", "pip_audit", *AUDIT, "--format", "json", "--progress-spinner", "off"]
    ended = subprocess.run(command, capture_output=True, text=True)
    text, status = report(ended.stdout, ended.stderr)
    print(text)
    sys.exit(status)

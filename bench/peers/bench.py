"""Runs the workload with every tool on N machines, side by side, and writes what it cost. Called by bench/peers.sh.

A machine is an address of the loopback interface, a folder to work in, and an sshd that sees a /var/lib of its own.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time

import measure
import relay

HERE = os.path.dirname(os.path.abspath(__file__))
NAMES = ["10.conf", "20.conf", "30.conf", "40.conf", "50.conf", "60.conf"]
TOOLS = {
    "floor": "ssh, one hand-written program",
    "muster": "muster",
    "pyinfra": "pyinfra",
    "mitogen": "ansible + mitogen",
    "tuned": "ansible tuned",
    "default": "ansible default",
}


class Farm:
    """The machines, and the files every tool needs to reach them."""

    def __init__(self, work, number, delay):
        self.work, self.delay = work, delay
        self.files, self.log = f"{work}/files", f"{work}/sshd.log"
        self.key, self.known = f"{work}/key", f"{work}/known_hosts"
        self.hosts = [f"h{i}" for i in range(1, number + 1)]
        # With a delay the relay answers at another address and passes on to this one.
        self.real = {h: f"127.0.{1 + i // 200}.{1 + i % 200}" for i, h in enumerate(self.hosts)}
        second = 100 if delay else 0
        self.address = {h: a.replace("127.0.", f"127.{second}.") for h, a in self.real.items()}
        shutil.rmtree(work, ignore_errors=True)
        os.makedirs(self.files)
        for name in NAMES:
            with open(f"{self.files}/{name}", "w") as file:
                file.writelines(f"setting_{n} = the value of number {n} in {name}\n" for n in range(40))
        for name in ["key", "host"]:
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{work}/{name}"], check=True)
        with open(f"{work}/host.pub") as public, open(self.known, "w") as known:
            kind, blob = public.read().split()[:2]
            known.writelines(f"{self.address[h]} {kind} {blob}\n" for h in self.hosts)
        os.makedirs("/run/sshd", exist_ok=True)
        # SHLVL: bash reads ~/.bashrc when sshd starts it, but not below another shell; what this computer's has in there must
        # not count against those that start many programs.
        with open(f"{work}/sshd_config", "w") as config:
            config.write(f"PidFile none\nHostKey {work}/host\nAuthorizedKeysFile {work}/key.pub\nSetEnv SHLVL=1\n"
                         "StrictModes no\nUsePAM no\nUseDNS no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n"
                         "LogLevel VERBOSE\nSubsystem sftp internal-sftp\n")
        self.write_inventories()
        if delay:
            relay.start([(self.address[h], self.real[h]) for h in self.hosts], delay)
        self.sshds = []
        for host, address in self.real.items():
            os.makedirs(f"{work}/var/{host}")
            bind = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /var/lib && exec "$@"', f"{work}/var/{host}"]
            sshd = ["/usr/sbin/sshd", "-D", "-f", f"{work}/sshd_config", "-E", self.log, "-o", f"ListenAddress={address}:22"]
            self.sshds.append(subprocess.Popen(bind + sshd, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL))
        for _ in range(400):
            if os.path.exists(self.log) and open(self.log).read().count("Server listening") == number:
                return
            time.sleep(0.05)
        self.stop()
        sys.exit(f"sshd does not start: see {self.log}")

    def root(self, host):
        return f"{self.work}/hosts/{host}"

    def write_inventories(self):
        interpreter = os.path.realpath(sys.executable)
        with open(f"{self.work}/inventory.ini", "w") as ini:
            ini.writelines(f"{h} ansible_host={self.address[h]} root={self.root(h)}\n" for h in self.hosts)
            ini.write(f"[all:vars]\nansible_user=root\nansible_ssh_private_key_file={self.key}\nfiles={self.files}\n"
                      f"templates={HERE}/templates\nansible_python_interpreter={interpreter}\n"
                      f"ansible_ssh_common_args=-o UserKnownHostsFile={self.known}\n")
        with open(f"{self.work}/inventory.py", "w") as python:
            machines = [(h, {"ssh_hostname": self.address[h], "root": self.root(h)}) for h in self.hosts]
            data = {"ssh_user": "root", "ssh_key": self.key, "ssh_known_hosts_file": self.known,
                    "ssh_strict_host_key_checking": "yes", "files": self.files, "templates": f"{HERE}/templates"}
            python.write(f"machines = ({machines!r}, {data!r})\n")
        with open(f"{self.work}/ansible.cfg", "w") as config:
            config.write("[defaults]\n")
        self.write_program()

    def write_program(self):
        """The floor: the program with the files in it, and one ssh for each machine."""
        with open(f"{HERE}/floor.sh") as source:
            text = source.read()
        lines = []
        for name in NAMES:
            with open(f"{self.files}/{name}") as file:
                lines.append(f"content app/conf.d/{name} '{file.read().rstrip()}'\n")
        with open(f"{self.work}/floor.sh", "w") as program:
            program.write(text.replace("FILES\n", "".join(lines)))
        with open(f"{self.work}/hosts.txt", "w") as hosts:
            hosts.writelines(f"{h} {self.address[h]} {self.root(h)}\n" for h in self.hosts)
        # OpenSSH's default key exchange costs its client 0.1 s of processor time; this one is the fast one.
        ssh = (f"ssh -F none -o BatchMode=yes -o KexAlgorithms=curve25519-sha256 -o UserKnownHostsFile={self.known} "
               f"-i {self.key} root@$2")
        # With an argument that is the command, otherwise the workload.
        one = (f"[ -z \"$COMMAND\" ] || exec {ssh} $COMMAND </dev/null\n"
               f"{{ cat {self.work}/floor.sh; echo \"floor $3 $1 </dev/null\"; }} | {ssh} 'exec sh -s'")
        with open(f"{self.work}/one.sh", "w") as script:
            script.write(one + "\n")
        with open(f"{self.work}/run-floor.sh", "w") as script:
            script.write(f"COMMAND=${{1-}} xargs -P 64 -L 1 sh {self.work}/one.sh <{self.work}/hosts.txt\n")

    def fresh(self):
        # Modules of a run that was stopped may still write there.
        while os.path.exists(f"{self.work}/hosts"):
            shutil.rmtree(f"{self.work}/hosts", ignore_errors=True)
        for host in self.hosts:
            os.makedirs(self.root(host))
            with open(f"{self.root(host)}/profile", "w") as profile:
                profile.write("# Read by login shells\nexport LANG=C.UTF-8\n")

    def state(self, host, times):
        """Everything below a machine's folder as one hash; with the times of change where nothing may have been touched."""
        digest = hashlib.sha256()
        for folder, folders, files in os.walk(self.root(host)):
            folders.sort()
            for name in sorted(files + [f for f in folders if os.path.islink(f"{folder}/{f}")]) + ["."]:
                path = f"{folder}/{name}"
                status = os.lstat(path)
                parts = [os.path.relpath(path, self.root(host)), oct(status.st_mode)]
                if os.path.islink(path):
                    parts = [parts[0], os.readlink(path)]
                elif os.path.isfile(path) and name != "created":
                    parts.append(open(path).read())
                if times:
                    parts.append(str(status.st_mtime_ns))
                digest.update(json.dumps(parts).encode())
        return digest.hexdigest()

    def states(self, times):
        return [self.state(host, times) for host in self.hosts]

    def logged(self):
        """Logins, and programs or subsystems started, since the log began."""
        with open(self.log, errors="replace") as log:
            text = log.read()
        return text.count("Accepted publickey"), len(re.findall(r"Starting session: ", text))

    def stop(self):
        for sshd in self.sshds:
            sshd.terminate()
        for sshd in self.sshds:
            sshd.wait()


def one_command(tool, farm, arguments):
    """What runs `true` everywhere, and its environment."""
    bin_, ini = os.path.dirname(sys.executable), f"{farm.work}/inventory.ini"
    _, environment = command(tool, farm, arguments)
    environment |= {"MUSTER_KNOWN_HOSTS": farm.known}
    return {
        "floor": ["sh", f"{farm.work}/run-floor.sh", "true"],
        "muster": [arguments.program, "exec", "all", "-i", ini, "--", "true"],
        "pyinfra": [f"{bin_}/pyinfra", "-y", f"{farm.work}/inventory.py", "exec", "--", "true"],
    }.get(tool, [f"{bin_}/ansible", "all", "-i", ini, "-m", "command", "-a", "true"]), environment


def command(tool, farm, arguments):
    """What runs the workload, and its environment."""
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "LANG": "C.UTF-8"}
    bin_ = os.path.dirname(sys.executable)
    if tool == "floor":
        return ["sh", f"{farm.work}/run-floor.sh"], environment
    if tool == "muster":
        paths = [f"{farm.work}/inventory.ini", farm.key, farm.known, farm.files, f"{HERE}/templates"]
        return [arguments.muster, *paths], environment
    if tool == "pyinfra":
        return [f"{bin_}/pyinfra", "-y", f"{farm.work}/inventory.py", f"{HERE}/deploy.py"], environment
    environment |= {"ANSIBLE_LOCALHOST_WARNING": "no", "ANSIBLE_CONFIG": f"{farm.work}/ansible.cfg"}
    if tool != "default":
        environment |= {"ANSIBLE_FORKS": "50", "ANSIBLE_PIPELINING": "True",
                        "ANSIBLE_SSH_ARGS": "-o ControlMaster=auto -o ControlPersist=60s"}
    if tool == "mitogen":
        strategies = subprocess.run(
            [sys.executable, "-c", "import ansible_mitogen; print(ansible_mitogen.__path__[0])"],
            check=True, capture_output=True, text=True).stdout.strip()
        environment |= {"ANSIBLE_STRATEGY_PLUGINS": f"{strategies}/plugins/strategy", "ANSIBLE_STRATEGY": "mitogen_linear"}
    return [f"{bin_}/ansible-playbook", "-i", f"{farm.work}/inventory.ini", f"{HERE}/playbook.yml"], environment


class Sample(dict):
    __getattr__ = dict.__getitem__


def sample(tool, which, farm, arguments):
    words, environment = (one_command if which == "command" else command)(tool, farm, arguments)
    logins, sessions = farm.logged()
    log = f"{farm.work}/{tool}-{which}.log"
    before = farm.states(True) if which == "second" else None
    wall, cpu, peak, status = measure.run(words, log, arguments.limit, env=environment, cwd=farm.work)
    if status is None:
        print(f"  {tool} {which}: stopped after {wall:.0f} s", flush=True)
        return Sample(wall=wall, cpu=cpu, peak=peak, sessions=None, logins=None, stopped=True)
    if status != 0:
        sys.exit(f"{tool} failed with status {status}: {log}\n{open(log, errors='replace').read()[-3000:]}")
    if before and before != farm.states(True):
        sys.exit(f"{tool}: the second run changed something: {log}")
    logins_after, sessions_after = farm.logged()
    number = len(farm.hosts)
    counted = Sample(wall=wall, cpu=cpu, peak=peak, stopped=False,
                     sessions=(sessions_after - sessions) / number, logins=(logins_after - logins) / number)
    if tool == "muster" and which != "command":
        # It opens sessions ahead; what it sends is counted by itself.
        counted["sessions"] = float(re.search(r"exchanges=([\d.]+)", open(log).read())[1])
    print(f"  {tool} {which}: {wall:.2f} s, CPU {cpu:.2f} s, {peak:.0f} MB, "
          f"{counted.sessions:.1f} programs and {counted.logins:.1f} logins a host", flush=True)
    return counted


def commands(farm, tools, repetitions, arguments):
    """One command everywhere, with every tool in turn, as a table."""
    results = {tool: [] for tool in tools}
    for repetition in range(max(repetitions.values())):
        for tool in [tool for tool in tools if repetition < repetitions[tool]]:
            results[tool].append(sample(tool, "command", farm, arguments))
    lines = ["| tool | one command s | CPU s | peak MB | runs |", "|---|---|---|---|---|"]
    for tool, samples in results.items():
        peak = max(s.peak for s in samples)
        lines.append(f"| {TOOLS[tool]} | {cell(samples, lambda s: s.wall)} | {cell(samples, lambda s: s.cpu)} "
                     f"| {peak:.0f} | {len(samples)} |")
    return "\n".join(lines)


def scenario(farm, tools, repetitions, second_only, arguments):
    """Every tool in turn, as often as wanted, on the same machines."""
    results, wanted = {(tool, which): [] for tool in tools for which in ["first", "second"]}, None
    for repetition in range(max(repetitions.values())):
        for tool in [tool for tool in tools if repetition < repetitions[tool]]:
            farm.fresh()
            done = False
            if tool not in second_only:
                results[tool, "first"].append(sample(tool, "first", farm, arguments))
                done = not results[tool, "first"][-1].stopped
            if not done:
                # The state that a second run begins with is the same, whoever has made it.
                farm.fresh()
                subprocess.run(command("floor", farm, arguments)[0], check=True, capture_output=True)
            state = farm.states(False)
            wanted = wanted or state
            if state != wanted:
                sys.exit(f"{tool} brought about something else than {tools[0]} did: see {farm.work}/hosts")
            results[tool, "second"].append(sample(tool, "second", farm, arguments))
    return results


def cell(samples, text):
    """The median of what `text` says of samples; with a sign where a run was stopped, so that it is only known to be more."""
    if not samples:
        return "-"
    return ("> " if any(s.stopped for s in samples) else "") + f"{statistics.median(map(text, samples)):.2f}"


def table(results, tools):
    floor = statistics.median(s.wall for s in results[tools[0], "second"])
    lines = [f"| tool | first run s | second run s | second, times the {tools[0]} | CPU s first / second | peak MB "
             "| programs, logins a host (second) | runs |", "|---|---|---|---|---|---|---|---|"]
    for tool in tools:
        first, second = results[tool, "first"], results[tool, "second"]
        counts = "-" if second[0].stopped else f"{second[0].sessions:.0f}, {second[0].logins:.0f}"
        lines.append(
            f"| {TOOLS[tool]} | {cell(first, lambda s: s.wall)} | {cell(second, lambda s: s.wall)} "
            f"| {cell(second, lambda s: s.wall / floor)} "
            f"| {cell(first, lambda s: s.cpu)} / {cell(second, lambda s: s.cpu)} "
            f"| {max(s.peak for s in first + second):.0f} | {counts} | {len(second)} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--muster", type=os.path.abspath, required=True, help="the program of crates/engine/examples/peers.rs")
    parser.add_argument("--program", type=os.path.abspath, help="muster itself: runs one command (true) on the machines instead of the workload")
    parser.add_argument("--work", required=True, help="a folder that is emptied")
    parser.add_argument("--limit", type=float, default=300, help="seconds after which a run is stopped and told as more than that")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--hosts", default="3,50,200,1000", help="numbers of machines, separated by commas")
    parser.add_argument("--delay", type=float, default=0, help="round trip in milliseconds")
    parser.add_argument("--tools", default=",".join(TOOLS))
    parser.add_argument("--report", required=True, help="file that the tables are appended to")
    arguments = parser.parse_args()
    # Stopped from outside, it still ends its machines.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    for number in map(int, arguments.hosts.split(",")):
        # At 1,000 each of Ansible's would only be stopped.
        tools = [t for t in arguments.tools.split(",") if number < {"default": 50, "tuned": 1000, "mitogen": 1000}.get(t, 9999)]
        # The slow ones take minutes a run: once, and where there are many machines, or far ones, the second run only.
        slow = {"mitogen", "tuned", "default"}
        once = slow | {"pyinfra"} if number >= 200 else slow if number >= 50 or arguments.delay else set()
        repetitions = {tool: 1 if tool in once else arguments.repeat for tool in tools}
        second_only = once if number >= 1000 else slow if number >= 50 or arguments.delay else set()
        title = f"{number} machines" + (f", {arguments.delay:.0f} ms round trip" if arguments.delay else "")
        print(title, flush=True)
        farm = Farm(arguments.work, number, arguments.delay)
        try:
            if arguments.program:
                title = f"One command on {title}"
                text = commands(farm, tools, repetitions, arguments)
            else:
                text = table(scenario(farm, tools, repetitions, second_only, arguments), tools)
        finally:
            farm.stop()
        with open(arguments.report, "a") as report:
            report.write(f"\n### {title}\n\n{text}\n")


if __name__ == "__main__":
    main()

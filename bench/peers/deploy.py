"""The workload for pyinfra."""

from pyinfra import host
from pyinfra.facts.files import File
from pyinfra.facts.server import Arch, Hostname, KernelVersion, LinuxName
from pyinfra.operations import files, server

root = host.data.root
facts = {
    "ansible_hostname": host.get_fact(Hostname),
    "ansible_distribution": host.get_fact(LinuxName),
    "ansible_architecture": host.get_fact(Arch),
    "ansible_kernel": host.get_fact(KernelVersion),
    "inventory_hostname": host.name,
    "root": root,
}

for path, mode in [
    ("app", "755"),
    ("app/conf.d", "755"),
    ("app/data", "750"),
    ("app/log", "755"),
    ("app/bin", "755"),
    ("app/tmp", "700"),
]:
    files.directory(path=f"{root}/{path}", mode=mode)
for name in ["10.conf", "20.conf", "30.conf", "40.conf", "50.conf", "60.conf"]:
    files.put(src=f"{host.data.files}/{name}", dest=f"{root}/app/conf.d/{name}", mode="644")
for name in ["motd", "app.conf", "limits", "env"]:
    files.template(src=f"{host.data.templates}/{name}.j2", dest=f"{root}/app/{name}", mode="644",
                   jinja_env_kwargs={"trim_blocks": True}, **facts)
files.link(path=f"{root}/app/current", target="app.conf")
files.link(path=f"{root}/app/logs", target="log")
files.line(path=f"{root}/profile", line="export APP=1")
if not host.get_fact(File, path=f"{root}/app/created"):
    server.shell(commands=[f"uname -a >{root}/app/created"])

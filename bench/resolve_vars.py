"""Resolves all variables of all hosts of an inventory with Ansible's own classes and prints them as JSON: what
bench/inventory.sh measures. One process, no forks, no tasks: less than ansible-playbook does for the same."""

import json
import sys

from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager

# What Ansible adds to what the user wrote.
MAGIC = {
    "ansible_check_mode", "ansible_config_file", "ansible_diff_mode", "ansible_facts", "ansible_forks",
    "ansible_inventory_sources", "ansible_playbook_python", "ansible_run_tags", "ansible_skip_tags",
    "ansible_verbosity", "ansible_version", "group_names", "groups", "hostvars", "inventory_dir",
    "inventory_file", "inventory_hostname", "inventory_hostname_short", "omit", "playbook_dir",
}

loader = DataLoader()
inventory = InventoryManager(loader=loader, sources=[sys.argv[1]])
manager = VariableManager(loader=loader, inventory=inventory)
HostVars(inventory, manager, loader)
hosts = {}
for host in inventory.get_hosts():
    variables = manager.get_vars(host=host)
    templar = Templar(loader=loader, variables=variables)
    hosts[host.name] = {name: templar.template(variables[name]) for name in variables.keys() - MAGIC}
json.dump(hosts, sys.stdout)

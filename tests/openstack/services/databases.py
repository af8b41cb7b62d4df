"""databases.py neutron URL - makes neutron's tables from its models, because its migrations alter constraints, which SQLite
cannot; and the four templates of the default security group, which a migration would have put in.
databases.py moved STATE PORT - brings what a state that was kept says of its folder and ports to what is so now."""
import sqlite3
import sys
import uuid


def neutron(url):
    import sqlalchemy
    from neutron.db.migration.models import head
    metadata = head.get_metadata()
    attributes, rules = (metadata.tables[name] for name in ('standardattributes', 'securitygroupdefaultrules'))
    with sqlalchemy.create_engine(url).begin() as connection:
        metadata.create_all(connection)
        for direction in ('egress', 'ingress'):
            for ethertype in ('IPv4', 'IPv6'):
                made = connection.execute(attributes.insert().values(resource_type=rules.name))
                connection.execute(rules.insert().values(
                    id=str(uuid.uuid4()), standard_attr_id=made.inserted_primary_key[0], direction=direction,
                    ethertype=ethertype, used_in_default_sg=True, used_in_non_default_sg=direction == 'egress',
                    remote_group_id=None if direction == 'egress' else 'PARENT'))


def moved(state, port):
    with open(f'{state}/db/done') as done:
        old_state, old_port = done.read().rsplit(maxsplit=1)
    with sqlite3.connect(f'{state}/db/keystone.db') as keystone:
        # By way of a mark: the new port of one service may be the old one of another.
        for service in range(5):
            keystone.execute('UPDATE endpoint SET url = replace(url, ?, ?)',
                             (f':{int(old_port) + service}', f':#{int(port) + service}'))
        keystone.execute("UPDATE endpoint SET url = replace(url, ':#', ':')")
    with sqlite3.connect(f'{state}/db/nova_api.db') as nova:
        nova.execute('UPDATE cell_mappings SET database_connection = replace(database_connection, ?, ?)',
                     (old_state, state))


{'neutron': neutron, 'moved': moved}[sys.argv[1]](*sys.argv[2:])

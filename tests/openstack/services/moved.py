"""moved.py STATE PORT - a state that was kept, unpacked in another folder or served at other ports: what its databases say of
both is brought to what is so now."""
import sqlite3
import sys

state, port = sys.argv[1], int(sys.argv[2])
old_state, old_port = open(f'{state}/db/done').read().rsplit(maxsplit=1)
keystone = sqlite3.connect(f'{state}/db/keystone.db')
for service in range(5):
    keystone.execute('UPDATE endpoint SET url = replace(url, ?, ?)', (f':{int(old_port) + service}', f':#{port + service}'))
keystone.execute("UPDATE endpoint SET url = replace(url, ':#', ':')")
keystone.commit()
nova = sqlite3.connect(f'{state}/db/nova_api.db')
nova.execute('UPDATE cell_mappings SET database_connection = replace(database_connection, ?, ?)', (old_state, state))
nova.commit()

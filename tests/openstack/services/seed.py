"""seed.py HOST GLANCE PLACEMENT NEUTRON NOVA - services, endpoints and the project `demo`, in a new keystone.
seed.py flavors - flavors, an image and the network outside, when all services answer."""
import sys

import openstack

cloud = openstack.connect(cloud='admin')
if sys.argv[1] == 'flavors':
    for name, processors, memory, disk in (('small', 1, 512, 1), ('medium', 2, 4096, 20), ('large', 4, 8192, 40)):
        cloud.create_flavor(name, memory, processors, disk)
    net = cloud.network.create_network(name='public', is_router_external=True, is_shared=False,
                                       provider_network_type='flat', provider_physical_network='public')
    cloud.network.create_subnet(network_id=net.id, name='public-subnet', ip_version=4, cidr='203.0.113.0/24',
                                is_dhcp_enabled=False)
    cloud.image.create_image(name='debian-12', disk_format='raw', container_format='bare', visibility='public',
                             data=b'no system at all', wait=True)
    sys.exit()
host, glance, placement, neutron, nova = sys.argv[1:]
services = cloud.identity.create_project(name='service', domain_id='default')
demo = cloud.identity.create_project(name='demo', domain_id='default')
roles = {role.name: role for role in cloud.identity.roles()}
for name, kind, url in (('glance', 'image', f'http://{host}:{glance}'),
                        ('placement', 'placement', f'http://{host}:{placement}'),
                        ('neutron', 'network', f'http://{host}:{neutron}'),
                        ('nova', 'compute', f'http://{host}:{nova}/v2.1')):
    service = cloud.identity.create_service(name=name, type=kind)
    for interface in ('public', 'internal', 'admin'):
        cloud.identity.create_endpoint(service_id=service.id, interface=interface, region_id='RegionOne', url=url)
    user = cloud.identity.create_user(name=name, password='service', domain_id='default')
    for role in ('admin', 'service'):
        if role in roles:
            cloud.identity.assign_project_role_to_user(services, user, roles[role])
user = cloud.identity.create_user(name='demo', password='demo', domain_id='default', default_project_id=demo.id)
for role in ('member', 'reader'):
    cloud.identity.assign_project_role_to_user(demo, user, roles[role])

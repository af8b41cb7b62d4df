//! OpenStack's controller (cloud-provider-openstack): it tells the cluster of its machines, and makes load balancers for services.

use muster_engine::prelude::*;

use super::openstack::{Told, begin_anew};
use super::{App, cannot_be_told, objects_of_template};
use crate::kubectl::kubectl;
use crate::objects::ObjectSet;

const NAME: &str = "openstack-cloud-controller";

/// The application. A service that it has made a load balancer for would wait for it for ever when it is deleted.
pub(crate) const APP: App =
    App { in_use: Some(|| kubectl!(include_str!("balanced.sh"), [] as [&str; 0])), ..App::of(NAME, sets) };

/// What it is told.
pub(crate) const TOLD: Told = Told {
    prefix: "external_openstack_",
    sections: &[
        (
            "LoadBalancer",
            &[
                ("enabled", "external_openstack_lbaas_enabled"),
                ("floating-network-id", "external_openstack_lbaas_floating_network_id"),
                ("floating-subnet-id", "external_openstack_lbaas_floating_subnet_id"),
                ("lb-method", "external_openstack_lbaas_method"),
                ("lb-provider", "external_openstack_lbaas_provider"),
                ("subnet-id", "external_openstack_lbaas_subnet_id"),
                ("member-subnet-id", "external_openstack_lbaas_member_subnet_id"),
                ("network-id", "external_openstack_lbaas_network_id"),
                ("manage-security-groups", "external_openstack_lbaas_manage_security_groups"),
                ("create-monitor", "external_openstack_lbaas_create_monitor"),
                ("monitor-delay", "external_openstack_lbaas_monitor_delay"),
                ("monitor-max-retries", "external_openstack_lbaas_monitor_max_retries"),
                ("monitor-timeout", "external_openstack_lbaas_monitor_timeout"),
                ("internal-lb", "external_openstack_lbaas_internal_lb"),
                ("enable-ingress-hostname", "external_openstack_enable_ingress_hostname"),
                ("ingress-hostname-suffix", "external_openstack_ingress_hostname_suffix"),
                ("max-shared-lb", "external_openstack_max_shared_lb"),
            ],
        ),
        (
            "Networking",
            &[
                ("ipv6-support-disabled", "external_openstack_network_ipv6_disabled"),
                ("internal-network-name", "external_openstack_network_internal_networks"),
                ("public-network-name", "external_openstack_network_public_networks"),
            ],
        ),
        ("Metadata", &[("search-order", "external_openstack_metadata_search_order")]),
    ],
};

fn sets(of: &Host) -> Result<Vec<ObjectSet>> {
    let told = TOLD.secret("openstack-cloud-config", of.all_vars());
    let (secret, digest) = told.map_err(cannot_be_told)?;
    let mut objects = objects_of_template(of, NAME, include_str!("objects.yaml.j2"))?;
    begin_anew(&mut objects, &digest);
    objects.insert(0, secret);
    Ok(vec![ObjectSet::of(NAME, objects)?])
}
